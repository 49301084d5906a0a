package lockingtest

import (
	"context"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// call is an Acquire that goes on by itself.
type call struct {
	r      *rig
	req    driver.Request
	cancel context.CancelFunc
	began  time.Time
	done   chan struct{} // closed when what follows is final
	grant  driver.Grant
	err    error
	ended  time.Time
}

// start begins an Acquire. Its context ends with the case at the latest.
func (r *rig) start(req driver.Request) *call { return r.startAt(r.p, req) }

func (r *rig) startAt(p driver.Provider, req driver.Request) *call {
	ctx, cancel := context.WithCancel(r.ctx)
	r.Cleanup(cancel)
	return r.startIn(ctx, cancel, p, req)
}

func (r *rig) startIn(ctx context.Context, cancel context.CancelFunc, p driver.Provider, req driver.Request) *call {
	c := &call{r: r, req: req, cancel: cancel, began: time.Now(), done: make(chan struct{})}
	go func() {
		defer close(c.done)
		c.grant, c.err = p.Acquire(ctx, req)
		c.ended = time.Now()
	}()
	return c
}

// blockedFor is how long a call is watched before it counts as one that waits.
const blockedFor = 30 * time.Millisecond

// wantBlocked expects that the call waits.
func (c *call) wantBlocked() {
	c.r.Helper()
	select {
	case <-c.done:
		c.r.Fatalf("Acquire(%s): %s, want it to wait", describe(c.req), outcome(c.grant, c.err))
	case <-time.After(blockedFor):
	}
}

// wait expects the call to return within the case's patience.
func (c *call) wait() (driver.Grant, error) {
	c.r.Helper()
	select {
	case <-c.done:
	case <-time.After(c.r.patience):
		c.r.Fatalf("Acquire(%s) has not returned within %s", describe(c.req), c.r.patience)
	}
	return c.grant, c.err
}

// wantGrant expects the call to be granted within the case's patience.
func (c *call) wantGrant() []driver.Granted {
	c.r.Helper()
	grant, err := c.wait()
	if err != nil || len(grant.Holds) != len(c.req.Keys) {
		c.r.Fatalf("Acquire(%s): %s, want a grant", describe(c.req), outcome(grant, err))
	}
	return grant.Holds
}
