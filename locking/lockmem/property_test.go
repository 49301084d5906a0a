package lockmem

import (
	"cmp"
	"context"
	"errors"
	"reflect"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// TestAgreesWithModel compares the provider with a model that goes through plain
// lists, over random calls in a bubble's time.
func TestAgreesWithModel(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		// Without its Deadline, which may not be asked for in a bubble.
		rapid.Check(struct{ testing.TB }{t}, func(t *rapid.T) {
			m := newMachine(t)
			defer m.close()
			t.Repeat(map[string]func(*rapid.T){
				"acquire":       m.acquire,
				"acquire more":  m.acquire,
				"release":       m.release,
				"release more":  m.release,
				"extend":        m.extend,
				"releaseAll":    m.releaseAll,
				"cancel":        m.cancel,
				"enqueue":       m.enqueue,
				"enqueue more":  m.enqueue,
				"claim":         m.claim,
				"cancel ticket": m.cancelTicket,
				"force":         m.force,
				"sleep":         m.sleep,
				"":              m.check,
			})
			m.drain(t)
		})
	})
}

// drain has owners give back all they have, as long as no request of theirs waits.
// Nobody is stuck when that serves everybody; and then nothing is left.
func (m *machine) drain(t *rapid.T) {
	for len(m.model.waiters) > 0 {
		busy := map[string]bool{}
		for _, w := range m.model.waiters {
			for _, owner := range w.owners() {
				busy[owner] = true
			}
		}
		before := m.model.grants
		for _, owner := range owners {
			if !busy[owner] {
				m.giveBack(t, owner)
			}
		}
		if m.model.grants == before {
			t.Fatalf("%d wait for ever, the first of them %+v", len(m.model.waiters), m.model.waiters[0])
		}
	}
	for len(m.model.held) > 0 { // a ticket that lacks a key again may be served again
		for _, owner := range owners {
			m.giveBack(t, owner)
		}
	}
	if left := leftBehind(m.p); left != "" {
		t.Fatal(left)
	}
}

// machine applies each call to the provider and to the model.
type machine struct {
	p       *Provider
	model   *model
	calls   []*modelCall // that have no answer yet, or one that was not compared
	known   []driver.Hold
	tickets []driver.Ticket
	waits   int

	mu     sync.Mutex
	events []driver.Event // that were not compared
}

// modelCall is an Acquire of the provider beside the model's waiter.
type modelCall struct {
	*modelWaiter

	cancel context.CancelFunc
	done   chan struct{}
	grant  driver.Grant
	err    error
}

func newMachine(t *rapid.T) *machine {
	m := &machine{p: New(Config{}), model: newModel()}
	if err := m.p.Start(context.Background(), driver.Env{Notify: m.notify}); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *machine) notify(e driver.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.events = append(m.events, e)
}

// close leaves no goroutine behind, also when the check has failed.
func (m *machine) close() {
	_ = m.p.Close(context.Background()) // it never fails
	for _, c := range m.calls {
		<-c.done
		c.cancel()
	}
}

var (
	someKeys      = rapid.Custom(drawKeys)
	owners        = []string{driver.Anonymous, "u", "v", "x", "y", "z"}
	someOwner     = rapid.SampledFrom(owners)
	someEnclosing = rapid.SampledFrom([][]string{nil, nil, nil, {"x"}, {"y", "z"}, {"z", driver.Anonymous}})
	someTTL       = rapid.SampledFrom([]time.Duration{0, 0, 0, unit, 3 * unit, 5 * unit, 9 * unit})
	someWait      = rapid.SampledFrom([]time.Duration{driver.NoWait, 0, 2 * unit, 8 * unit, 16 * unit, 32 * unit, 32 * unit})
	someNumber    = rapid.SampledFrom([]uint64{0, 0, 0, 0, 1, 2})
	someRank      = rapid.SampledFrom([]driver.Rank{driver.Forward, driver.Forward, driver.Forward, driver.Compensation})
)

func drawKeys(t *rapid.T) []string {
	keys := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c", "d", "e"}), 1, 3, rapid.ID).Draw(t, "keys")
	slices.Sort(keys)
	return keys
}

// unit is the step of the bubble's time; an offer lasts four.
const unit = offerTime / 4

// request draws one whose wait ends at a moment of its own: of two that end at once
// nobody knows which is first.
func (m *machine) request(t *rapid.T) driver.Request {
	m.waits++
	req := driver.Request{
		Keys:       someKeys.Draw(t, "keys"),
		Owner:      someOwner.Draw(t, "owner"),
		Generation: driver.Generation{Epoch: someNumber.Draw(t, "epoch")},
		TTL:        someTTL.Draw(t, "ttl"),
		Wait:       someWait.Draw(t, "wait"),
		Rank:       someRank.Draw(t, "rank"),
		Enclosing:  someEnclosing.Draw(t, "enclosing"),
		Born:       someNumber.Draw(t, "born"),
	}
	if req.Wait > 0 {
		req.Wait += time.Duration(m.waits)
	}
	return req
}

func (m *machine) acquire(t *rapid.T) {
	req := m.request(t)
	ctx, cancel := context.WithCancel(context.Background())
	c := &modelCall{modelWaiter: m.model.acquire(req), cancel: cancel, done: make(chan struct{})}
	m.calls = append(m.calls, c)
	go func() {
		defer close(c.done)
		c.grant, c.err = m.p.Acquire(ctx, req)
	}()
}

// hold draws one that was granted at some time, or one that never was.
func (m *machine) hold(t *rapid.T) driver.Hold {
	h := driver.Hold{Key: "a", Owner: someOwner.Draw(t, "owner")}
	if len(m.known) > 0 {
		// The newest are more likely to stand.
		h = m.known[len(m.known)-1-min(rapid.IntRange(0, 12).Draw(t, "hold"), len(m.known)-1)]
	}
	if rapid.IntRange(0, 4).Draw(t, "forget the token") == 0 {
		h.Token = 0
	}
	return h
}

func (m *machine) release(t *rapid.T) {
	holds := []driver.Hold{m.hold(t), m.hold(t)}
	got, err := m.p.Release(context.Background(), holds)
	if want := m.model.release(holds); err != nil || !slices.Equal(got, want) {
		t.Fatalf("Release(%v): %t, %v, want %t", holds, got, err, want)
	}
}

func (m *machine) extend(t *rapid.T) {
	h, ttl := m.hold(t), someTTL.Draw(t, "ttl")
	got, err := m.p.Extend(context.Background(), ttl, []driver.Hold{h})
	want := m.model.extend(h, ttl)
	if err != nil || got[0].Held != want.Held || got[0].Revoked != want.Revoked || !got[0].Until.Equal(want.Until) {
		t.Fatalf("Extend(%v, %s): %v, %v, want %v", h, ttl, got, err, want)
	}
}

func (m *machine) releaseAll(t *rapid.T) {
	m.giveBack(t, someOwner.Draw(t, "owner"))
}

func (m *machine) giveBack(t *rapid.T, owner string) {
	defer m.check(t)
	got, err := m.p.ReleaseAll(context.Background(), owner)
	if want := m.model.releaseAll(owner); err != nil || got != want {
		t.Fatalf("ReleaseAll(%q): %d, %v, want %d", owner, got, err, want)
	}
}

func (m *machine) cancel(t *rapid.T) {
	var waiters []*modelCall
	for _, c := range m.calls {
		if c.state == waiting {
			waiters = append(waiters, c)
		}
	}
	if len(waiters) == 0 {
		t.Skip("nobody waits")
	}
	c := rapid.SampledFrom(waiters).Draw(t, "waiter")
	c.cancel()
	m.model.withdraw(c.modelWaiter, context.Canceled)
	m.model.settle(time.Now())
}

// ticket draws one that was enqueued at some time, perhaps with another generation,
// or makes one.
func (m *machine) ticket(t *rapid.T, known int) driver.Ticket {
	if len(m.tickets) == 0 || rapid.IntRange(0, known).Draw(t, "a new ticket") == 0 {
		id := string(rune('A'+len(m.tickets)%26)) + string(rune('a'+len(m.tickets)/26))
		m.tickets = append(m.tickets, driver.Ticket{ID: id, Request: m.request(t)})
		return m.tickets[len(m.tickets)-1]
	}
	ticket := m.tickets[len(m.tickets)-1-min(rapid.IntRange(0, 4).Draw(t, "ticket"), len(m.tickets)-1)]
	if rapid.IntRange(0, 4).Draw(t, "another generation") == 0 {
		ticket.Generation.Epoch = rapid.Uint64Range(0, 3).Draw(t, "epoch")
	}
	return ticket
}

func (m *machine) enqueue(t *rapid.T) {
	ticket := m.ticket(t, 1)
	got, err := m.p.Enqueue(context.Background(), ticket)
	want, wantErr := m.model.enqueue(ticket)
	if !sameError(err, wantErr) || got.Offered != (len(want) > 0) || len(got.Grant.Holds) != len(want) {
		t.Fatalf("Enqueue(%+v): %+v, %v, want %+v, %v", ticket, got, err, want, wantErr)
	}
	m.learn(t, want, got.Grant)
}

func (m *machine) claim(t *rapid.T) {
	ticket := m.ticket(t, 9)
	got, err := m.p.Claim(context.Background(), ticket)
	want, wantErr := m.model.claim(ticket)
	if !sameError(err, wantErr) || len(got.Holds) != len(want) {
		t.Fatalf("Claim(%+v): %+v, %v, want %+v, %v", ticket, got, err, want, wantErr)
	}
	m.learn(t, want, got)
}

func (m *machine) cancelTicket(t *rapid.T) {
	ticket := m.ticket(t, 9)
	got, err := m.p.Cancel(context.Background(), ticket)
	if want := m.model.cancel(ticket); err != nil || got != want {
		t.Fatalf("Cancel(%+v): %t, %v, want %t", ticket, got, err, want)
	}
}

func (m *machine) force(t *rapid.T) {
	h := m.hold(t)
	req := driver.ForceRequest{
		Key: h.Key, Owner: h.Owner, Token: h.Token,
		Reason: rapid.StringN(0, 4, -1).Draw(t, "reason"),
		Now:    rapid.Bool().Draw(t, "now"),
	}
	got, err := m.p.ForceRelease(context.Background(), req)
	if want := m.model.force(req); err != nil || got != want {
		t.Fatalf("ForceRelease(%+v): %t, %v, want %t", req, got, err, want)
	}
}

func (m *machine) sleep(t *rapid.T) {
	time.Sleep(time.Duration(rapid.IntRange(1, 6).Draw(t, "for")) * unit)
	m.model.advance(time.Now())
}

func (m *machine) learn(t *rapid.T, want []modelGrant, got driver.Grant) {
	if len(got.Holds) != len(want) {
		t.Fatalf("granted %+v, want %+v", got, want)
	}
	for i, h := range got.Holds {
		m.model.learn(t, want[i], h)
		m.known = append(m.known, h.Hold)
	}
}

func sameError(got, want error) bool {
	switch want := want.(type) {
	case *driver.BusyError:
		var g *driver.BusyError
		return errors.As(got, &g) && *g == *want
	case *driver.DeadlockError:
		var g *driver.DeadlockError
		return errors.As(got, &g) && slices.Equal(g.Cycle, want.Cycle)
	}
	return errors.Is(got, want)
}

// answered is a grant that was waited for.
type answered struct {
	order int
	want  []modelGrant
	got   driver.Grant
}

// check runs after every call: it lets the provider come to rest, compares the
// answers and the events, and then what is held and who waits.
func (m *machine) check(t *rapid.T) {
	synctest.Wait()
	grants := slices.Concat(m.compareCalls(t), m.compareEvents(t))
	slices.SortStableFunc(grants, func(a, b answered) int { return cmp.Compare(a.order, b.order) })
	for _, g := range grants {
		m.learn(t, g.want, g.got)
	}
	m.compareStates(t)
	m.compareList(t)
	records, err := m.p.Audit(context.Background(), 5)
	want := slices.Clone(m.model.audit[max(0, len(m.model.audit)-5):])
	slices.Reverse(want)
	if err != nil || !slices.Equal(records, want) {
		t.Fatalf("Audit: %+v, %v, want %+v", records, err, want)
	}
}

func (m *machine) compareCalls(t *rapid.T) (grants []answered) {
	var open []*modelCall
	for _, c := range m.calls {
		select {
		case <-c.done:
		default:
			if c.state != waiting {
				t.Fatalf("%+v waits, want %v", c.req, c.modelWaiter.err)
			}
			open = append(open, c)
			continue
		}
		c.cancel()
		if c.state != ended || !sameError(c.err, c.modelWaiter.err) {
			t.Fatalf("%+v: %v, %v, want %+v", c.req, c.grant, c.err, c.modelWaiter)
		}
		if c.err == nil {
			grants = append(grants, answered{c.order, c.holds, c.grant})
		}
	}
	m.calls = open
	return grants
}

// compareEvents compares those of each ticket in turn, and those of holds.
func (m *machine) compareEvents(t *rapid.T) (grants []answered) {
	m.mu.Lock()
	got := m.events
	m.events = nil
	m.mu.Unlock()
	want := m.model.events
	m.model.events = nil
	if len(got) != len(want) {
		t.Fatalf("events: %+v, want %+v", got, want)
	}
	slices.SortStableFunc(got, func(a, b driver.Event) int { return cmp.Compare(a.Ticket, b.Ticket) })
	slices.SortStableFunc(want, func(a, b modelEvent) int { return cmp.Compare(a.ticket, b.ticket) })
	for i, w := range want {
		g := got[i]
		if g.Ticket != w.ticket || !sameError(g.Err, w.err) || g.Revoked != w.revoked || g.Reason != w.reason {
			t.Fatalf("event %+v, want %+v", g, w)
		}
		if w.order > 0 {
			grants = append(grants, answered{w.order, w.holds, g.Grant})
		}
	}
	return grants
}

func (m *machine) compareStates(t *rapid.T) {
	for _, key := range []string{"a", "b", "c", "d", "e"} {
		got, err := m.p.Inspect(context.Background(), key, 3)
		if want := m.model.inspect(key, 3); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("Inspect(%q): %+v, %v, want %+v", key, got, err, want)
		}
	}
	m.p.mu.Lock()
	defer m.p.mu.Unlock()
	for key, l := range m.p.table.locks {
		if !l.held && len(l.line) == 0 {
			t.Fatalf("%q has a lock, but nobody has it or waits for it", key)
		}
	}
	if got, want := len(m.p.tickets), len(m.model.tickets); got != want {
		t.Fatalf("%d tickets, want %d", got, want)
	}
	if left := unseen(m.p); left != "" {
		t.Fatal(left)
	}
}

func (m *machine) compareList(t *rapid.T) {
	var want, got []string
	for key := range m.model.held {
		want = append(want, key)
	}
	slices.Sort(want)
	req := driver.ListRequest{Limit: 2}
	for more := true; more; more = req.Cursor != "" {
		page, err := m.p.List(context.Background(), req)
		if err != nil {
			t.Fatalf("List(%+v): %v", req, err)
		}
		for _, s := range page.Locks {
			if w := m.model.inspect(s.Key, 0); !reflect.DeepEqual(s, w) {
				t.Fatalf("List: %+v, want %+v", s, w)
			}
			got = append(got, s.Key)
		}
		req.Cursor = page.Next
	}
	if !slices.Equal(got, want) {
		t.Fatalf("List: %q, want %q", got, want)
	}
}
