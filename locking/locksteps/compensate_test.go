package locksteps_test

import (
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/container"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/locksteps"
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/steps/stepstest"
)

func TestInARevertTheLockIsReleasedAfterWhatFollowedItWasUndone(t *testing.T) {
	onEach(t, func(r *rig) {
		var j journal
		at := func(name, want string) part {
			return undoing(name, func() {
				j.add("undo " + name)
				if got := map[bool]string{true: "free", false: "held"}[r.free("k")]; got != want {
					r.Errorf("when %q is undone the lock is %s", name, got)
				}
			})
		}
		r.want(r.run(at("before", "free"), acquire(), at("first", "held"), at("second", "held"), fail()), errBoom)
		j.want(r.T, "undo second", "undo first", "undo before")
	})
}

func TestInARevertTheLockIsReleasedBeforeWhatPrecededItIsUndone(t *testing.T) {
	onEach(t, func(r *rig) {
		r.want(r.run(
			undoing("before", func() {
				if r.outsider("k") == nil {
					r.Error("nobody else could have it")
				}
			}),
			acquire(), fail()), errBoom)
	})
}

func TestTwoLocksAreReleasedInReverse(t *testing.T) {
	onEach(t, func(r *rig) {
		r.want(r.run(
			acquireWith(locksteps.AcquireInput{Keys: locking.Keys("outer")}, steps.Name("outer")),
			undoing("between", func() {
				r.wantFree("when what stands between is undone", "inner")
				r.wantHeld("when what stands between is undone", "outer")
			}),
			acquireWith(locksteps.AcquireInput{Keys: locking.Keys("inner")}, steps.Name("inner")),
			fail()), errBoom)
	})
}

func TestTheCompensationOfAStepThatSharedALockLeavesItToTheStepThatTookIt(t *testing.T) {
	onEach(t, func(r *rig) {
		r.want(r.run(
			acquire(),
			undoing("between", func() { r.wantHeld("after the sharing step was undone", "k") }),
			acquireWith(locksteps.AcquireInput{Keys: locking.Keys("k", "own")}, steps.Name("again")),
			undoing("after", func() { r.wantHeld("before it was undone", "own") }),
			fail()), errBoom)
	})
}

func TestTheCompensationOfAStepThatSharedALockFreesWhatItTookItself(t *testing.T) {
	onEach(t, func(r *rig) {
		r.want(r.run(
			acquire(),
			undoing("between", func() { r.wantFree("after the sharing step was undone", "own") }),
			acquireWith(locksteps.AcquireInput{Keys: locking.Keys("k", "own")}, steps.Name("again")),
			fail()), errBoom)
	})
}

func TestTheCompensationAfterARefusalFreesNothing(t *testing.T) {
	onEach(t, func(r *rig) {
		r.outsider("x")
		r.want(r.run(
			acquire(),
			undoing("between", func() { r.wantHeld("after the refused step was undone", "k") }),
			acquireWith(locksteps.AcquireInput{Keys: locking.Keys("k", "x")}, steps.Name("refused")),
		), locking.ErrNotAcquired)
		r.wantHeld("after the end", "x")
	})
}

func TestTheCompensationLeavesALockAloneThatWasReleasedAndIsAnothersNow(t *testing.T) {
	onEach(t, func(r *rig) {
		r.want(r.run(acquire(), release(), see("steal", func() { r.outsider("k") }), fail()), errBoom)
		r.wantHeld("after the end", "k")
	})
}

func TestTheCompensationLeavesALockAloneThatLapsedAndIsAnothersNow(t *testing.T) {
	onEach(t, func(r *rig) {
		in := locksteps.AcquireInput{Keys: locking.Keys("k"), TTL: 50 * time.Millisecond}
		r.want(r.run(acquireWith(in), see("steal", func() { r.outsider("k") }), fail()), errBoom)
		r.wantHeld("after the end", "k")
	})
}

func TestTheCompensationDoesNotTakeALockAgainThatWasReleased(t *testing.T) {
	p := &faulty{}
	onFaulty(t, p, func(r *rig) {
		r.want(r.run(acquire(), release(), see("count", p.count), fail()), errBoom)
		if n := p.calls(); n != 0 {
			r.Errorf("the provider was called %d times after the release", n)
		}
	})
}

func TestAfterAReleaseTheStepsBeforeItAreUndoneWithoutTheLock(t *testing.T) {
	onEach(t, func(r *rig) {
		r.want(r.run(acquire(), undoing("work", func() { r.wantFree("when the work is undone", "k") }), release(), fail()), errBoom)
	})
}

func TestWithoutAReleaseTheStepsAreUndoneUnderTheLock(t *testing.T) {
	onEach(t, func(r *rig) {
		r.want(r.run(acquire(), undoing("work", func() { r.wantHeld("when the work is undone", "k") }), fail()), errBoom)
	})
}

func TestACompensationThatGotNoAnswerFailsAndTheEndFreesTheLock(t *testing.T) {
	p := &faulty{}
	onFaulty(t, p, func(r *rig) {
		err := r.run(acquire(), see("break", func() { p.failsReleases(1) }), fail())
		r.wantFailed(err, errBoom)
		r.wantFailed(err, errNoReply)
		r.wantFree("after the end", "k")
	})
}

func TestACompensationThatGotNoAnswerIsTriedAgainByTheStepsPolicy(t *testing.T) {
	p := &faulty{}
	onFaulty(t, p, func(r *rig) {
		err := r.run(
			undoing("before", func() { r.wantFree("after the second attempt", "k") }),
			acquire(steps.RetryCompensation(steps.RetryPolicy{MaxAttempts: 2, Backoff: time.Millisecond})),
			see("break", func() { p.failsReleases(1) }), fail())
		r.want(err, errBoom)
	})
}

func TestACompensationThatKnowsOfNoKeysDoesNothing(t *testing.T) {
	p := &faulty{}
	onFaulty(t, p, func(r *rig) {
		c := container.New()
		container.MustRegister(c, locking.ServiceKey, r.locks)
		res, err := stepstest.Run(r.Context(), c, locksteps.Acquire, locksteps.AcquireInput{Keys: locking.Keys("k")})
		r.want(err, nil)
		p.count()
		r.want(res.CompensateUnknown(r.Context()), nil)
		r.want(res.CompensateFailed(r.Context()), nil)
		if n := p.calls(); n != 0 {
			r.Errorf("the provider was called %d times", n)
		}
	})
}
