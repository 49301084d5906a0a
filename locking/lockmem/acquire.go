package lockmem

import (
	"context"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// Acquire implements [driver.Provider]. Requests for one key are granted in the
// order in which they came.
func (p *Provider) Acquire(ctx context.Context, req driver.Request) (driver.Grant, error) {
	if err := ctx.Err(); err != nil {
		return driver.Grant{}, err
	}
	w, grant, err := p.takeOrJoin(req)
	if w == nil {
		return grant, err
	}
	return p.await(ctx, w)
}

// takeOrJoin takes the keys or, when the request has to wait and may, returns the
// waiter that stands for it.
func (p *Provider) takeOrJoin(req driver.Request) (*waiter, driver.Grant, error) {
	now, err := p.enter()
	if err != nil {
		return nil, driver.Grant{}, err
	}
	defer p.leave(now)
	grant, busy, err := p.take(&req, now)
	switch {
	case busy == nil:
		return nil, grant, err
	case req.Wait < 0:
		return nil, driver.Grant{}, &driver.BusyError{Key: busy.key, Holder: busy.owner}
	case req.Wait == 0:
		return nil, driver.Grant{}, driver.ErrTimeout
	}
	return p.queue.join(req), driver.Grant{}, nil
}

// await waits for the answer to a request, for as long as the request and ctx
// allow.
func (p *Provider) await(ctx context.Context, w *waiter) (driver.Grant, error) {
	timer := time.NewTimer(w.req.Wait)
	defer timer.Stop()
	select {
	case <-w.done:
		return w.grant, w.err
	case <-timer.C:
		p.catchUp() // what lapses at this very moment is still for the waiter
		return p.withdraw(w, driver.ErrTimeout)
	case <-ctx.Done():
		return p.withdraw(w, ctx.Err())
	}
}

// withdraw takes a waiter out of the queue. One that has its answer already gets
// that: a grant is never lost.
func (p *Provider) withdraw(w *waiter, reason error) (driver.Grant, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.settled() {
		return w.grant, w.err
	}
	p.queue.remove(w)
	return driver.Grant{}, reason
}
