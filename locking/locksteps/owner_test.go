package locksteps_test

import (
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/locksteps"
)

// owned takes "k" for "me".
func owned(ttl time.Duration) locksteps.AcquireInput {
	return locksteps.AcquireInput{Keys: locking.Keys("k"), Owner: "me", TTL: ttl}
}

func TestTheLockOfANamedOwnerStaysWhenTheExecutionEnds(t *testing.T) {
	onEach(t, func(r *rig) {
		r.want(r.run(acquireWith(owned(0))), nil)
		r.wantHeld("after the end", "k")
		if freed, err := r.locks.Release(r.Context(), locking.Keys("k"), locking.WithOwner("me")); !freed || err != nil {
			r.Errorf("its owner's release: %t, %v", freed, err)
		}
	})
}

func TestTheLockOfANamedOwnerIsNotRenewed(t *testing.T) {
	onEach(t, func(r *rig) {
		r.want(r.run(acquireWith(owned(50*time.Millisecond)), see("wait", func() { r.outsider("k") })), nil)
	})
}

func TestTheCompensationReleasesTheLockOfANamedOwner(t *testing.T) {
	onEach(t, func(r *rig) {
		r.want(r.run(
			undoing("before", func() { r.wantFree("after the acquire step was undone", "k") }),
			acquireWith(owned(0)),
			undoing("work", func() { r.wantHeld("before the acquire step is undone", "k") }),
			fail()), errBoom)
	})
}

func TestTheCompensationOfARefusedNamedOwnerReleasesNothing(t *testing.T) {
	onEach(t, func(r *rig) {
		r.outsider("x")
		if _, err := r.locks.TryAcquire(r.Context(), locking.Keys("k"), locking.WithOwner("me")); err != nil {
			r.Fatal(err)
		}
		r.want(r.run(acquireWith(locksteps.AcquireInput{Keys: locking.Keys("k", "x"), Owner: "me"})), locking.ErrNotAcquired)
		r.wantHeld("after the end", "k")
		r.wantHeld("after the end", "x")
	})
}

func TestReleaseWithTheOwnerFreesItsLock(t *testing.T) {
	onEach(t, func(r *rig) {
		freed := false
		r.want(r.run(
			acquireWith(owned(0)),
			releaseInto(&freed, locksteps.ReleaseInput{Keys: locking.Keys("k"), Owner: "me"}),
			see("look", func() { r.wantFree("after the release step", "k") }),
		), nil)
		if !freed {
			r.Error("it says false")
		}
	})
}

func TestReleaseWithAnotherOwnerFreesNothingAndSaysSo(t *testing.T) {
	onEach(t, func(r *rig) {
		byNone, byOther := true, true
		r.want(r.run(
			acquireWith(owned(0)),
			releaseInto(&byOther, locksteps.ReleaseInput{Keys: locking.Keys("k"), Owner: "you"}),
		), nil)
		w := inTurn("by-none", releaseInto(&byNone, locksteps.ReleaseInput{Keys: locking.Keys("k")}))
		r.start(w)
		r.want(r.end(r.begin(w)), nil)
		if byNone || byOther {
			r.Errorf("by none %t, by another %t", byNone, byOther)
		}
		r.wantHeld("after the end", "k")
	})
}

func TestAnExecutionReleasesWhatAnotherTookUnderTheOwnersName(t *testing.T) {
	onEach(t, func(r *rig) {
		freed := false
		take := inTurn("take", acquireWith(owned(0)))
		again := inTurn("again", acquireWith(owned(0)))
		give := inTurn("give", releaseInto(&freed, locksteps.ReleaseInput{Keys: locking.Keys("k"), Owner: "me"}))
		r.start(take, again, give)
		for _, w := range []flow{take, again, give} {
			r.want(r.end(r.begin(w)), nil)
		}
		if !freed {
			r.Error("it says false")
		}
		r.wantFree("after the release", "k")
	})
}
