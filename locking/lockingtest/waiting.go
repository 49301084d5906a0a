package lockingtest

import (
	"context"
	"errors"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

func waitingCases() []providerCase {
	return []providerCase{
		{
			name: "NoWaitNamesTheHolder",
			rule: "a request that does not wait gets a BusyError with the first busy key, in its order, and who has it",
			run:  noWaitNamesTheHolder,
		},
		{
			name: "NoWaitDoesNotWait",
			rule: "a request that does not wait is answered at once",
			run: func(r *rig) {
				r.take(lasting(ask("holder", "a"), 2*moment))
				c := r.start(ask("other", "a"))
				if grant, err := c.wait(); !errors.Is(err, driver.ErrBusy) {
					r.Errorf("Acquire(%s): %s, want %v", describe(c.req), outcome(grant, err), driver.ErrBusy)
				}
			},
		},
		{
			name: "WaitIsUsedUp",
			rule: "a request for a key that stays busy gets ErrTimeout when its wait is used up: not sooner, not much later",
			run:  waitIsUsedUp,
		},
		{
			name: "NoTimeToWait",
			rule: "a request whose wait is zero takes what is free, and else gets ErrTimeout",
			run: func(r *rig) {
				r.take(waiting(ask("holder", "a"), 0))
				r.refuse(waiting(ask("other", "a"), 0), driver.ErrTimeout)
				r.wantHeld("holder", "a")
			},
		},
		{
			name: "CancelEndsWait",
			rule: "a wait ends promptly when its context is cancelled, with the context's error",
			run: func(r *rig) {
				r.take(ask("holder", "a"))
				c := r.start(waiting(ask("waiter", "a"), caseBound*r.patience))
				c.wantBlocked()
				c.cancel()
				if grant, err := c.wait(); !errors.Is(err, context.Canceled) {
					r.Errorf("Acquire(%s): %s, want %v", describe(c.req), outcome(grant, err), context.Canceled)
				}
			},
		},
		{
			name: "DeadlineEndsWait",
			rule: "a wait ends promptly at its context's deadline, with the context's error",
			run: func(r *rig) {
				r.take(ask("holder", "a"))
				ctx, cancel := context.WithTimeout(r.ctx, 2*instant)
				c := r.startIn(ctx, cancel, r.p, waiting(ask("waiter", "a"), caseBound*r.patience))
				r.Cleanup(cancel)
				if grant, err := c.wait(); !errors.Is(err, context.DeadlineExceeded) {
					r.Errorf("Acquire(%s): %s, want %v", describe(c.req), outcome(grant, err), context.DeadlineExceeded)
				}
			},
		},
		{
			name: "EndedContextTakesNothing",
			rule: "a request whose context has ended before it takes nothing",
			run: func(r *rig) {
				ctx, cancel := context.WithCancel(r.ctx)
				cancel()
				if grant, err := r.p.Acquire(ctx, ask("owner", "a")); !errors.Is(err, context.Canceled) {
					r.Errorf("Acquire: %s, want %v", outcome(grant, err), context.Canceled)
				}
				r.wantFree("a")
			},
		},
		{
			name: "EveryWaiterIsServed",
			rule: "of many that wait for one key each gets it in the end",
			run:  everyWaiterIsServed,
		},
	}
}

func noWaitNamesTheHolder(r *rig) {
	r.take(ask("first", "b"))
	r.take(ask("second", "c"))
	_, err := r.p.Acquire(r.ctx, ask("other", "a", "b", "c"))
	var busy *driver.BusyError
	if !errors.As(err, &busy) {
		r.Fatalf("Acquire: %v, want a *driver.BusyError", err)
	}
	if busy.Key != "b" || busy.Holder != "first" {
		r.Errorf("busy is %q, held by %q; want %q, held by %q", busy.Key, busy.Holder, "b", "first")
	}
}

func waitIsUsedUp(r *rig) {
	const wait = 2 * instant
	r.take(ask("holder", "a"))
	c := r.start(waiting(ask("waiter", "a"), wait))
	grant, err := c.wait()
	if !errors.Is(err, driver.ErrTimeout) {
		r.Fatalf("Acquire(%s): %s, want %v", describe(c.req), outcome(grant, err), driver.ErrTimeout)
	}
	if took := c.ended.Sub(c.began); took < wait || took > wait+r.patience/2 {
		r.Errorf("the wait took %s, want %s or little more", took, wait)
	}
	r.wantHeld("holder", "a")
}

func everyWaiterIsServed(r *rig) {
	h := r.takeOne(ask("holder", "a"))
	calls := make([]*call, hammerWorkers)
	for i := range calls {
		calls[i] = r.start(waiting(ask(driver.Anonymous, "a"), caseBound*r.patience))
	}
	calls[len(calls)-1].wantBlocked()
	served := make(chan error, len(calls))
	for _, c := range calls {
		go func() {
			<-c.done
			err := c.err
			if err == nil {
				err = r.giveBack(r.ctx, r.p, c.grant)
			}
			served <- err
		}()
	}
	r.wantFreed(true, h.Hold)
	for i := range calls {
		select {
		case err := <-served:
			if err != nil {
				r.Errorf("a waiter was not served: %v", err)
			}
		case <-time.After(r.patience):
			r.Fatalf("%d of %d waiters were served within %s", i, len(calls), r.patience)
		}
	}
	r.wantFree("a")
}
