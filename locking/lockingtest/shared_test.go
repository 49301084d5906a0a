package lockingtest

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockmem"
)

// sharedMemory is a subject whose providers share the locks of one lockmem for
// each test, as those of several processes share a server's.
func sharedMemory(wrap func(driver.Provider) driver.Provider) Subject {
	var mu sync.Mutex
	servers := map[testing.TB]*lockmem.Provider{}
	return Subject{
		Shared: true,
		New: func(t testing.TB) driver.Provider {
			mu.Lock()
			defer mu.Unlock()
			server := servers[t]
			if server == nil {
				server = lockmem.New(lockmem.Config{})
				_ = server.Start(context.Background(), driver.Env{})         // it can't fail
				t.Cleanup(func() { _ = server.Close(context.Background()) }) // nor this
				servers[t] = server
			}
			closed, end := context.WithCancel(context.Background())
			return wrap(&client{server: server, closed: closed, end: end})
		},
	}
}

// client is a provider on a server in the same process.
type client struct {
	server  *lockmem.Provider
	running atomic.Bool
	closed  context.Context
	end     context.CancelFunc
}

func (c *client) Start(context.Context, driver.Env) error { c.running.Store(true); return nil }
func (c *client) Describe() driver.Info                   { return c.server.Describe() }
func (c *client) Close(context.Context) error             { c.running.Store(false); c.end(); return nil }

func (c *client) Acquire(ctx context.Context, req driver.Request) (driver.Grant, error) {
	if !c.running.Load() {
		return driver.Grant{}, driver.ErrClosed
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.closed, cancel)()
	grant, err := c.server.Acquire(ctx, req)
	if err != nil && c.closed.Err() != nil {
		err = driver.ErrClosed
	}
	return grant, err
}

func (c *client) Extend(ctx context.Context, ttl time.Duration, holds []driver.Hold) ([]driver.Extension, error) {
	if !c.running.Load() {
		return nil, driver.ErrClosed
	}
	return c.server.Extend(ctx, ttl, holds)
}

func (c *client) Release(ctx context.Context, holds []driver.Hold) ([]bool, error) {
	if !c.running.Load() {
		return nil, driver.ErrClosed
	}
	return c.server.Release(ctx, holds)
}

func (c *client) ReleaseAll(ctx context.Context, owner string) (int, error) {
	if !c.running.Load() {
		return 0, driver.ErrClosed
	}
	return c.server.ReleaseAll(ctx, owner)
}

func unbroken(p driver.Provider) driver.Provider { return p }

func TestSharedMemory(t *testing.T) {
	t.Parallel()
	RunProvider(t, sharedMemory(unbroken))
}
