package locksteps_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/container"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/lockingtest"
	"github.com/lockstep-dev/lockstep/locking/locksteps"
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/workflow"
)

func TestTheLockIsHeldForTheStepsThatFollow(t *testing.T) {
	onEach(t, func(r *rig) {
		r.want(r.run(
			see("before", func() { r.wantFree("before the acquire step", "k") }),
			acquire(),
			see("one", func() { r.wantHeld("in the next step", "k") }),
			see("two", func() { r.wantHeld("in the step after that", "k") }),
		), nil)
	})
}

func TestTheLockIsFreeWhenTheExecutionHasSucceeded(t *testing.T) {
	onEach(t, func(r *rig) {
		r.want(r.run(acquire()), nil)
		r.wantFree("after the end", "k")
	})
}

func TestTheLockIsFreeWhenALaterStepHasFailed(t *testing.T) {
	onEach(t, func(r *rig) {
		r.want(r.run(acquire(), fail()), errBoom)
		r.wantFree("after the end", "k")
	})
}

func TestTheLockIsFreeWhenTheExecutionWasCancelled(t *testing.T) {
	onEach(t, func(r *rig) {
		inside := make(chan struct{})
		w := inTurn("w", acquire(), do("wait", func(ctx *steps.Context) error {
			close(inside)
			<-ctx.Done()
			return ctx.Err()
		}))
		r.start(w)
		h := r.begin(w)
		r.await("the step after the acquire step", inside)
		r.wantHeld("before the cancel", "k")
		r.want(h.Cancel(r.Context()), nil)
		r.want(r.end(h), workflow.ErrCancelled)
		r.wantFree("after the end", "k")
	})
}

func TestTheLockIsFreeWhenACompensationHasFailed(t *testing.T) {
	onEach(t, func(r *rig) {
		broken := steps.Undo(func(*steps.Context, struct{}) error { return errBoom })
		r.wantFailed(r.run(acquire(), do("broken", func(*steps.Context) error { return nil }, broken), fail()), errBoom)
		r.wantFree("after the end", "k")
	})
}

func TestTheLockOutlivesItsLeaseWhileTheExecutionLives(t *testing.T) {
	onEach(t, func(r *rig) {
		const lease = 400 * time.Millisecond
		w := inTurn("w", acquire(), do("long", func(*steps.Context) error {
			_, err := r.locks.Acquire(context.Background(), locking.Keys("k"), locking.Wait(3*lease))
			r.want(err, locking.ErrTimeout)
			return nil
		}))
		c := container.New()
		container.MustRegister(c, locking.ServiceKey, r.locks)
		r.startWith(workflow.Config{Container: c, Workflows: workflow.Set{w}, Lease: lease / 4, LockLease: lease})
		r.want(r.end(r.begin(w)), nil)
	})
}

func TestATTLBoundsTheLifeOfTheLock(t *testing.T) {
	onEach(t, func(r *rig) {
		const ttl = 300 * time.Millisecond
		start := time.Now()
		r.want(r.run(acquireWith(locksteps.AcquireInput{Keys: locking.Keys("k"), TTL: ttl}), see("look", func() {
			r.outsider("k")
			if took := time.Since(start); took < ttl {
				r.Errorf("it lapsed after %s already", took)
			}
		})), nil)
	})
}

func TestWithoutATimeoutATakenLockIsRefusedAtOnce(t *testing.T) {
	onEach(t, func(r *rig) {
		r.outsider("k")
		ran := false
		err := r.run(acquire(), see("guarded", func() { ran = true }))
		refused, ok := errors.AsType[*locking.NotAcquiredError](err)
		if !ok || refused.Key != "k" || refused.Holder != "outsider" || refused.Provider != "lp_main" {
			r.Errorf("%v, %+v", err, refused)
		}
		if want := `Failed to acquire lock for key "k"`; err == nil || !strings.Contains(err.Error(), want) {
			r.Errorf("%v does not say %s", err, want)
		}
		if ran {
			r.Error("the guarded step ran without the lock")
		}
	})
}

func TestATimeoutBoundsTheWaitForATakenLock(t *testing.T) {
	onEach(t, func(r *rig) {
		r.outsider("k")
		start := time.Now()
		err := r.run(acquireWith(locksteps.AcquireInput{Keys: locking.Keys("k"), Timeout: 100 * time.Millisecond}))
		if _, ok := errors.AsType[*locking.TimeoutError](err); !ok || !strings.Contains(err.Error(), "Timed-out acquiring lock.") {
			r.Error(err)
		}
		if took := time.Since(start); took < 100*time.Millisecond || took > 2*time.Second {
			r.Errorf("it gave up after %s", took)
		}
	})
}

func TestAnExecutionThatWaitsHasTheLockOnceAnotherReleasesIt(t *testing.T) {
	onEach(t, func(r *rig) {
		inside, let := make(chan struct{}), make(chan struct{})
		var j journal
		first := inTurn("first", acquire(), do("work", func(*steps.Context) error {
			close(inside)
			<-let
			j.add("first")
			return nil
		}), release())
		second := inTurn("second", acquireWith(locksteps.AcquireInput{Keys: locking.Keys("k"), Timeout: patience}),
			see("work", func() { j.add("second") }))
		r.start(first, second)
		a := r.begin(first)
		r.await("the first execution has the lock", inside)
		b := r.begin(second)
		close(let)
		r.want(errors.Join(r.end(a), r.end(b)), nil)
		j.want(t, "first", "second")
	})
}

func TestTheExecutionsOfOneWorkflowExcludeEachOther(t *testing.T) {
	onEach(t, func(r *rig) {
		inside := 0 // the race detector watches over this, too
		w := inTurn("w", acquireWith(locksteps.AcquireInput{Keys: locking.Keys("k"), Timeout: patience}), see("work", func() {
			if inside++; inside != 1 {
				r.Errorf("%d are inside", inside)
			}
			runtime.Gosched()
			inside--
		}), release())
		r.start(w)
		var all []*workflow.Handle[string]
		for range 10 {
			all = append(all, r.begin(w))
		}
		for _, h := range all {
			r.want(r.end(h), nil)
		}
	})
}

func TestManyKeysAreTakenAllOrNone(t *testing.T) {
	onEach(t, func(r *rig) {
		r.outsider("b")
		in := locksteps.AcquireInput{Keys: locking.Keys("c", "b", "a")}
		r.want(r.run(
			undoing("first", func() {
				r.wantFree("after the refusal", "a")
				r.wantHeld("after the refusal", "b")
				r.wantFree("after the refusal", "c")
			}),
			acquireWith(in),
		), locking.ErrNotAcquired)
		r.wantHeld("after the end", "b")
	})
}

func TestAnAcquireOfWhatTheExecutionHasJoins(t *testing.T) {
	onEach(t, func(r *rig) {
		var one, two locksteps.Acquired
		in := locksteps.AcquireInput{Keys: locking.Keys("k")}
		r.want(r.run(acquireInto(&one, in), acquireInto(&two, in, steps.Name("again"))), nil)
		if one.Token("k") == 0 || one.Token("k") != two.Token("k") {
			r.Errorf("tokens %d and %d", one.Token("k"), two.Token("k"))
		}
	})
}

func TestTheOutputHasTheTokensForTheStepsThatFollow(t *testing.T) {
	onEach(t, func(r *rig) {
		var out locksteps.Acquired
		r.want(r.run(
			acquireInto(&out, locksteps.AcquireInput{Keys: locking.Keys("b", "a", "b")}),
			do("fenced", func(ctx *steps.Context) error {
				lock, err := r.locks.TryAcquire(ctx, locking.Keys("a", "b"))
				if err != nil {
					return err
				}
				for _, k := range lock.Keys() {
					if got := out.Token(k); got == 0 || got != lock.Token(k) {
						r.Errorf("token of %s is %d, want %d", k, got, lock.Token(k))
					}
				}
				if len(out.Keys) != 2 || out.Token("c") != 0 {
					r.Errorf("%+v", out)
				}
				return nil
			}),
		), nil)
	})
}

func TestTheTokensRiseFromExecutionToExecution(t *testing.T) {
	onEach(t, func(r *rig) {
		var out locksteps.Acquired
		w := inTurn("w", acquireInto(&out, locksteps.AcquireInput{Keys: locking.Keys("k")}))
		r.start(w)
		last := locking.Token(0)
		for range 3 {
			r.want(r.end(r.begin(w)), nil)
			if out.Token("k") <= last {
				r.Errorf("token %d after %d", out.Token("k"), last)
			}
			last = out.Token("k")
		}
	})
}

func TestWithoutKeysNothingIsAcquiredAndNothingIsNeeded(t *testing.T) {
	onEach(t, func(r *rig) {
		out := locksteps.Acquired{Keys: locking.Keys("stale")}
		w := inTurn("w", acquireInto(&out, locksteps.AcquireInput{Provider: "lp_none", Timeout: -1}), fail())
		r.startWith(workflow.Config{Container: container.New(), Workflows: workflow.Set{w}})
		r.want(r.end(r.begin(w)), errBoom)
		if len(out.Keys) != 0 || out.Token("k") != 0 {
			r.Errorf("%+v", out)
		}
	})
}

func TestAKeyMayHoldAnyBytes(t *testing.T) {
	onEach(t, func(r *rig) {
		keys := locking.Keys("\xff\x00", "a\xffb", "{x}:*", "\ufffd", `\ufffd`, "ä\n<&>", strings.Repeat("\x80", 1000))
		in := locksteps.AcquireInput{Keys: keys}
		var out locksteps.Acquired
		freed := false
		r.want(r.run(
			acquireInto(&out, in),
			see("look", func() {
				for _, k := range keys {
					r.wantHeld("after the acquire step", k)
					if out.Token(k) == 0 {
						r.Errorf("no token for %.20q", k)
					}
				}
				r.wantFree("next to the keys", "a\ufffdb")
			}),
			releaseInto(&freed, locksteps.ReleaseInput{Keys: keys}),
			see("look again", func() {
				for _, k := range keys {
					r.wantFree("after the release step", k)
				}
			}),
		), nil)
		if !freed {
			r.Error("the release step says false")
		}
	})
}

func TestARetryTakesOverWhatAnEarlierAttemptTook(t *testing.T) {
	p := &faulty{}
	onFaulty(t, p, func(r *rig) {
		p.losesReplies(1)
		var out locksteps.Acquired
		in := locksteps.AcquireInput{Keys: locking.Keys("k")}
		r.want(r.run(
			acquireInto(&out, in, steps.Retry(steps.RetryPolicy{MaxAttempts: 2})),
			see("look", func() { r.wantHeld("after the retry", "k") }),
		), nil)
		if lost := p.lost(); len(lost) != 1 || out.Token("k") <= lost[0] {
			r.Errorf("token %d, after %d of the attempt that got no reply", out.Token("k"), lost)
		}
		r.wantFree("after the end", "k")
	})
}

func TestARefusedAttemptIsTriedAgainByTheStepsPolicy(t *testing.T) {
	onEach(t, func(r *rig) {
		lock := r.outsider("k")
		tries := 0
		policy := steps.RetryPolicy{MaxAttempts: 1000, Backoff: 5 * time.Millisecond, If: func(err error) bool {
			if tries++; tries == 3 {
				r.want(lock.Release(context.Background()), nil)
			}
			return errors.Is(err, locking.ErrNotAcquired)
		}}
		r.want(r.run(acquire(steps.Retry(policy)), see("look", func() { r.wantHeld("after the retry", "k") })), nil)
	})
}

func TestACancelEndsTheWaitForTheLock(t *testing.T) {
	onEach(t, func(r *rig) {
		r.outsider("k")
		w := inTurn("w", acquireWith(locksteps.AcquireInput{Keys: locking.Keys("k"), Timeout: time.Hour}))
		r.start(w)
		h := r.begin(w)
		lockingtest.Eventually(t, patience, "the acquire step has begun", func() (bool, string) {
			s, err := h.Status(r.Context())
			return err == nil && s.State == "invoking", string(s.State)
		})
		r.want(h.Cancel(r.Context()), nil)
		r.want(r.end(h), workflow.ErrCancelled)
	})
}
