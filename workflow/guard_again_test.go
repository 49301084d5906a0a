package workflow_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockmem"
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/store/storemem"
	"github.com/lockstep-dev/lockstep/workflow"
)

var again = []workflow.GuardOption{workflow.OnLost(workflow.Reacquire)}

// oblivious is an engine whose lock server can forget a lock.
type oblivious struct {
	*rig

	server *lockmem.Provider
}

func startOblivious(t *testing.T, cfg workflow.Config) *oblivious {
	t.Helper()
	p := lockmem.New(lockmem.Config{})
	return &oblivious{startWith(t, cfg, locking.Config{Providers: []locking.Registration{{ID: "m", Provider: p}}}), p}
}

// forgets has the server forget who has a key. The holder learns it when it renews.
func (f *oblivious) forgets(t *testing.T, key string) {
	t.Helper()
	s, err := f.locks.Inspect(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	freed, err := f.server.Release(t.Context(), []driver.Hold{{Key: key, Owner: s.Owner, Token: s.Token}})
	if err != nil || !freed[0] {
		t.Fatal(freed, err)
	}
}

// twice is a step whose first attempt goes on until its context ends.
func twice(j *journal, name string, opts ...steps.Option) text {
	return body(j, name, func(ctx *steps.Context) error {
		lock, err := locking.Held(ctx, "k")
		if err != nil {
			return err
		}
		if j.count("end of "+name) == 0 {
			defer j.addf("end of %s", name)
			before := lock.Token("k")
			<-ctx.Done()
			j.addf("%v", errors.Is(context.Cause(ctx), workflow.ErrGuardLost) && before > 0)
			return ctx.Err()
		}
		return lock.Context().Err()
	}, opts...)
}

func TestGuardTakesALostLockAgainAfterItHasAwaitedItsAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		w := guardedBy(again, doing(&j, "a"), twice(&j, "b"), doing(&j, "c"))
		f := startOblivious(t, workflow.Config{Workflows: workflow.Set{w}})
		h := begin(t, f.rig, w, "-")
		synctest.Wait()
		f.forgets(t, "k")
		letGo := f.somebody(t)
		time.Sleep(time.Minute)
		if s, err := f.locks.Inspect(t.Context(), "k"); err != nil || len(s.Waiters) != 1 {
			t.Errorf("it does not wait for its lock: %+v, %v", s, err)
		}
		letGo()
		if out, err := h.Wait(t.Context()); out != "-abc" || err != nil || !f.free(t) {
			t.Error(out, err)
		}
		j.want(t, "do a(-)", "do b(-a)", "true", "end of b", "do b(-a)", "do c(-ab)")
	})
}

func TestGuardThatIsTakenAgainHasAHigherToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tokens []locking.Token
		s := body(&journal{}, "s", func(ctx *steps.Context) error {
			lock, err := locking.Held(ctx, "k")
			if err != nil {
				return err
			}
			if tokens = append(tokens, lock.Token("k")); len(tokens) == 1 {
				<-lock.Context().Done()
				return steps.Permanent(errBoom) // whatever it came to
			}
			return nil
		})
		w := guardedBy(again, s)
		f := startOblivious(t, workflow.Config{Workflows: workflow.Set{w}})
		h := begin(t, f.rig, w, "-")
		synctest.Wait()
		f.forgets(t, "k")
		if _, err := h.Wait(t.Context()); err != nil || len(tokens) != 2 || tokens[1] <= tokens[0] {
			t.Error(tokens, err)
		}
	})
}

func TestGuardWithLostLockEndsAllAttemptsInItAndMakesThemAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		w := flow(func(b builder, in value) value {
			v := workflow.Guard(b, workflow.Const(b, []string{"k", "l"}), func(b builder) value {
				x, y := workflow.Parallel2(b, chain(in, twice(&j, "x")), chain(in, twice(&j, "y")))
				return workflow.Transform2(b, x, y, func(x, y string) (string, error) { return x + y, nil })
			}, again...)
			return v
		})
		f := startOblivious(t, workflow.Config{Workflows: workflow.Set{w}})
		h := begin(t, f.rig, w, "-")
		synctest.Wait()
		f.forgets(t, "l")
		if out, err := h.Wait(t.Context()); out != "-x-y" || err != nil || j.count("do x(-)") != 2 || j.count("do y(-)") != 2 {
			t.Error(out, err, j.all())
		}
	})
}

func TestGuardKeepsWhatItHasLeftUntilItsAttemptsHaveEndedAndThenGivesItBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		let := make(chan struct{})
		calls := 0
		w := flow(func(b builder, in value) value {
			return workflow.Guard(b, workflow.Const(b, []string{"k", "l"}), chain(in, body(&journal{}, "s", func(ctx *steps.Context) error {
				if calls++; calls == 1 {
					<-ctx.Done()
					<-let
				}
				return ctx.Err()
			})), again...)
		})
		f := startOblivious(t, workflow.Config{Workflows: workflow.Set{w}, CancelGrace: time.Hour})
		h := begin(t, f.rig, w, "-")
		synctest.Wait()
		f.forgets(t, "l")
		letGo, err := f.locks.Acquire(t.Context(), locking.Keys("l"), locking.WithOwner("somebody"))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if f.free(t) {
			t.Error("a lock is given back under which a body still runs")
		}
		close(let)
		synctest.Wait()
		if s, err := f.locks.Inspect(t.Context(), "k"); err != nil || s.Held {
			t.Errorf("it waits for one lock while it has another: %+v, %v", s, err)
		}
		if err := letGo.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Wait(t.Context()); err != nil || calls != 2 {
			t.Error(calls, err)
		}
	})
}

func TestI4GuardWithLostLockLeavesADeafBodyBehindAndItsTokenIsTheLowerOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		let := make(chan struct{})
		var mu sync.Mutex // the attempts know nothing of each other
		var tokens []locking.Token
		s := body(&journal{}, "s", func(ctx *steps.Context) error {
			lock, err := locking.Held(ctx, "k")
			if err != nil {
				return err
			}
			mu.Lock()
			tokens = append(tokens, lock.Token("k"))
			first := len(tokens) == 1
			mu.Unlock()
			if first {
				<-let
				if lock.Context().Err() == nil {
					t.Error("the body that was left behind believes to have the lock")
				}
			}
			return nil
		})
		w := guardedBy(again, s)
		f := startOblivious(t, workflow.Config{Workflows: workflow.Set{w}})
		h := begin(t, f.rig, w, "-")
		synctest.Wait()
		f.forgets(t, "k")
		_, err := h.Wait(t.Context())
		close(let)
		if err != nil || len(tokens) != 2 || tokens[1] <= tokens[0] {
			t.Error(tokens, err)
		}
	})
}

func TestGuardTakesALostLockAgainWhileItSleepsAndNothingBeginsBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		w := flow(func(b builder, in value) value {
			return workflow.Guard(b, workflow.Const(b, "k"), func(b builder) value {
				workflow.Sleep(b, time.Minute)
				return workflow.Do(b, twice(&j, "s"), in)
			}, append(again, workflow.MaxHold(time.Hour))...)
		})
		f := startOblivious(t, workflow.Config{Workflows: workflow.Set{w}})
		j.addf("end of s") // it need not wait
		h := begin(t, f.rig, w, "-")
		synctest.Wait()
		f.forgets(t, "k")
		letGo := f.somebody(t)
		time.Sleep(2 * time.Minute)
		j.want(t, "end of s")
		letGo()
		if _, err := h.Wait(t.Context()); err != nil {
			t.Error(err)
		}
		j.want(t, "end of s", "do s(-)")
	})
}

func TestGuardDoesNotTakeAgainWhatWasTakenByForce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		w := guardedBy(again, twice(&j, "s"))
		f := startOblivious(t, workflow.Config{Workflows: workflow.Set{w}})
		h := begin(t, f.rig, w, "-")
		synctest.Wait()
		s, err := f.locks.Inspect(t.Context(), "k")
		if err != nil {
			t.Fatal(err)
		}
		if ok, err := f.locks.ForceRelease(t.Context(), "k", s.Owner, s.Token, "test"); !ok || err != nil {
			t.Fatal(ok, err)
		}
		_, err = h.Wait(t.Context())
		if !errors.Is(err, workflow.ErrGuardLost) || failure(t, err).State != store.Reverted {
			t.Error(err)
		}
		j.want(t, "do s(-)", "true", "end of s", "undo s() failed")
	})
}

func TestGuardDoesNotTakeAgainWhatItHeldAsLongAsMaxHoldAllows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		w := guardedBy(append(again, workflow.MaxHold(time.Minute)), twice(&j, "s"))
		if _, _, err := runs(t, w); !errors.Is(err, workflow.ErrGuardLost) {
			t.Error(err)
		}
		j.want(t, "do s(-)", "true", "end of s", "undo s() failed")
	})
}

func TestGuardThatDoesNotGetItsLockAgainWithinMaxWaitFailsItsExecution(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		w := guardedBy(append(again, workflow.MaxWait(time.Minute)), doing(&j, "a"), twice(&j, "s"))
		f := startOblivious(t, workflow.Config{Workflows: workflow.Set{w}})
		h := begin(t, f.rig, w, "-")
		synctest.Wait()
		f.forgets(t, "k")
		letGo := f.somebody(t)
		time.Sleep(2 * time.Minute)
		letGo()
		_, err := h.Wait(t.Context())
		if !errors.Is(err, locking.ErrTimeout) || failure(t, err).State != store.Reverted {
			t.Error(err)
		}
		j.want(t, "do a(-)", "do s(-a)", "true", "end of s", "undo s() failed", "undo a(-a) succeeded")
		if !f.free(t) {
			t.Error("the lock is held")
		}
	})
}

func TestCancelEndsTheWaitOfAGuardForALostLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		w := guardedBy(again, doing(&j, "a"), twice(&j, "s"))
		f := startOblivious(t, workflow.Config{Workflows: workflow.Set{w}})
		h := begin(t, f.rig, w, "-")
		synctest.Wait()
		f.forgets(t, "k")
		letGo := f.somebody(t)
		time.Sleep(time.Minute)
		if err := h.Cancel(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		j.want(t, "do a(-)", "do s(-a)", "true", "end of s") // it is undone under its lock
		letGo()
		if _, err := h.Wait(t.Context()); !errors.Is(err, workflow.ErrCancelled) {
			t.Error(err)
		}
		j.want(t, "do a(-)", "do s(-a)", "true", "end of s", "undo s() failed", "undo a(-a) succeeded")
	})
}

// goesOn interrupts an execution at a moment, has something happen meanwhile, and has
// another engine go on with it to its good end.
func goesOn(t *testing.T, moment, meanwhile func(f *oblivious)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var j journal
		w := guardedBy(again, doing(&j, "a"), twice(&j, "b"), doing(&j, "c"))
		cfg := workflow.Config{Workflows: workflow.Set{w}, Store: &lasting{storemem.New()}}
		f := startOblivious(t, cfg)
		begin(t, f.rig, w, "-", workflow.WithExecutionID("x"))
		synctest.Wait()
		moment(f)
		interrupt(t, f.rig)
		meanwhile(f)
		r := f.again(t, cfg)
		out, err := begin(t, r, w, "-", workflow.WithExecutionID("x")).Wait(t.Context())
		if out != "-abc" || err != nil || !r.free(t) || j.count("do a(-)") != 1 || j.count("do b(-a)") != 2 {
			t.Error(out, err, j.all())
		}
	})
}

func TestAnotherEngineTakesALockAgainThatWasLostWhileNobodyHadTheExecution(t *testing.T) {
	goesOn(t, func(*oblivious) {}, func(f *oblivious) { f.forgets(t, "k") })
}

func TestAnotherEngineGoesOnWithAGuardThatWaitsForALostLock(t *testing.T) {
	var letGo func()
	goesOn(t, func(f *oblivious) {
		f.forgets(t, "k")
		letGo = f.somebody(t)
		time.Sleep(time.Minute)
	}, func(*oblivious) { letGo() })
}

func TestAnotherEngineGoesOnWithAGuardThatAwaitedItsAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		let := make(chan struct{})
		w := guardedBy(again, body(&j, "s", func(ctx *steps.Context) error {
			if j.count("do s(-)") == 1 {
				<-let
			}
			return nil
		}))
		cfg := workflow.Config{Workflows: workflow.Set{w}, Store: &lasting{storemem.New()}, CancelGrace: time.Minute}
		f := startOblivious(t, cfg)
		begin(t, f.rig, w, "-", workflow.WithExecutionID("x"))
		synctest.Wait()
		f.forgets(t, "k")
		time.Sleep(15 * time.Second) // it has learned of that, and waits for the body
		if s, err := f.locks.Inspect(t.Context(), "k"); err != nil || s.Held || len(s.Waiters) > 0 {
			t.Fatalf("%+v, %v", s, err)
		}
		interrupt(t, f.rig)
		r := f.again(t, cfg)
		out, err := begin(t, r, w, "-", workflow.WithExecutionID("x")).Wait(t.Context())
		close(let)
		if out != "-s" || err != nil || !r.free(t) {
			t.Error(out, err)
		}
		j.want(t, "do s(-)", "do s(-)")
	})
}

func TestAnotherEngineDoesNotTakeAgainWhatWasTakenByForceWhileNobodyHadTheExecution(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		w := guardedBy(again, twice(&j, "s"))
		cfg := workflow.Config{Workflows: workflow.Set{w}, Store: &lasting{storemem.New()}}
		f := startOblivious(t, cfg)
		begin(t, f.rig, w, "-", workflow.WithExecutionID("x"))
		synctest.Wait()
		interrupt(t, f.rig)
		s, err := f.locks.Inspect(t.Context(), "k")
		if err != nil {
			t.Fatal(err)
		}
		if ok, err := f.server.ForceRelease(t.Context(), driver.ForceRequest{Key: "k", Owner: s.Owner, Token: s.Token}); !ok || err != nil {
			t.Fatal(ok, err)
		}
		r := f.again(t, cfg)
		_, err = begin(t, r, w, "-", workflow.WithExecutionID("x")).Wait(t.Context())
		if !errors.Is(err, workflow.ErrGuardLost) {
			t.Error(err, j.all())
		}
	})
}
