package lockredis_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockmem"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

// TestTheQueueAgreesWithTheOneInMemory makes the same random calls on Redis, in two
// processes, and in memory, where the queue is compared with a model as simple as can
// be (see lockmem). After each call both have given the same answers, and tell the same
// of every key. Tickets are left out: their offers end by real time.
func TestTheQueueAgreesWithTheOneInMemory(t *testing.T) {
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		if err := f.Value.Set("40"); err != nil { // each step asks a server several times
			t.Fatal(err)
		}
		defer func() { _ = f.Value.Set(f.DefValue) }() // it was accepted before
	}
	server := redistest.Start(t)
	memory := lockmem.New(lockmem.Config{})
	processes := []provider{lockredis.New(lockredis.Config{RedisURL: server.URL()}), lockredis.New(lockredis.Config{RedisURL: server.URL()})}
	for _, p := range append([]provider{memory}, processes...) {
		if err := p.Start(bg, driver.Env{Logger: slog.New(slog.DiscardHandler)}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := p.Close(bg); err != nil {
				t.Errorf("close: %v", err)
			}
		})
	}
	checks := 0
	rapid.Check(t, func(rt *rapid.T) {
		checks++
		m := &twins{memory: memory, processes: processes, prefix: fmt.Sprint(checks, "-"), last: map[string]driver.Token{}}
		defer m.end()
		rt.Repeat(map[string]func(*rapid.T){
			"acquire":    m.acquire,
			"one more":   m.acquire,
			"release":    m.release,
			"extend":     m.extend,
			"releaseAll": m.releaseAll,
			"cancel":     m.cancel,
			"force":      m.force,
			"":           m.agree,
		})
		m.drain(rt)
		if left := leftBehind(t, server, 0); len(left) > 0 {
			rt.Fatalf("left are %s", strings.Join(left, "\n"))
		}
	})
}

type provider interface {
	driver.Provider
	driver.Inspector
}

// twins makes each call on Redis and in memory. What begins with the prefix is its own.
type twins struct {
	memory    provider
	processes []provider
	prefix    string
	calls     []*twin // that have no answer yet
	held      []pair
	last      map[string]driver.Token
}

// pair is a hold on Redis and in memory.
type pair struct{ redis, memory driver.Hold }

// twin is a call that may wait.
type twin struct {
	req           driver.Request
	cancel        context.CancelFunc
	redis, memory *reply
}

type reply struct {
	done  chan struct{}
	grant driver.Grant
	err   error
}

func send(ctx context.Context, p provider, req driver.Request) *reply {
	r := &reply{done: make(chan struct{})}
	go func() {
		defer close(r.done)
		r.grant, r.err = p.Acquire(ctx, req)
		var offers []driver.Hold
		for _, h := range r.grant.Holds {
			if h.Offer {
				offers = append(offers, h.Hold)
			}
		}
		if len(offers) > 0 { // in memory a call gets no offers
			if _, err := p.Extend(bg, req.TTL, offers); err != nil {
				r.err = errors.Join(r.err, err)
			}
		}
	}()
	return r
}

func (r *reply) text() string {
	select {
	case <-r.done:
	default:
		return "waits"
	}
	if r.err != nil {
		return r.err.Error()
	}
	joined := make([]bool, len(r.grant.Holds))
	for i, h := range r.grant.Holds {
		joined[i] = h.Joined
	}
	return fmt.Sprintf("granted, joined %t", joined)
}

var (
	twinKeys   = []string{"a", "b", "c", "d", "e"}
	twinOwners = []string{driver.Anonymous, "u", "v", "x", "y", "z"}
)

func (m *twins) process(t *rapid.T) provider {
	return rapid.SampledFrom(m.processes).Draw(t, "process")
}

// owner draws one that is another in each check, unless it is anonymous.
func (m *twins) owner(t *rapid.T) string {
	owner := rapid.SampledFrom(twinOwners).Draw(t, "owner")
	if owner != driver.Anonymous {
		owner = m.prefix + owner
	}
	return owner
}

// acquire has an owner that waits already ask anonymously: which of several circles is
// found first is nobody's promise.
func (m *twins) acquire(t *rapid.T) {
	req := driver.Request{
		Owner: m.owner(t),
		TTL:   rapid.SampledFrom([]time.Duration{0, time.Hour}).Draw(t, "ttl"),
		Wait:  rapid.SampledFrom([]time.Duration{driver.NoWait, 0, time.Hour, time.Hour, time.Hour}).Draw(t, "wait"),
		Rank:  rapid.SampledFrom([]driver.Rank{driver.Forward, driver.Forward, driver.Forward, driver.Compensation}).Draw(t, "rank"),
		Born:  rapid.SampledFrom([]uint64{0, 1, 2, 3}).Draw(t, "born"),
	}
	for _, k := range rapid.SliceOfNDistinct(rapid.SampledFrom(twinKeys), 1, 3, rapid.ID).Draw(t, "keys") {
		req.Keys = append(req.Keys, m.prefix+k)
	}
	slices.Sort(req.Keys)
	if slices.ContainsFunc(m.calls, func(c *twin) bool { return c.req.Owner == req.Owner }) {
		req.Owner = driver.Anonymous
	}
	if req.Owner != driver.Anonymous {
		req.Generation.Epoch = rapid.SampledFrom([]uint64{0, 0, 0, 0, 1, 2}).Draw(t, "epoch")
	}
	p := m.process(t)
	ctx, cancel := context.WithCancel(bg)
	m.calls = append(m.calls, &twin{req, cancel, send(ctx, p, req), send(ctx, m.memory, req)})
}

// hold draws one that was granted at some time; the newest are more likely to stand.
func (m *twins) hold(t *rapid.T) pair {
	if len(m.held) == 0 {
		t.Skip("nothing was granted yet")
	}
	return m.held[len(m.held)-1-min(rapid.IntRange(0, 8).Draw(t, "hold"), len(m.held)-1)]
}

func (m *twins) release(t *rapid.T) {
	h := m.hold(t)
	if rapid.IntRange(0, 4).Draw(t, "forget the token") == 0 {
		h.redis.Token, h.memory.Token = 0, 0
	}
	got, err := m.process(t).Release(bg, []driver.Hold{h.redis})
	want, wantErr := m.memory.Release(bg, []driver.Hold{h.memory})
	if err != nil || wantErr != nil || got[0] != want[0] {
		t.Fatalf("Release(%v): %t, %v, in memory %t, %v", h, got, err, want, wantErr)
	}
}

func (m *twins) extend(t *rapid.T) {
	h := m.hold(t)
	got, err := m.process(t).Extend(bg, time.Hour, []driver.Hold{h.redis})
	want, wantErr := m.memory.Extend(bg, time.Hour, []driver.Hold{h.memory})
	if err != nil || wantErr != nil || got[0].Held != want[0].Held || got[0].Revoked != want[0].Revoked {
		t.Fatalf("Extend(%v): %+v, %v, in memory %+v, %v", h, got, err, want, wantErr)
	}
}

func (m *twins) releaseAll(t *rapid.T) { m.giveBack(t, m.process(t), m.owner(t)) }

func (m *twins) giveBack(t *rapid.T, p provider, owner string) {
	got, err := p.ReleaseAll(bg, owner)
	want, wantErr := m.memory.ReleaseAll(bg, owner)
	if err != nil || wantErr != nil || got != want {
		t.Fatalf("ReleaseAll(%q): %d, %v, in memory %d, %v", owner, got, err, want, wantErr)
	}
}

func (m *twins) cancel(t *rapid.T) {
	if len(m.calls) == 0 {
		t.Skip("nobody waits")
	}
	rapid.SampledFrom(m.calls).Draw(t, "call").cancel()
}

func (m *twins) force(t *rapid.T) {
	h := m.hold(t)
	req := driver.ForceRequest{Key: h.redis.Key, Owner: h.redis.Owner, Token: h.redis.Token, Reason: "why", Now: rapid.Bool().Draw(t, "now")}
	got, err := m.process(t).ForceRelease(bg, req)
	req.Token = h.memory.Token
	want, wantErr := m.memory.ForceRelease(bg, req)
	if err != nil || wantErr != nil || got != want {
		t.Fatalf("ForceRelease(%+v): %t, %v, in memory %t, %v", req, got, err, want, wantErr)
	}
}

// agree returns when both have given the same answers, and say the same of each key.
func (m *twins) agree(t *rapid.T) {
	for end := time.Now().Add(5 * time.Second); ; <-time.After(200 * time.Microsecond) {
		saw := m.difference(t)
		if saw == "" {
			break
		}
		if time.Now().After(end) {
			t.Fatal(saw)
		}
	}
	m.learn(t)
}

func (m *twins) difference(t *rapid.T) string {
	got, want := m.told(t, m.processes[0]), m.told(t, m.memory)
	places := 0
	for i, c := range m.calls {
		got += fmt.Sprintf("call %d: %s\n", i, c.redis.text())
		want += fmt.Sprintf("call %d: %s\n", i, c.memory.text())
		if c.memory.text() == "waits" {
			places += len(c.req.Keys)
		}
	}
	if got != want || strings.Count(want, ", rank ") != places { // else a call has not come yet
		return fmt.Sprintf("on Redis\n%s\nin memory\n%s", got, want)
	}
	return ""
}

// told is what a provider tells of the keys.
func (m *twins) told(t *rapid.T, p provider) string {
	var b strings.Builder
	for _, k := range twinKeys {
		s, err := p.Inspect(bg, m.prefix+k, 100)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s: %q has it in %v, lapses %t, revoked %t %q; %d wait\n", k, s.Owner, s.Generation, s.Expires, s.Revoked, s.Reason, s.Waiting)
		for _, w := range s.Waiters {
			fmt.Fprintf(&b, "  %q waits for %q, rank %d\n", w.Owner, w.Keys, w.Rank)
		}
	}
	return b.String()
}

// learn notes what was granted.
func (m *twins) learn(t *rapid.T) {
	m.calls = slices.DeleteFunc(m.calls, func(c *twin) bool {
		if c.redis.text() == "waits" {
			return false
		}
		c.cancel()
		for i, h := range c.redis.grant.Holds {
			if last := m.last[h.Key]; h.Joined != (h.Token == last) || h.Token < last {
				t.Fatalf("granted is %+v, and the last token was %d", h, last)
			}
			m.last[h.Key] = h.Token
			m.held = append(m.held, pair{h.Hold, c.memory.grant.Holds[i].Hold})
		}
		return true
	})
}

// drain has everybody give up and give back.
func (m *twins) drain(t *rapid.T) {
	for len(m.calls) > 0 { // one after the other: each may let another one go on
		m.calls[0].cancel()
		m.agree(t)
	}
	for _, h := range m.held {
		for _, release := range []func() ([]bool, error){
			func() ([]bool, error) { return m.processes[0].Release(bg, []driver.Hold{h.redis}) },
			func() ([]bool, error) { return m.memory.Release(bg, []driver.Hold{h.memory}) },
		} {
			if _, err := release(); err != nil {
				t.Fatal(err)
			}
		}
	}
	m.agree(t)
}

// end leaves nobody behind, also when the check has failed.
func (m *twins) end() {
	for _, c := range m.calls {
		c.cancel()
		<-c.redis.done
		<-c.memory.done
	}
}
