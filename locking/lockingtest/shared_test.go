package lockingtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockmem"
)

// sharedMemory is a subject whose providers share the locks of one lockmem for
// each test, as those of several processes share a server's.
func sharedMemory(wrap func(driver.Provider) driver.Provider) Subject {
	subject, _ := memories(func(t testing.TB) testing.TB { return t }, wrap)
	return subject
}

// lastingMemory is a subject like [sharedMemory], whose lockmems stay until t ends:
// so it can be asked what a case has left in them.
func lastingMemory(t testing.TB) Subject {
	subject, of := memories(func(testing.TB) testing.TB { return t }, unbroken)
	subject.Left = func(t testing.TB) []string {
		page, err := of(t).List(context.Background(), driver.ListRequest{})
		if err != nil {
			return []string{err.Error()}
		}
		var left []string
		for _, s := range page.Locks {
			left = append(left, fmt.Sprintf("%q of %q", s.Key, s.Owner))
		}
		return left
	}
	return subject
}

// memories makes one lockmem for each test, which ends with the one that until
// names.
func memories(until func(testing.TB) testing.TB, wrap func(driver.Provider) driver.Provider) (Subject, func(testing.TB) *memory) {
	var mu sync.Mutex
	all := map[testing.TB]*memory{}
	of := func(t testing.TB) *memory {
		mu.Lock()
		defer mu.Unlock()
		if all[t] == nil {
			all[t] = newMemory(until(t))
		}
		return all[t]
	}
	return Subject{
		Shared: true,
		New: func(t testing.TB) driver.Provider {
			closed, end := context.WithCancel(context.Background())
			return wrap(&client{server: of(t), closed: closed, end: end})
		},
	}, of
}

// memory is a server in the same process: a lockmem, and what it has to know of its
// clients.
type memory struct {
	*lockmem.Provider

	mu      sync.Mutex
	tickets map[string]*client // who enqueued it last
	holds   map[string]*client // who was granted the key last
	offers  map[driver.Hold]bool
}

// offerTime is how long the offers last that end a wait: longer than the patience of
// a case, so that none is saved by a lapse.
const offerTime = mutantPatience + 300*time.Millisecond

func newMemory(t testing.TB) *memory {
	m := &memory{Provider: lockmem.New(lockmem.Config{}), tickets: map[string]*client{}, holds: map[string]*client{}, offers: map[driver.Hold]bool{}}
	_ = m.Start(context.Background(), driver.Env{Notify: m.tell}) // it can't fail
	t.Cleanup(func() { _ = m.Close(context.Background()) })       // nor this
	return m
}

// tell passes an event on to the client that it is for.
func (m *memory) tell(e driver.Event) {
	m.mu.Lock()
	c := m.holds[e.Revoked.Key]
	if e.Ticket != "" {
		c = m.tickets[e.Ticket]
	}
	for _, h := range e.Grant.Holds {
		m.holds[h.Key] = c
	}
	m.mu.Unlock()
	if c != nil && c.closed.Err() == nil && c.notify != nil {
		c.notify(e)
	}
}

func (m *memory) granted(c *client, grant driver.Grant) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, h := range grant.Holds {
		m.holds[h.Key] = c
	}
}

// client is a provider on a server in the same process.
type client struct {
	server  *memory
	started bool
	notify  func(driver.Event)
	closed  context.Context
	end     context.CancelFunc
}

// Start implements [driver.Provider].
func (c *client) Start(_ context.Context, env driver.Env) error {
	c.started, c.notify = true, env.Notify
	return nil
}

// Describe implements [driver.Provider].
func (c *client) Describe() driver.Info { return c.server.Describe() }

// Close implements [driver.Provider].
func (c *client) Close(context.Context) error { c.end(); return nil }

func (c *client) up() error {
	if !c.started || c.closed.Err() != nil {
		return driver.ErrClosed
	}
	return nil
}

// asked makes a call while the client is up.
func asked[T any](c *client, call func() (T, error)) (T, error) {
	if err := c.up(); err != nil {
		var none T
		return none, err
	}
	return call()
}

// Acquire implements [driver.Provider]. What ended a wait is an offer, as it would
// be if a message about it had to find its way.
func (c *client) Acquire(ctx context.Context, req driver.Request) (driver.Grant, error) {
	if err := c.up(); err != nil {
		return driver.Grant{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.closed, cancel)()
	now := req
	now.Wait = driver.NoWait
	grant, err := c.server.Acquire(ctx, now)
	if errors.Is(err, driver.ErrBusy) && req.Wait != driver.NoWait {
		grant, err = c.await(ctx, req)
	}
	if err != nil && c.closed.Err() != nil {
		err = driver.ErrClosed
	}
	c.server.granted(c, grant)
	return grant, err
}

func (c *client) await(ctx context.Context, req driver.Request) (driver.Grant, error) {
	long := req.TTL == 0 || req.TTL > offerTime
	if long {
		req.TTL = offerTime
	}
	grant, err := c.server.Acquire(ctx, req)
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	for i := range grant.Holds {
		h := &grant.Holds[i]
		h.Offer = long && !h.Joined
		c.server.offers[h.Hold] = h.Offer
	}
	return grant, err
}

// extend makes offers full. One that is to end before its time is released then: a
// lockmem does not shorten what it took for a full hold.
func (m *memory) extend(ctx context.Context, ttl time.Duration, holds []driver.Hold) ([]driver.Extension, error) {
	answers, err := m.Extend(ctx, ttl, holds)
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range answers {
		h := holds[i]
		if m.offers[h] && ttl > 0 && ttl < offerTime {
			answers[i].Until = time.Now().Add(ttl)
			time.AfterFunc(ttl, func() { freed(m, h) })
		}
		delete(m.offers, h)
	}
	return answers, err
}
