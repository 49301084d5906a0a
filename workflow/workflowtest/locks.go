package workflowtest

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockmem"
)

// mortalLocks is a lock server as a process sees it that may die at its calls. A renewal
// is none at which it dies: when there is one is a matter of time.
type mortalLocks struct {
	driver.Queuer

	d *death
}

// Start implements [driver.Provider].
func (l *mortalLocks) Start(ctx context.Context, env driver.Env) error {
	notify := env.Notify
	if notify != nil {
		env.Notify = func(e driver.Event) {
			if l.d.alive() {
				notify(e)
			}
		}
	}
	return l.Queuer.Start(ctx, env)
}

// Acquire implements [driver.Provider].
func (l *mortalLocks) Acquire(ctx context.Context, req driver.Request) (driver.Grant, error) {
	return call(l.d, "taking "+quoted(req.Keys), func() (driver.Grant, error) {
		life, end := context.WithCancel(ctx)
		defer end()
		defer context.AfterFunc(l.d.life, end)() // it waits for no longer than its process lives
		return l.Queuer.Acquire(life, req)
	})
}

// Extend implements [driver.Provider].
func (l *mortalLocks) Extend(ctx context.Context, ttl time.Duration, holds []driver.Hold) ([]driver.Extension, error) {
	return quietly(l.d, func() ([]driver.Extension, error) { return l.Queuer.Extend(ctx, ttl, holds) })
}

// Release implements [driver.Provider].
func (l *mortalLocks) Release(ctx context.Context, holds []driver.Hold) ([]bool, error) {
	keys := make([]string, len(holds))
	for i, h := range holds {
		keys[i] = h.Key
	}
	return call(l.d, "giving back "+quoted(keys), func() ([]bool, error) { return l.Queuer.Release(ctx, holds) })
}

// ReleaseAll implements [driver.Provider].
func (l *mortalLocks) ReleaseAll(ctx context.Context, owner string) (int, error) {
	return call(l.d, "giving back all locks of "+strconv.Quote(owner), func() (int, error) { return l.Queuer.ReleaseAll(ctx, owner) })
}

// Enqueue implements [driver.Queuer].
func (l *mortalLocks) Enqueue(ctx context.Context, t driver.Ticket) (driver.Place, error) {
	return call(l.d, "standing in line for "+quoted(t.Keys), func() (driver.Place, error) { return l.Queuer.Enqueue(ctx, t) })
}

// Claim implements [driver.Queuer].
func (l *mortalLocks) Claim(ctx context.Context, t driver.Ticket) (driver.Grant, error) {
	return call(l.d, "taking what is offered of "+quoted(t.Keys), func() (driver.Grant, error) { return l.Queuer.Claim(ctx, t) })
}

// Cancel implements [driver.Queuer].
func (l *mortalLocks) Cancel(ctx context.Context, t driver.Ticket) (bool, error) {
	return call(l.d, "leaving the line for "+quoted(t.Keys), func() (bool, error) { return l.Queuer.Cancel(ctx, t) })
}

func quoted(keys []string) string {
	list := make([]string, len(keys))
	for i, k := range keys {
		list[i] = strconv.Quote(k)
	}
	return strings.Join(list, ", ")
}

// lockServer is a lock server in memory that several processes share, one after the
// other: what happens to a ticket is told to whoever has enqueued it last.
type lockServer struct {
	*lockmem.Provider

	mu     sync.Mutex
	client map[string]func(driver.Event) // by ticket
}

func newLockServer() (*lockServer, error) {
	s := &lockServer{Provider: lockmem.New(lockmem.Config{}), client: map[string]func(driver.Event){}}
	env := driver.Env{ID: "explored", Logger: slog.New(slog.DiscardHandler), Notify: s.notify}
	return s, s.Start(context.Background(), env)
}

func (s *lockServer) notify(e driver.Event) {
	s.mu.Lock()
	tell := s.client[e.Ticket]
	s.mu.Unlock()
	if e.Ticket != "" && tell != nil {
		tell(e)
	}
}

// lockClient is the server for one process.
type lockClient struct {
	*lockServer

	tell func(driver.Event)
}

// Start implements [driver.Provider].
func (c *lockClient) Start(_ context.Context, env driver.Env) error {
	c.tell = env.Notify
	return nil
}

// Describe implements [driver.Provider].
func (c *lockClient) Describe() driver.Info {
	info := c.lockServer.Describe()
	info.ProcessLocal = false
	return info
}

// Enqueue implements [driver.Queuer].
func (c *lockClient) Enqueue(ctx context.Context, t driver.Ticket) (driver.Place, error) {
	c.mu.Lock()
	c.client[t.ID] = c.tell
	c.mu.Unlock()
	return c.lockServer.Enqueue(ctx, t)
}

// Close implements [driver.Provider].
func (c *lockClient) Close(context.Context) error { return nil }
