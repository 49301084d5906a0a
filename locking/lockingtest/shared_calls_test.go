package lockingtest

import (
	"context"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// Extend implements [driver.Provider].
func (c *client) Extend(ctx context.Context, ttl time.Duration, holds []driver.Hold) ([]driver.Extension, error) {
	return asked(c, func() ([]driver.Extension, error) { return c.server.extend(ctx, ttl, holds) })
}

// Release implements [driver.Provider].
func (c *client) Release(ctx context.Context, holds []driver.Hold) ([]bool, error) {
	return asked(c, func() ([]bool, error) { return c.server.Release(ctx, holds) })
}

// ReleaseAll implements [driver.Provider].
func (c *client) ReleaseAll(ctx context.Context, owner string) (int, error) {
	return asked(c, func() (int, error) { return c.server.ReleaseAll(ctx, owner) })
}

// Enqueue implements [driver.Queuer].
func (c *client) Enqueue(ctx context.Context, t driver.Ticket) (driver.Place, error) {
	if err := c.up(); err != nil {
		return driver.Place{}, err
	}
	c.server.mu.Lock()
	c.server.tickets[t.ID] = c
	c.server.mu.Unlock()
	place, err := c.server.Enqueue(ctx, t)
	c.server.granted(c, place.Grant)
	return place, err
}

// Claim implements [driver.Queuer].
func (c *client) Claim(ctx context.Context, t driver.Ticket) (driver.Grant, error) {
	return asked(c, func() (driver.Grant, error) { return c.server.Claim(ctx, t) })
}

// Cancel implements [driver.Queuer].
func (c *client) Cancel(ctx context.Context, t driver.Ticket) (bool, error) {
	return asked(c, func() (bool, error) { return c.server.Cancel(ctx, t) })
}

// Inspect implements [driver.Inspector].
func (c *client) Inspect(ctx context.Context, key string, waiters int) (driver.State, error) {
	state, err := asked(c, func() (driver.State, error) { return c.server.Inspect(ctx, key, waiters) })
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	for i := range state.Waiters {
		its := c.server.tickets[state.Waiters[i].Ticket]
		state.Waiters[i].Aside = its != nil && its.closed.Err() != nil
	}
	return state, err
}

// List implements [driver.Inspector].
func (c *client) List(ctx context.Context, req driver.ListRequest) (driver.Page, error) {
	return asked(c, func() (driver.Page, error) { return c.server.List(ctx, req) })
}

// ForceRelease implements [driver.Inspector].
func (c *client) ForceRelease(ctx context.Context, req driver.ForceRequest) (bool, error) {
	return asked(c, func() (bool, error) { return c.server.ForceRelease(ctx, req) })
}

// Audit implements [driver.Inspector].
func (c *client) Audit(ctx context.Context, limit int) ([]driver.AuditRecord, error) {
	return asked(c, func() ([]driver.AuditRecord, error) { return c.server.Audit(ctx, limit) })
}

func unbroken(p driver.Provider) driver.Provider { return p }

func TestSharedMemory(t *testing.T) {
	t.Parallel()
	RunProvider(t, lastingMemory(t))
}
