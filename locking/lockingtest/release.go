package lockingtest

import (
	"slices"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

func releaseCases() []providerCase {
	return []providerCase{
		{
			name: "ReleaseFrees",
			rule: "a hold frees its key, once",
			run: func(r *rig) {
				h := r.takeOne(ask("owner", "a"))
				r.wantFreed(true, h.Hold)
				r.wantFree("a")
				r.wantFreed(false, h.Hold)
			},
		},
		{
			name: "ReleaseComparesOwner",
			rule: "the hold of another owner frees nothing, with or without a token",
			run: func(r *rig) {
				h := r.takeOne(ask("owner", "a")).Hold
				h.Owner = "other"
				r.wantFreed(false, h)
				h.Token = 0
				r.wantFreed(false, h)
				r.wantHeld("owner", "a")
			},
		},
		{
			name: "ReleaseWithoutOwnerSparesNamed",
			rule: "a release for the anonymous owner never frees what a named one has",
			run: func(r *rig) {
				r.take(ask("owner", "a"))
				r.wantFreed(false, driver.Hold{Key: "a", Owner: driver.Anonymous})
				r.wantFreed(false, driver.Hold{Key: "a"})
				r.wantHeld("owner", "a")
			},
		},
		{
			name: "ReleaseComparesToken",
			rule: "a hold with another token than the key's frees nothing",
			run: func(r *rig) {
				h := r.takeOne(ask("owner", "a")).Hold
				h.Token--
				r.wantFreed(false, h)
				h.Token += 2
				r.wantFreed(false, h)
				r.wantHeld("owner", "a")
			},
		},
		{
			name: "ReleaseWithoutToken",
			rule: "a hold without a token stands for whichever token its owner has",
			run: func(r *rig) {
				r.take(ask("owner", "a"))
				r.take(ask(driver.Anonymous, "b"))
				r.wantFreed(true, driver.Hold{Key: "a", Owner: "owner"})
				r.wantFreed(true, driver.Hold{Key: "b", Owner: driver.Anonymous})
				r.wantFree("a", "b")
			},
		},
		{
			name: "ReleaseAfterLapse",
			rule: "a hold that has lapsed frees nothing and is told so",
			run: func(r *rig) {
				h := r.takeOne(lasting(ask("owner", "a"), instant))
				r.wantLapse("a")
				r.wantFreed(false, h.Hold)
				r.wantFreed(false, driver.Hold{Key: "a", Owner: "owner"})
			},
		},
		{
			name: "LapsedAnonymousFreesNothing",
			rule: "an anonymous hold that lapsed can't free the lock that another anonymous caller has taken since",
			run: func(r *rig) {
				old := r.takeOne(lasting(ask(driver.Anonymous, "a"), instant))
				r.wantLapse("a")
				r.take(ask(driver.Anonymous, "a"))
				r.wantFreed(false, old.Hold)
				r.wantHeld(driver.Anonymous, "a")
			},
		},
		{
			name: "LapsedNamedFreesNothing",
			rule: "a named hold that lapsed can't free the lock that the same owner has taken since",
			run: func(r *rig) {
				old := r.takeOne(lasting(ask("owner", "a"), instant))
				r.wantLapse("a")
				r.take(ask("owner", "a"))
				r.wantFreed(false, old.Hold)
				r.wantHeld("owner", "a")
			},
		},
		{
			name: "ReleaseAnswersInOrder",
			rule: "Release answers for each hold in turn, and one that is gone does not keep the others from being freed",
			run:  releaseAnswersInOrder,
		},
		{
			name: "ReleaseWakesWaiter",
			rule: "who waits for a lock gets it when it is released",
			run: func(r *rig) {
				h := r.takeOne(ask("holder", "a"))
				c := r.start(waiting(ask("waiter", "a"), caseBound*r.patience))
				c.wantBlocked()
				r.wantFreed(true, h.Hold)
				c.wantGrant()
				r.wantHeld("waiter", "a")
			},
		},
	}
}

func releaseAnswersInOrder(r *rig) {
	holds := r.take(ask("owner", "a", "c", "d"))
	r.take(ask("other", "e"))
	got := r.free(
		holds[1].Hold,
		driver.Hold{Key: "b", Owner: "owner"}, // which nobody has
		holds[0].Hold,
		holds[2].Hold,
		driver.Hold{Key: "e", Owner: "owner"}, // which another has
	)
	if want := []bool{true, false, true, true, false}; !slices.Equal(got, want) {
		r.Errorf("the answers are %t, want %t", got, want)
	}
	r.wantFree("a", "b", "c", "d")
	r.wantHeld("other", "e")
}

func releaseAllCases() []providerCase {
	return []providerCase{
		{
			name: "ReleaseAllCounts",
			rule: "ReleaseAll frees all that the owner has and says how many locks there were",
			run: func(r *rig) {
				r.take(ask("owner", "a", "b"))
				r.take(generation(lasting(ask("owner", "c"), forever), 1, 1))
				r.take(ask("owner", "a"))
				r.wantReleasedAll(3, "owner")
				r.wantFree("a", "b", "c")
				r.wantReleasedAll(0, "owner")
			},
		},
		{
			name: "ReleaseAllSparesOthers",
			rule: "ReleaseAll of a named owner frees nobody else's locks, whatever their names have in common",
			run: func(r *rig) {
				r.take(ask("owner", "a"))
				r.take(ask("owner2", "b"))
				r.take(ask("own", "c"))
				r.take(ask(driver.Anonymous, "d"))
				r.wantReleasedAll(1, "owner")
				r.wantFree("a")
				r.wantHeld("owner2", "b")
				r.wantHeld("own", "c")
				r.wantHeld(driver.Anonymous, "d")
			},
		},
		{
			name: "ReleaseAllOfAnonymous",
			rule: "ReleaseAll of the anonymous owner frees the anonymous locks and no named one",
			run: func(r *rig) {
				r.take(ask(driver.Anonymous, "a"))
				r.take(ask(driver.Anonymous, "b"))
				r.take(ask("owner", "c"))
				r.wantReleasedAll(2, driver.Anonymous)
				r.wantFree("a", "b")
				r.wantHeld("owner", "c")
			},
		},
		{
			name: "ReleaseAllSkipsLapsed",
			rule: "ReleaseAll does not count what has lapsed",
			run: func(r *rig) {
				r.take(lasting(ask("owner", "a"), instant))
				r.take(ask("owner", "b"))
				r.wantLapse("a")
				r.wantReleasedAll(1, "owner")
			},
		},
		{
			name: "ReleaseAllWakesWaiter",
			rule: "who waits for a lock gets it when ReleaseAll frees it",
			run: func(r *rig) {
				r.take(ask("holder", "a", "b"))
				c := r.start(waiting(ask("waiter", "a", "b"), caseBound*r.patience))
				c.wantBlocked()
				r.wantReleasedAll(2, "holder")
				c.wantGrant()
				r.wantHeld("waiter", "a", "b")
			},
		},
	}
}

func (r *rig) wantReleasedAll(want int, owner string) {
	r.Helper()
	got, err := r.p.ReleaseAll(r.ctx, owner)
	if err != nil || got != want {
		r.Errorf("ReleaseAll(%q): %d, %v, want %d", owner, got, err, want)
	}
}
