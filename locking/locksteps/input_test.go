package locksteps_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/container"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/lockmem"
	"github.com/lockstep-dev/lockstep/locking/locksteps"
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/workflow"
)

// tries counts the attempts of a step that may be tried ten times.
func tries(n *int) steps.Option {
	return steps.Retry(steps.RetryPolicy{MaxAttempts: 10, If: func(error) bool { *n++; return true }})
}

func TestInputThatCannotBeIsAnInvalidErrorAndNotTriedAgain(t *testing.T) {
	k := locking.Keys("k")
	for argument, p := range map[string]func(opt steps.Option) part{
		"AcquireInput.Timeout": func(opt steps.Option) part {
			return acquireWith(locksteps.AcquireInput{Keys: k, Timeout: -time.Nanosecond}, opt)
		},
		"AcquireInput.TTL": func(opt steps.Option) part {
			return acquireWith(locksteps.AcquireInput{Keys: k, TTL: time.Microsecond}, opt)
		},
		"key": func(opt steps.Option) part {
			return acquireWith(locksteps.AcquireInput{Keys: locking.Keys("k", "")}, opt)
		},
		"owner": func(opt steps.Option) part {
			return acquireWith(locksteps.AcquireInput{Keys: k, Owner: "*"}, opt)
		},
	} {
		t.Run(argument, func(t *testing.T) {
			r := newRig(t, lockmem.New(lockmem.Config{}))
			wantRefused(r, argument, p)
		})
	}
	for argument, p := range map[string]func(opt steps.Option) part{
		"key": func(opt steps.Option) part {
			return releaseInto(nil, locksteps.ReleaseInput{Keys: locking.Keys("k", "")}, opt)
		},
		"owner": func(opt steps.Option) part {
			return releaseInto(nil, locksteps.ReleaseInput{Keys: k, Owner: "lockstep:x"}, opt)
		},
	} {
		t.Run("release "+argument, func(t *testing.T) {
			r := newRig(t, lockmem.New(lockmem.Config{}))
			wantRefused(r, argument, p)
		})
	}
}

func wantRefused(r *rig, argument string, p func(opt steps.Option) part) {
	r.Helper()
	n := 0
	err := r.run(p(tries(&n)))
	invalid, ok := errors.AsType[*locking.InvalidError](err)
	if !ok || invalid.Argument != argument {
		r.Errorf("%v, %+v", err, invalid)
	}
	if n > 0 {
		r.Errorf("it was offered to the retry filter %d times", n)
	}
	r.wantFree("after the refusal", "k")
}

func TestAnUnknownProviderIsATypedErrorAndNotTriedAgain(t *testing.T) {
	for name, p := range map[string]func(opt steps.Option) part{
		"acquire": func(opt steps.Option) part {
			return acquireWith(locksteps.AcquireInput{Keys: locking.Keys("k"), Provider: "lp_none"}, opt)
		},
		"release": func(opt steps.Option) part {
			return releaseInto(nil, locksteps.ReleaseInput{Keys: locking.Keys("k"), Provider: "lp_none"}, opt)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, lockmem.New(lockmem.Config{}))
			n := 0
			err := r.run(p(tries(&n)))
			unknown, ok := errors.AsType[*locking.UnknownProviderError](err)
			if !ok || unknown.ID != "lp_none" || n > 0 {
				t.Errorf("%v, %d tries", err, n)
			}
		})
	}
}

func TestTheProviderThatIsNamedHasTheLock(t *testing.T) {
	for name, timeout := range map[string]time.Duration{"at once": 0, "with a wait": patience} {
		t.Run(name, func(t *testing.T) {
			onEach(t, func(r *rig) {
				k := locking.Keys("k")
				freed := false
				r.want(r.run(
					acquireWith(locksteps.AcquireInput{Keys: k, Provider: locking.InMemory, Timeout: timeout}),
					see("look", func() {
						r.wantFree("at the default provider", "k")
						_, err := r.locks.TryAcquire(r.Context(), k, locking.WithProvider(locking.InMemory))
						r.want(err, locking.ErrNotAcquired)
					}),
					releaseInto(&freed, locksteps.ReleaseInput{Keys: k, Provider: locking.InMemory}),
				), nil)
				if !freed {
					r.Error("the release step says false")
				}
			})
		})
	}
}

func TestTheCompensationGivesBackAtTheProviderThatIsNamed(t *testing.T) {
	onEach(t, func(r *rig) {
		r.want(r.run(
			undoing("before", func() {
				_, err := r.locks.TryAcquire(r.Context(), locking.Keys("k"), locking.WithProvider(locking.InMemory))
				r.want(err, nil)
			}),
			acquireWith(locksteps.AcquireInput{Keys: locking.Keys("k"), Provider: locking.InMemory}), fail()), errBoom)
	})
}

func TestWithoutALockServiceTheErrorNamesIt(t *testing.T) {
	r := newRig(t, lockmem.New(lockmem.Config{}))
	w := inTurn("w", acquire())
	r.startWith(workflow.Config{Container: container.New(), Workflows: workflow.Set{w}})
	if err := r.end(r.begin(w)); err == nil || !strings.Contains(err.Error(), "Modules.LOCKING") {
		t.Error(err)
	}
}

func TestAStepThatIsUsedTwiceNeedsANameForEachUse(t *testing.T) {
	compose := func(second ...steps.Option) error {
		_, err := workflow.Build("w", func(b *workflow.Builder, in workflow.Value[string]) workflow.Value[string] {
			acquire()(b)
			release()(b)
			acquire(second...)(b)
			return in
		})
		return err
	}
	if err := compose(); err == nil || !strings.Contains(err.Error(), `"acquire-lock-step" is used twice`) {
		t.Error(err)
	}
	if err := compose(steps.Name("acquire-again")); err != nil {
		t.Error(err)
	}
}

func TestTheStepsHaveMedusasNames(t *testing.T) {
	if locksteps.Acquire.Name() != "acquire-lock-step" || locksteps.Release.Name() != "release-lock-step" {
		t.Error(locksteps.Acquire.Name(), locksteps.Release.Name())
	}
}
