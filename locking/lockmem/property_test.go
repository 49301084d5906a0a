package lockmem

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
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
				"acquire":    m.acquire,
				"release":    m.release,
				"extend":     m.extend,
				"releaseAll": m.releaseAll,
				"cancel":     m.cancel,
				"sleep":      m.sleep,
				"":           m.check,
			})
		})
	})
}

// machine applies each call to the provider and to the model.
type machine struct {
	p     *Provider
	model *model
	calls []*modelCall // that have no answer yet, or one that was not compared
	known []driver.Hold
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
	p := New(Config{})
	if err := p.Start(context.Background(), driver.Env{}); err != nil {
		t.Fatal(err)
	}
	return &machine{p: p, model: &model{held: map[string]*modelLock{}, last: map[string]driver.Token{}}}
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
	someKeys   = rapid.Custom(drawKeys)
	someOwner  = rapid.SampledFrom([]string{driver.Anonymous, "x", "y"})
	someTTL    = rapid.SampledFrom([]time.Duration{0, 0, unit, 2 * unit, 3 * unit, 5 * unit, 8 * unit})
	someWait   = rapid.SampledFrom([]time.Duration{driver.NoWait, 0, 2 * unit, 4 * unit, 8 * unit, 16 * unit})
	someNumber = rapid.Uint64Range(0, 2)
)

func drawKeys(t *rapid.T) []string {
	keys := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c", "d"}), 1, 3, rapid.ID).Draw(t, "keys")
	slices.Sort(keys)
	return keys
}

// unit is the step of the bubble's time.
const unit = time.Millisecond

func (m *machine) acquire(t *rapid.T) {
	req := driver.Request{
		Keys:       someKeys.Draw(t, "keys"),
		Owner:      someOwner.Draw(t, "owner"),
		Generation: driver.Generation{Epoch: someNumber.Draw(t, "epoch"), Attempt: someNumber.Draw(t, "attempt")},
		TTL:        someTTL.Draw(t, "ttl"),
		Wait:       someWait.Draw(t, "wait"),
	}
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
		h = rapid.SampledFrom(m.known).Draw(t, "hold")
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
	held, until := m.model.extend(h, ttl)
	if err != nil || got[0].Held != held || !got[0].Until.Equal(until) {
		t.Fatalf("Extend(%v, %s): %v, %v, want %t, %v", h, ttl, got, err, held, until)
	}
}

func (m *machine) releaseAll(t *rapid.T) {
	owner := someOwner.Draw(t, "owner")
	got, err := m.p.ReleaseAll(context.Background(), owner)
	if want := m.model.releaseAll(owner); err != nil || got != want {
		t.Fatalf("ReleaseAll(%q): %d, %v, want %d", owner, got, err, want)
	}
}

func (m *machine) cancel(t *rapid.T) {
	var waiters []*modelCall
	for _, c := range m.calls {
		if !c.answered {
			waiters = append(waiters, c)
		}
	}
	if len(waiters) == 0 {
		t.Skip("nobody waits")
	}
	c := rapid.SampledFrom(waiters).Draw(t, "waiter")
	c.cancel()
	m.model.withdraw(c.modelWaiter, context.Canceled)
}

func (m *machine) sleep(t *rapid.T) {
	d := time.Duration(rapid.IntRange(1, 6).Draw(t, "for")) * unit
	time.Sleep(d)
	m.model.advance(time.Now())
}

// check runs after every call: it lets the provider come to rest, compares the
// answers, and then what is held.
func (m *machine) check(t *rapid.T) {
	synctest.Wait()
	var open, done []*modelCall
	for _, c := range m.calls {
		select {
		case <-c.done:
			done = append(done, c)
		default:
			if c.answered {
				t.Fatalf("%+v waits, want %v", c.req, c.modelWaiter.err)
			}
			open = append(open, c)
		}
	}
	m.calls = open
	slices.SortStableFunc(done, func(a, b *modelCall) int { return cmp.Compare(a.order, b.order) })
	for _, c := range done {
		c.cancel()
		m.compare(t, c)
	}
	m.compareTable(t)
}

func (m *machine) compare(t *rapid.T, c *modelCall) {
	w := c.modelWaiter
	if !w.answered || !sameError(c.err, w.err) {
		t.Fatalf("%+v: %v, %v, want answered %t, %v", w.req, c.grant, c.err, w.answered, w.err)
	}
	for i, h := range c.grant.Holds {
		m.model.learn(t, w.holds[i], h)
		m.known = append(m.known, h.Hold)
	}
}

func sameError(got, want error) bool {
	var g, w *driver.BusyError
	if errors.As(want, &w) {
		return errors.As(got, &g) && *g == *w
	}
	return errors.Is(got, want)
}

func (m *machine) compareTable(t *rapid.T) {
	m.p.mu.Lock()
	defer m.p.mu.Unlock()
	entries := m.p.table.entries
	got, want := slices.Sorted(maps.Keys(entries)), slices.Sorted(maps.Keys(m.model.held))
	if !slices.Equal(got, want) {
		t.Fatalf("held: %q, want %q", got, want)
	}
	for key, e := range entries {
		l := m.model.held[key]
		if e.owner != l.owner || e.generation != l.generation || e.token != l.token || !e.until.Equal(l.until) {
			t.Fatalf("%q: %s, want %s", key, fmt.Sprintf("%+v", *e), fmt.Sprintf("%+v", *l))
		}
	}
	waiting := 0
	for range m.p.queue.all() {
		waiting++
	}
	if waiting != len(m.model.waiters) {
		t.Fatalf("%d wait, want %d", waiting, len(m.model.waiters))
	}
}
