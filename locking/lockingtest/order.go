package lockingtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

func orderCases() []providerCase {
	return []providerCase{
		{
			name: "FIFOOnOneKey",
			rule: "those who wait for one key get it in the order in which they came",
			run: func(r *rig) {
				h := r.takeOne(ask("holder", "a"))
				var calls []*call
				var want []string
				for i := range 4 {
					want = append(want, fmt.Sprintf("waiter-%d", i))
					calls = append(calls, r.line(ask(want[i], "a")))
				}
				r.wantFreed(true, h.Hold)
				r.wantOrder(r.served(calls...), want...)
			},
		},
		{
			name: "FIFOOverManyKeys",
			rule: "who waits for several keys is not overtaken at one of them that is free",
			run: func(r *rig) {
				h := r.takeOne(ask("holder", "b"))
				first := r.line(ask("first", "a", "b"))
				second := r.line(ask("second", "a"))
				r.wantFreed(true, h.Hold)
				r.wantOrder(r.served(first, second), "first", "second")
			},
		},
		{
			name: "NoWaitDoesNotBarge",
			rule: "a request that does not wait is refused a free key that another waits for, with a BusyError that names no holder",
			run: func(r *rig) {
				r.take(ask("holder", "c"))
				r.line(ask("waiter", "b", "c"))
				r.wantWaiterFirst("b", ask("other", "a", "b"))
			},
		},
		{
			name: "BusyIsTheFirstKey",
			rule: "a BusyError names the first key that is not available, be it held or waited for",
			run: func(r *rig) {
				r.take(ask("holder", "c"))
				r.line(ask("waiter", "b", "c"))
				r.wantWaiterFirst("b", ask("other", "a", "b", "c"))
			},
		},
		{
			name: "ReleaseHandsOver",
			rule: "a release gives the key to who waits for it in the same step: who asks after it comes too late",
			run: func(r *rig) {
				for i := range 5 {
					h := r.takeOne(ask("holder", "a"))
					c := r.line(ask("waiter", "a"))
					r.wantFreed(true, h.Hold)
					if holder := r.probe(r.p, "a"); holder != "waiter" {
						r.Fatalf("after release %d the holder is %q, want %q", i, holder, "waiter")
					}
					c.giveBack()
				}
			},
		},
		{
			name: "HandOverIsPrompt",
			rule: "who waits has the key promptly after its release, not when it looks the next time",
			run:  handOverIsPrompt,
		},
		{
			name: "CancelledWaiterLetsOthersPass",
			rule: "when a waiter is cancelled, those who waited for it alone go on at once",
			run: func(r *rig) {
				r.take(ask("holder", "b"))
				leaver := r.line(ask("leaver", "a", "b"))
				follower := r.line(ask("follower", "a"))
				leaver.cancel()
				leaver.wantError(context.Canceled)
				follower.wantGrant()
			},
		},
		{
			name: "TimedOutWaiterLetsOthersPass",
			rule: "when a waiter's time is used up, those who waited for it alone go on at once",
			run: func(r *rig) {
				r.take(ask("holder", "b"))
				leaver := r.start(waiting(ask("leaver", "a", "b"), 4*blockedFor))
				leaver.wantBlocked()
				follower := r.start(waiting(ask("follower", "a"), caseBound*r.patience))
				leaver.wantError(driver.ErrTimeout)
				follower.wantGrant()
				if early := leaver.began.Add(4 * blockedFor).Sub(follower.ended); early > 0 {
					r.Errorf("the follower had the key %s before the one ahead of it had left", early)
				}
			},
		},
		{
			name: "QueuesAreApart",
			rule: "who waits for one key holds up nobody who wants other keys",
			run: func(r *rig) {
				r.take(ask("holder", "a"))
				r.line(ask("waiter", "a", "b"))
				r.wantFree("c", "d")
			},
		},
		{
			name: "JoinPassesWaiters",
			rule: "an owner joins its own hold at once, however many wait for the key",
			run: func(r *rig) {
				r.take(ask("holder", "a"))
				r.line(ask("waiter", "a"))
				if again := r.takeOne(ask("holder", "a")); !again.Joined {
					r.Errorf("the second hold has not joined: %+v", again)
				}
			},
		},
		{
			name: "TakeoverPassesWaiters",
			rule: "a later generation takes its owner's hold over at once, however many wait for the key",
			run: func(r *rig) {
				r.take(generation(ask("holder", "a"), 1, 1))
				r.line(ask("waiter", "a"))
				r.take(generation(ask("holder", "a"), 1, 2))
			},
		},
		{
			name: "WaitingGenerationIsRevoked",
			rule: "an earlier generation that waits gets ErrRevoked when a later one of its owner is granted one of its keys",
			run: func(r *rig) {
				r.take(ask("holder", "a"))
				r.take(generation(ask("owner", "b"), 1, 1))
				c := r.line(generation(ask("owner", "a", "b"), 1, 1))
				r.take(generation(ask("owner", "b"), 1, 2))
				c.wantError(driver.ErrRevoked)
			},
		},
		{
			name: "WaitingGenerationTakesOver",
			rule: "a later generation that waits behind an earlier one of its owner takes over from it as soon as that is granted the key",
			run: func(r *rig) {
				h := r.takeOne(ask("holder", "a"))
				earlier := r.line(generation(ask("owner", "a"), 1, 1))
				later := r.line(generation(ask("owner", "a"), 1, 2))
				r.wantFreed(true, h.Hold)
				old, next := earlier.wantGrant()[0], later.wantGrant()[0]
				last := old.Token
				r.wantRise(&last, next.Token)
				r.wantFreed(false, old.Hold)
				r.wantFreed(true, next.Hold)
			},
		},
		{
			name:   "FIFOOverProviders",
			rule:   "those who wait at several providers are served in the order in which they came",
			shared: true,
			run: func(r *rig) {
				h := r.takeOne(ask("holder", "a"))
				other := r.another()
				calls := []*call{
					r.lineAt(other, ask("one", "a")), r.line(ask("two", "a")), r.lineAt(other, ask("three", "a")), r.line(ask("four", "a")),
				}
				r.wantFreed(true, h.Hold)
				r.wantOrder(r.served(calls...), "one", "two", "three", "four")
			},
		},
		{
			name: "ManyForAllKeys",
			rule: "of twenty that ask for the same three keys at once each gets them, alone, and the tokens of every key rise",
			run:  manyForAllKeys,
		},
	}
}

// wantOrder expects that the owners were served in the given order.
func (r *rig) wantOrder(got []string, want ...string) {
	r.Helper()
	if !slices.Equal(got, want) {
		r.Errorf("served were %q, want %q", got, want)
	}
}

// wantWaiterFirst expects that a request which does not wait is refused a key that
// nobody holds, since a waiter goes first.
func (r *rig) wantWaiterFirst(key string, req driver.Request) {
	r.Helper()
	grant, err := r.p.Acquire(r.ctx, req)
	busy, ok := errors.AsType[*driver.BusyError](err)
	if !ok || busy.Key != key || busy.Holder != "" {
		r.Errorf("Acquire(%s): %s, want a *driver.BusyError for %q without a holder", describe(req), outcome(grant, err), key)
	}
}

// promptly is less than any pause between two looks that a provider might make, and
// more than a hand-over takes on a machine that does other things too.
const promptly = 100 * time.Millisecond

func handOverIsPrompt(r *rig) {
	quickest := time.Hour
	for range 5 {
		h := r.takeOne(ask("holder", "a"))
		c := r.line(ask("waiter", "a"))
		released := time.Now()
		r.wantFreed(true, h.Hold)
		c.wantGrant()
		quickest = min(quickest, c.ended.Sub(released))
		c.giveBack()
	}
	if quickest > promptly {
		r.Errorf("the quickest of five hand-overs took %s, want at most %s", quickest, promptly)
	}
}

const manyAtOnce = 20

func manyForAllKeys(r *rig) {
	keys := []string{"a", "b", "c"}
	last := make(chan []driver.Token, 1) // it holds one: who finds it empty is not alone
	last <- make([]driver.Token, len(keys))
	var wg sync.WaitGroup
	errs := make([]error, manyAtOnce)
	for i := range errs {
		wg.Go(func() {
			grant, err := r.p.Acquire(r.ctx, waiting(ask(fmt.Sprintf("owner-%d", i), keys...), caseBound*r.patience))
			if err == nil {
				err = errors.Join(showTokens(last, grant), r.giveBack(r.ctx, r.p, grant))
			}
			errs[i] = err
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		r.Fatal(err)
	}
}

// showTokens compares the tokens of who is inside with those before.
func showTokens(last chan []driver.Token, grant driver.Grant) error {
	var before []driver.Token
	select {
	case before = <-last:
	default:
		return errTwoInside
	}
	yield(10)
	defer func() { last <- before }()
	for i, h := range grant.Holds {
		if h.Token <= before[i] {
			return fmt.Errorf("%w: %d after %d on %q", errTokenFell, h.Token, before[i], h.Key)
		}
		before[i] = h.Token
	}
	return nil
}
