package lockingtest

import (
	"context"
	"errors"
	"runtime"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

func leavingCases() []providerCase {
	return []providerCase{
		{
			name: "CancelledWaiterLeavesNothing",
			rule: "a waiter that was cancelled neither gets the key later nor stands in anybody's way",
			run: func(r *rig) {
				r.leaveBetween((*call).stop, caseBound*r.patience, context.Canceled)
			},
		},
		{
			name: "TimedOutWaiterLeavesNothing",
			rule: "a waiter whose wait was used up neither gets the key later nor stands in anybody's way",
			run: func(r *rig) {
				const untilItIsFollowed = time.Second
				r.leaveBetween(func(*call) {}, untilItIsFollowed, driver.ErrTimeout)
			},
		},
		{
			name: "CancelRacesRelease",
			rule: "whichever of a release and a cancellation is first, a call that returns an error has taken nothing",
			run:  cancelRacesRelease,
		},
		{
			name: "TimeoutRacesRelease",
			rule: "whichever of a release and the end of the wait is first, a call that returns an error has taken nothing",
			run: func(r *rig) {
				for i := range races / 2 {
					h := r.takeOne(ask("holder", "a"))
					wait := time.Duration(1+i%4) * time.Millisecond
					c := r.start(waiting(ask("waiter", "a", "b"), wait))
					<-time.After(wait - time.Duration(i%8)*100*time.Microsecond)
					r.wantFreed(true, h.Hold)
					r.wantSettled(c, driver.ErrTimeout)
				}
			},
		},
		{
			name: "CancelRacesTaking",
			rule: "a call for free keys that is cancelled meanwhile returns its grant, or has taken nothing",
			run:  cancelRacesTaking,
		},
	}
}

// stop cancels the call.
func (c *call) stop() { c.cancel() }

// leaveBetween lets one waiter leave while another waits behind it.
func (r *rig) leaveBetween(leave func(*call), wait time.Duration, want error) {
	r.Helper()
	h := r.takeOne(ask("holder", "a"))
	leaver := r.start(waiting(ask("leaver", "a", "b"), wait))
	leaver.wantBlocked()
	follower := r.line(ask("follower", "a"))
	leave(leaver)
	if grant, err := leaver.wait(); !errors.Is(err, want) {
		r.Fatalf("Acquire(%s): %s, want %v", describe(leaver.req), outcome(grant, err), want)
	}
	r.wantFreed(true, h.Hold)
	got := follower.wantGrant()[0]
	r.wantFreed(true, got.Hold)
	r.wantFree("b")
	for until := time.Now().Add(blockedFor); time.Now().Before(until); time.Sleep(pollInterval) {
		r.wantFree("a")
	}
}

const races = 120

func cancelRacesRelease(r *rig) {
	for i := range races {
		h := r.takeOne(ask("holder", "a"))
		c := r.start(waiting(ask("waiter", "a", "b"), caseBound*r.patience))
		yield(i)
		// The cancellation has a start of some rounds, of none, or comes after.
		lead, lag := 0, 0
		switch i % 3 {
		case 0:
			lead = i
		case 1:
			lag = i
		}
		cancelled := make(chan struct{})
		go func() {
			defer close(cancelled)
			yield(lag)
			c.cancel()
		}()
		if lead > 0 {
			<-cancelled
			yield(lead)
		}
		r.wantFreed(true, h.Hold)
		<-cancelled
		r.wantSettled(c, context.Canceled)
	}
}

func cancelRacesTaking(r *rig) {
	for i := range races {
		c := r.start(waiting(ask("waiter", "a", "b"), caseBound*r.patience))
		yield(i)
		if i%3 == 0 { // a round trip to a server takes longer
			<-time.After(time.Duration(i) * time.Microsecond)
		}
		c.cancel()
		r.wantSettled(c, context.Canceled)
	}
}

// wantSettled expects that a call has its grant, or the given error and nothing
// else.
func (r *rig) wantSettled(c *call, reason error) {
	r.Helper()
	grant, err := c.wait()
	switch {
	case err == nil:
		if err := r.giveBack(r.ctx, r.p, grant); err != nil {
			r.Fatal(err)
		}
	case !errors.Is(err, reason):
		r.Fatalf("Acquire(%s): %v, want a grant or %v", describe(c.req), err, reason)
	}
	for _, key := range c.req.Keys {
		if holder := r.probe(r.p, key); holder != "" {
			r.Fatalf("Acquire(%s): %s, and then %q was still held by %q", describe(c.req), outcome(grant, err), key, holder)
		}
	}
}

// yield lets other goroutines run for a while.
func yield(times int) {
	for range times {
		runtime.Gosched()
	}
}
