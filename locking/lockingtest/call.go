package lockingtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
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
	r.ledger.call(c)
	go func() {
		defer close(c.done)
		c.grant, c.err = p.Acquire(ctx, req)
		c.ended = time.Now()
	}()
	return c
}

// line starts a request that has to wait, and returns when it stands in its queues.
// Where the provider can't be looked into a while must do.
func (r *rig) line(req driver.Request) *call { r.Helper(); return r.lineAt(r.p, req) }

func (r *rig) lineAt(p driver.Provider, req driver.Request) *call {
	r.Helper()
	req.Wait = caseBound * r.patience
	before, known := r.queueLength(req.Keys[0])
	c := r.startAt(p, req)
	if !known {
		c.wantBlocked()
		return c
	}
	Eventually(r.TB, r.patience, "a request stands in its queue: "+describe(req), func() (bool, string) {
		select {
		case <-c.done:
			r.Fatalf("Acquire(%s): %s, want it to wait", describe(req), outcome(c.grant, c.err))
		default:
		}
		now, _ := r.queueLength(req.Keys[0])
		return now > before, fmt.Sprintf("%d wait, as before", now)
	})
	return c
}

// queueLength is how many wait for a key, where the provider tells.
func (r *rig) queueLength(key string) (n int, known bool) {
	r.Helper()
	if _, ok := r.p.Provider.(driver.Inspector); !ok {
		return 0, false
	}
	return r.inspect(key, 0).Waiting, true
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

// wantError expects the call to end with the given error within the case's
// patience.
func (c *call) wantError(want error) error {
	c.r.Helper()
	grant, err := c.wait()
	if !errors.Is(err, want) {
		c.r.Fatalf("Acquire(%s): %s, want %v", describe(c.req), outcome(grant, err), want)
	}
	return err
}

// giveBack releases what the call was granted.
func (c *call) giveBack() {
	c.r.Helper()
	holds := c.wantGrant()
	if err := c.r.giveBack(c.r.ctx, c.r.p, driver.Grant{Holds: holds}); err != nil {
		c.r.Fatal(err)
	}
}

// served lets each call give back what it is granted, at once, and returns their
// owners in the order in which they were served. They exclude each other.
func (r *rig) served(calls ...*call) []string {
	r.Helper()
	var mu sync.Mutex
	var order []string
	errs := make(chan error, len(calls))
	for _, c := range calls {
		go func() {
			<-c.done
			err := c.err
			if err == nil {
				mu.Lock()
				order = append(order, c.req.Owner)
				mu.Unlock()
				err = r.giveBack(r.ctx, r.p, c.grant)
			}
			errs <- err
		}()
	}
	for range calls {
		select {
		case err := <-errs:
			if err != nil {
				r.Fatalf("a waiter was not served: %v", err)
			}
		case <-time.After(r.patience):
			mu.Lock()
			defer mu.Unlock()
			r.Fatalf("%d of %d waiters were served within %s: %q", len(order), len(calls), r.patience, order)
		}
	}
	return order
}
