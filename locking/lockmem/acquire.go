package lockmem

import (
	"context"
	"slices"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// Acquire implements [driver.Provider]. What it grants is never an offer.
func (p *Provider) Acquire(ctx context.Context, req driver.Request) (driver.Grant, error) {
	if err := ctx.Err(); err != nil {
		return driver.Grant{}, err
	}
	w, grant, err := p.takeOrJoin(&req)
	if w == nil {
		return grant, err
	}
	return p.await(ctx, w)
}

// fewKeys is how many keys a request may have that needs no memory for the list of
// their locks.
const fewKeys = 4

// takeOrJoin takes the keys or, when the request has to wait and may, returns the
// waiter that stands for it.
func (p *Provider) takeOrJoin(req *driver.Request) (*waiter, driver.Grant, error) {
	now, err := p.enter()
	if err != nil {
		return nil, driver.Grant{}, err
	}
	defer p.leave(now)
	var buf [fewKeys]*lock
	b := bid{req: req, locks: p.table.find(req.Keys, buf[:0])}
	if !b.contended() {
		return nil, driver.Grant{Holds: p.take(&b, nil, now)}, nil
	}
	class := p.class(req)
	b.score = last(class)
	busy, err := p.judge(&b)
	switch {
	case err != nil:
		return nil, driver.Grant{}, err
	case busy < 0:
		holds := p.take(&b, nil, now)
		p.given(&b, holds)
		return nil, driver.Grant{Holds: holds}, nil
	case req.Wait < 0:
		return nil, driver.Grant{}, busyError(&b, busy)
	case req.Wait == 0:
		return nil, driver.Grant{}, driver.ErrTimeout
	}
	w := p.newWaiter(*req, class, now)
	w.done = make(chan struct{})
	if err := p.admit(w); err != nil {
		return nil, driver.Grant{}, err
	}
	return w, driver.Grant{}, nil
}

// contended says that somebody has, or waits for, one of a request's keys.
func (b *bid) contended() bool {
	for _, l := range b.locks {
		if l != nil {
			return true
		}
	}
	return false
}

// judge returns the first key that a request can't have now, or -1, and an error
// when it never can.
func (p *Provider) judge(b *bid) (busy int, err error) {
	held, err := b.obstacle()
	if err != nil {
		return held, err
	}
	queued := p.queued(b)
	if held >= 0 && queued >= 0 {
		return min(held, queued), nil
	}
	return max(held, queued), nil
}

func busyError(b *bid, at int) *driver.BusyError {
	e := &driver.BusyError{Key: b.req.Keys[at]}
	if l := b.locks[at]; l.held {
		e.Holder = l.owner
	}
	return e
}

// class is the class of a request that comes now.
func (p *Provider) class(req *driver.Request) int {
	if req.Rank == driver.Compensation {
		return compensating
	}
	for owner := range heldUp(req) {
		if p.table.owners[owner] != nil {
			return holding
		}
	}
	return plain
}

// newWaiter makes a request the last of its class.
func (p *Provider) newWaiter(req driver.Request, class int, now time.Time) *waiter {
	w := &waiter{request: req, since: now}
	w.bid = bid{
		req:   &w.request,
		locks: p.table.find(req.Keys, make([]*lock, 0, len(req.Keys))),
		score: p.queue.next(class),
	}
	return w
}

// await waits for the answer to a request, for as long as the request and ctx
// allow.
func (p *Provider) await(ctx context.Context, w *waiter) (driver.Grant, error) {
	timer := time.NewTimer(w.request.Wait)
	defer timer.Stop()
	select {
	case <-w.done:
		return w.grant, w.err
	case <-timer.C:
		return p.withdraw(w, driver.ErrTimeout)
	case <-ctx.Done():
		return p.withdraw(w, ctx.Err())
	}
}

// withdraw takes a waiter out of the queue. One that has its answer already gets
// that: a grant is never lost, and what lapses at this very moment is still for the
// waiter.
func (p *Provider) withdraw(w *waiter, reason error) (driver.Grant, error) {
	now, err := p.enter()
	if err == nil {
		defer p.leave(now)
		if w.state == waiting {
			p.quit(w)
			p.end(w)
			return driver.Grant{}, reason
		}
	}
	return w.grant, w.err // final, since the provider has ended, or the waiter has
}

// copied is a request whose lists nobody else changes.
func copied(req driver.Request) driver.Request {
	req.Keys, req.Enclosing = slices.Clone(req.Keys), slices.Clone(req.Enclosing)
	return req
}
