package lockingtest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

func manyKeysCases() []providerCase {
	return []providerCase{
		{
			name: "BusyKeyAmongManyTakesNone",
			rule: "a request of which one key is busy takes none of the others",
			run: func(r *rig) {
				r.take(ask("holder", "b"))
				r.refuse(ask("other", "a", "b", "c"), driver.ErrBusy)
				r.wantFree("a", "c")
				r.wantHeld("holder", "b")
			},
		},
		{
			name: "TimeoutAmongManyTakesNone",
			rule: "a request whose wait for one key is used up has taken none of the others",
			run: func(r *rig) {
				r.take(ask("holder", "b"))
				r.refuse(waiting(ask("other", "a", "b", "c"), 20*time.Millisecond), driver.ErrTimeout)
				r.wantFree("a", "c")
			},
		},
		{
			name: "RevokedAmongManyTakesNone",
			rule: "a request that is too old for one of its keys takes none of the others",
			run: func(r *rig) {
				r.take(generation(ask("owner", "b"), 2, 1))
				r.refuse(generation(ask("owner", "a", "b", "c"), 1, 1), driver.ErrRevoked)
				r.wantFree("a", "c")
			},
		},
		{
			name: "WaiterForManyGetsAll",
			rule: "a request that waits for several holders has all its keys when the last one has left",
			run:  waiterForManyGetsAll,
		},
		{
			name: "PartlyHeldIsTakenWhole",
			rule: "of the keys of one request some may be joined and others taken afresh",
			run:  partlyHeldIsTakenWhole,
		},
		{
			name: "FailureKeepsWhatWasHeld",
			rule: "a request that fails neither frees nor extends what its owner held before",
			run:  failureKeepsWhatWasHeld,
		},
		{
			name: "OverlappingRequestsAllSucceed",
			rule: "requests for overlapping keys never wait for each other in a circle",
			run:  overlappingRequestsAllSucceed,
		},
		{
			name: "ManyKeysAtOnce",
			rule: "one request may ask for hundreds of keys",
			run:  manyKeysAtOnce,
		},
	}
}

func waiterForManyGetsAll(r *rig) {
	a, b := r.takeOne(ask("first", "a")), r.takeOne(ask("second", "b"))
	c := r.start(waiting(ask("waiter", "a", "b"), caseBound*r.patience))
	c.wantBlocked()
	r.wantFreed(true, a.Hold)
	c.wantBlocked()
	r.wantFreed(true, b.Hold)
	c.wantGrant()
	r.wantHeld("waiter", "a", "b")
}

func partlyHeldIsTakenWhole(r *rig) {
	before := r.take(ask("owner", "a", "c"))
	after := r.take(ask("owner", "a", "b", "c", "d"))
	for i, want := range []bool{true, false, true, false} {
		if after[i].Joined != want {
			r.Errorf("the hold on %q: joined %t, want %t", after[i].Key, after[i].Joined, want)
		}
	}
	if after[0].Token != before[0].Token || after[2].Token != before[1].Token {
		r.Errorf("the tokens of the keys that were held are %d and %d, want %d and %d as before",
			after[0].Token, after[2].Token, before[0].Token, before[1].Token)
	}
	r.wantHeld("owner", "a", "b", "c", "d")
}

func failureKeepsWhatWasHeld(r *rig) {
	r.take(ask("holder", "b"))
	r.take(ask("owner", "c"))
	r.take(lasting(ask("owner", "a"), moment))
	r.refuse(lasting(ask("owner", "a", "b", "c"), time.Hour), driver.ErrBusy)
	r.wantHeld("owner", "a", "c")
	r.wantLapse("a")
	r.wantHeld("owner", "c")
}

func overlappingRequestsAllSucceed(r *rig) {
	sets := [][]string{{"a", "b"}, {"b", "c"}, {"a", "c"}, {"a", "b", "c"}}
	var wg sync.WaitGroup
	errs := make([]error, 2*len(sets))
	for w := range errs {
		wg.Go(func() {
			for range hammerRounds / 2 {
				req := waiting(ask(fmt.Sprintf("owner-%d", w), sets[w%len(sets)]...), r.patience)
				grant, err := r.p.Acquire(r.ctx, req)
				if err == nil {
					err = r.giveBack(r.ctx, r.p, grant)
				}
				if err != nil {
					errs[w] = fmt.Errorf("%q: %w", req.Keys, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		r.Fatal(err)
	}
	r.wantFree("a", "b", "c")
}

func manyKeysAtOnce(r *rig) {
	keys := make([]string, 300)
	for i := range keys {
		keys[i] = fmt.Sprintf("key-%03d", i)
	}
	holds := r.take(ask("owner", keys...))
	r.wantHeld("owner", keys[0], keys[150], keys[299])
	plain := make([]driver.Hold, len(holds))
	for i, h := range holds {
		plain[i] = h.Hold
	}
	if freed := r.free(plain...); slices.Contains(freed, false) {
		r.Errorf("not all of %d holds were freed", len(freed))
	}
	r.wantFree(keys[0], keys[150], keys[299])
}
