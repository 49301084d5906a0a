package locksteps_test

import (
	"testing"

	"github.com/lockstep-dev/lockstep/container"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/locksteps"
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/workflow"
)

func TestReleaseFreesTheLockBeforeTheExecutionEnds(t *testing.T) {
	onEach(t, func(r *rig) {
		freed := false
		r.want(r.run(
			acquire(),
			see("work", func() { r.wantHeld("before the release step", "k") }),
			releaseInto(&freed, locksteps.ReleaseInput{Keys: locking.Keys("k")}),
			see("after", func() { r.wantFree("after the release step", "k") }),
		), nil)
		if !freed {
			r.Error("it says false")
		}
	})
}

func TestReleaseFreesByNameWhateverStepTookTheKey(t *testing.T) {
	onEach(t, func(r *rig) {
		freed := false
		r.want(r.run(
			acquireWith(locksteps.AcquireInput{Keys: locking.Keys("a", "b")}),
			do("c", func(ctx *steps.Context) error {
				_, err := r.locks.Acquire(ctx, locking.Keys("c"))
				return err
			}),
			releaseInto(&freed, locksteps.ReleaseInput{Keys: locking.Keys("c", "b")}),
			see("look", func() {
				r.wantHeld("after the release of others", "a")
				r.wantFree("after its release", "b")
				r.wantFree("after its release", "c")
			}),
		), nil)
		if !freed {
			r.Error("it says false")
		}
	})
}

func TestReleaseOfASharedLockFreesIt(t *testing.T) {
	onEach(t, func(r *rig) {
		r.want(r.run(acquire(), acquire(steps.Name("again")), release(),
			see("look", func() { r.wantFree("after the release step", "k") })), nil)
	})
}

func TestReleaseFreesNothingOfOthersAndSaysSo(t *testing.T) {
	onEach(t, func(r *rig) {
		r.outsider("k")
		freed := true
		r.want(r.run(releaseInto(&freed, locksteps.ReleaseInput{Keys: locking.Keys("k")})), nil)
		if freed {
			r.Error("it says true")
		}
		r.wantHeld("after the release step", "k")
	})
}

func TestReleaseFreesNothingOfAnotherExecutionAndSaysSo(t *testing.T) {
	onEach(t, func(r *rig) {
		inside, let := make(chan struct{}), make(chan struct{})
		holder := inTurn("holder", acquire(), see("wait", func() { close(inside); <-let }))
		freed := true
		thief := inTurn("thief", releaseInto(&freed, locksteps.ReleaseInput{Keys: locking.Keys("k")}))
		r.start(holder, thief)
		h := r.begin(holder)
		r.await("the holder has the lock", inside)
		r.want(r.end(r.begin(thief)), nil)
		if freed {
			r.Error("it says true")
		}
		r.wantHeld("after the release step of another", "k")
		close(let)
		r.want(r.end(h), nil)
	})
}

func TestReleaseSaysFalseWhenTheKeysWereReleasedBefore(t *testing.T) {
	onEach(t, func(r *rig) {
		freed := true
		r.want(r.run(acquire(), release(),
			releaseInto(&freed, locksteps.ReleaseInput{Keys: locking.Keys("k")}, steps.Name("again"))), nil)
		if freed {
			r.Error("it says true")
		}
	})
}

func TestReleaseFreesWhatItCanAndSaysFalseForTheRest(t *testing.T) {
	onEach(t, func(r *rig) {
		freed := true
		r.want(r.run(acquire(), releaseInto(&freed, locksteps.ReleaseInput{Keys: locking.Keys("a", "k", "z")}),
			see("look", func() { r.wantFree("after the release step", "k") })), nil)
		if freed {
			r.Error("it says true")
		}
	})
}

func TestWithoutKeysReleaseDoesNothingAndSaysTrue(t *testing.T) {
	onEach(t, func(r *rig) {
		freed := false
		w := inTurn("w", releaseInto(&freed, locksteps.ReleaseInput{Provider: "lp_none"}))
		r.startWith(workflow.Config{Container: container.New(), Workflows: workflow.Set{w}})
		r.want(r.end(r.begin(w)), nil)
		if !freed {
			r.Error("it says false")
		}
	})
}

func TestAReleaseThatGotNoAnswerIsTriedAgainByTheStepsPolicy(t *testing.T) {
	p := &faulty{}
	onFaulty(t, p, func(r *rig) {
		freed := false
		r.want(r.run(acquire(), see("break", func() { p.failsReleases(1) }),
			releaseInto(&freed, locksteps.ReleaseInput{Keys: locking.Keys("k")}, steps.Retry(steps.RetryPolicy{MaxAttempts: 2})),
			see("look", func() { r.wantFree("after the second attempt", "k") })), nil)
		if !freed {
			r.Error("it says false")
		}
	})
}

func TestAReleaseThatGotNoAnswerFailsTheExecutionAndItsEndFreesTheLock(t *testing.T) {
	p := &faulty{}
	onFaulty(t, p, func(r *rig) {
		r.want(r.run(acquire(), see("break", func() { p.failsReleases(1) }), release()), errNoReply)
		r.wantFree("after the end", "k")
	})
}

func TestTheKeyCanBeAcquiredAgainAfterItsRelease(t *testing.T) {
	onEach(t, func(r *rig) {
		var one, two locksteps.Acquired
		in := locksteps.AcquireInput{Keys: locking.Keys("k")}
		r.want(r.run(acquireInto(&one, in), release(), acquireInto(&two, in, steps.Name("again")),
			see("look", func() { r.wantHeld("after the second acquire step", "k") })), nil)
		if one.Token("k") >= two.Token("k") {
			r.Errorf("token %d after %d", two.Token("k"), one.Token("k"))
		}
		r.wantFree("after the end", "k")
	})
}
