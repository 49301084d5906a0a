package simulation

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockmem"
)

// lockServer is the lock server that all instances share.
type lockServer struct {
	*lockmem.Provider

	w       *world
	tickets map[string]*lockConn // who has enqueued it last; under mu
}

func startLocks(w *world) *lockServer {
	s := &lockServer{w: w, Provider: lockmem.New(lockmem.Config{}), tickets: map[string]*lockConn{}}
	env := driver.Env{ID: "sim", Logger: slog.New(slog.DiscardHandler), Notify: s.notify}
	if err := s.Start(context.Background(), env); err != nil {
		panic(err)
	}
	return s
}

// notify passes an event on to the instance that it is for, after a while. One that is
// dead is told nothing.
func (s *lockServer) notify(e driver.Event) {
	w := s.w
	w.mu.Lock()
	defer w.mu.Unlock()
	c := s.tickets[e.Ticket]
	if e.Ticket == "" || c == nil || c.in.dead() {
		return
	}
	if e.Err != nil {
		w.logf("locks", "ticket %s has ended: %v", w.uid(e.Ticket), e.Err)
	} else {
		w.logf("locks", "offers %s", w.uid(e.Ticket))
	}
	id := w.uid(e.Ticket)
	f := w.f.of("event", id).num(uint64(c.in.counts["event "+id]))
	c.in.counts["event "+id]++
	c.hear(f, e)
	if !w.calm() && f.is("twice", w.p.double) {
		w.tally.note("a notice comes twice")
		c.hear(f.of("again"), e)
	}
}

// hear has the instance told. Events that it would get while it is cut off come after
// that.
func (c *lockConn) hear(f fate, e driver.Event) {
	w := c.in.w
	d := f.skewed("delay", 20_000, w.p.delay) + c.in.cutLocked("locks")
	w.later(d, func() {
		w.mu.Lock()
		dead := c.in.dead()
		w.mu.Unlock()
		if !dead {
			c.env.Notify(e)
		}
	})
}

// rob takes one of the locks there are from its holder: the server has forgotten it, or
// somebody takes it by force. The holder learns it when it asks for more time.
func (s *lockServer) rob(f fate) {
	page, err := s.List(context.Background(), driver.ListRequest{})
	if err != nil || len(page.Locks) == 0 {
		return
	}
	l := pick(f, "lock", page.Locks...)
	forgets := f.is("forgets", 0.8)
	done, err := s.ForceRelease(context.Background(), driver.ForceRequest{Key: l.Key, Owner: l.Owner, Token: l.Token, Now: forgets})
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.w.logf("locks", "%s of %s is lost, by force %v: %v %v", l.Key, s.w.uid(l.Owner), !forgets, done, err)
	if forgets {
		s.w.tally.note("a lock is forgotten")
	} else {
		s.w.tally.note("a lock is taken by force")
	}
}

// lockConn is the lock server as an instance sees it.
type lockConn struct {
	in  *instance
	env driver.Env
}

var _ driver.Queuer = (*lockConn)(nil)

// Start implements [driver.Provider].
func (c *lockConn) Start(_ context.Context, env driver.Env) error {
	c.env = env
	return nil
}

// Describe implements [driver.Provider].
func (c *lockConn) Describe() driver.Info {
	info := c.in.w.locks.Describe()
	info.ProcessLocal = false
	return info
}

// ask makes a call of the lock server that is answered at once.
func ask[T any](ctx context.Context, c *lockConn, op, id string, again repeat, do func(ctx context.Context, s *lockServer) (T, error)) (T, error) {
	r := c.in.request("locks", op, id, again)
	return call(ctx, r, func() (T, error) {
		answer, err := do(context.Background(), c.in.w.locks)
		c.in.w.mu.Lock()
		defer c.in.w.mu.Unlock()
		if err != nil {
			c.in.w.logf(c.in.name, "%s: %v", r.what, err)
		} else {
			c.in.w.logf(c.in.name, "%s: %+v", r.what, answer)
		}
		return answer, err
	})
}

// Acquire implements [driver.Provider]. A driver leaves nothing taken that it does not
// report: what was granted in an answer that is lost is given back.
func (c *lockConn) Acquire(ctx context.Context, req driver.Request) (driver.Grant, error) {
	var granted driver.Grant
	r := c.in.request("locks", "acquire", strings.Join(req.Keys, "+")+" for "+c.in.w.uidNow(req.Owner), soon)
	grant, err := call(ctx, r, func() (driver.Grant, error) {
		life, end := context.WithCancel(ctx)
		defer end()
		defer context.AfterFunc(c.in.life, end)() // it waits for no longer than its process lives
		g, err := c.in.w.locks.Acquire(life, req)
		if err != nil && ctx.Err() != nil {
			time.Sleep(moment(r.f.between("moment", 0, time.Millisecond)))
		}
		granted = g
		c.in.w.mu.Lock()
		defer c.in.w.mu.Unlock()
		c.in.w.logf(c.in.name, "%s: %+v %v", r.what, g, err)
		return g, err
	})
	if err == nil || c.in.dead() {
		return grant, err
	}
	var back []driver.Hold
	for _, h := range granted.Holds {
		if !h.Joined {
			back = append(back, h.Hold)
		}
	}
	if len(back) > 0 {
		_, _ = c.in.w.locks.Release(context.Background(), back)
	}
	return driver.Grant{}, err
}

// Extend implements [driver.Provider].
func (c *lockConn) Extend(ctx context.Context, ttl time.Duration, holds []driver.Hold) ([]driver.Extension, error) {
	holds = slices.Clone(holds)
	return ask(ctx, c, "extend", c.holds(holds), late, func(ctx context.Context, s *lockServer) ([]driver.Extension, error) {
		return s.Extend(ctx, ttl, holds)
	})
}

// Release implements [driver.Provider].
func (c *lockConn) Release(ctx context.Context, holds []driver.Hold) ([]bool, error) {
	holds = slices.Clone(holds)
	return ask(ctx, c, "release", c.holds(holds), late, func(ctx context.Context, s *lockServer) ([]bool, error) {
		c.in.w.releases(c, holds)
		return s.Release(ctx, holds)
	})
}

// ReleaseAll implements [driver.Provider].
func (c *lockConn) ReleaseAll(ctx context.Context, owner string) (int, error) {
	return ask(ctx, c, "release all", c.in.w.uidNow(owner), soon, func(ctx context.Context, s *lockServer) (int, error) { return s.ReleaseAll(ctx, owner) })
}

// Close implements [driver.Provider].
func (c *lockConn) Close(context.Context) error { return nil }

// Enqueue implements [driver.Queuer].
func (c *lockConn) Enqueue(ctx context.Context, t driver.Ticket) (driver.Place, error) {
	return ask(ctx, c, "enqueue", c.in.w.uidNow(t.ID), soon, func(ctx context.Context, s *lockServer) (driver.Place, error) {
		s.w.enqueues(c, t)
		place, err := s.Enqueue(ctx, t)
		if err == nil {
			s.w.mu.Lock()
			s.tickets[t.ID] = c
			s.w.mu.Unlock()
		}
		return place, err
	})
}

// Claim implements [driver.Queuer].
func (c *lockConn) Claim(ctx context.Context, t driver.Ticket) (driver.Grant, error) {
	return ask(ctx, c, "claim", c.in.w.uidNow(t.ID), soon, func(ctx context.Context, s *lockServer) (driver.Grant, error) { return s.Claim(ctx, t) })
}

// Cancel implements [driver.Queuer].
func (c *lockConn) Cancel(ctx context.Context, t driver.Ticket) (bool, error) {
	return ask(ctx, c, "cancel", c.in.w.uidNow(t.ID), late, func(ctx context.Context, s *lockServer) (bool, error) { return s.Cancel(ctx, t) })
}

// holds names what is extended or released: a call of many is one of its own.
func (c *lockConn) holds(list []driver.Hold) string {
	parts := make([]string, len(list))
	for i, h := range list {
		parts[i] = h.Key + " of " + c.in.w.uidNow(h.Owner)
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}
