package workflow_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store/storemem"
	"github.com/lockstep-dev/lockstep/workflow"
)

// guardedBy is a workflow that does steps under a lock on "k".
func guardedBy(opts []workflow.GuardOption, list ...text) *workflow.Workflow[string, string] {
	return flow(func(b builder, in value) value {
		return workflow.Guard(b, workflow.Const(b, "k"), chain(in, list...), opts...)
	})
}

// somebody holds "k" until the test lets it go.
func (r *rig) somebody(t *testing.T) (letGo func()) {
	t.Helper()
	lock, err := r.locks.Acquire(t.Context(), locking.Keys("k"), locking.WithOwner("somebody"))
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := lock.Release(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

func TestGuardHoldsItsLockOverItsBodyAndGivesWhatThatGave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r *rig
		held := func(want bool) func(*steps.Context) error {
			return func(*steps.Context) error {
				if r.free(t) == want {
					t.Errorf("held is not %v", want)
				}
				return nil
			}
		}
		j := &journal{}
		w := flow(func(b builder, in value) value {
			v := workflow.Do(b, body(j, "before", held(false)), in)
			v = workflow.Guard(b, workflow.Const(b, []string{"k", "l"}), chain(v, body(j, "a", held(true)), body(j, "b", held(true))))
			return workflow.Do(b, body(j, "after", held(false)), v)
		})
		r = start(t, workflow.Config{Workflows: workflow.Set{w}})
		if out, err := workflow.Run(t.Context(), r.Engine, w, "-"); out != "-beforeabafter" || err != nil {
			t.Error(out, err)
		}
	})
}

func TestStepInAGuardHasTheLockWithItsTokenAndContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tokens []locking.Token
		s := body(&journal{}, "s", func(ctx *steps.Context) error {
			lock, err := locking.Held(ctx, "k")
			if err != nil {
				return err
			}
			tokens = append(tokens, lock.Token("k"))
			lock.Close() // leaves the lock with the guard
			if lock, err = locking.Held(ctx, "k"); err != nil || lock.Context().Err() != nil {
				t.Error("the lock is gone:", err)
			}
			if _, err := locking.Held(ctx, "other"); !errors.Is(err, locking.ErrNotHeld) {
				t.Error(err)
			}
			return nil
		})
		w := guardedBy(nil, s, steps.With(s, steps.Name("t")))
		r := start(t, workflow.Config{Workflows: workflow.Set{w}})
		for range 2 {
			if _, err := workflow.Run(t.Context(), r.Engine, w, "-"); err != nil {
				t.Error(err)
			}
		}
		if len(tokens) != 4 || tokens[0] == 0 || tokens[1] != tokens[0] || tokens[2] <= tokens[1] || tokens[3] != tokens[2] {
			t.Error(tokens)
		}
	})
}

func TestGuardsOfExecutionsExcludeEachOtherFirstComeFirstServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		w := guardedBy(nil, body(&j, "s", func(*steps.Context) error { time.Sleep(time.Second); j.addf("end"); return nil }))
		r := start(t, workflow.Config{Workflows: workflow.Set{w}})
		var handles []*workflow.Handle[string]
		var want []string
		for i := range 20 {
			handles = append(handles, begin(t, r, w, fmt.Sprint(i)))
			want = append(want, fmt.Sprintf("do s(%d)", i), "end")
			synctest.Wait()
		}
		for _, h := range handles {
			if _, err := h.Wait(t.Context()); err != nil {
				t.Error(err)
			}
		}
		j.want(t, want...)
	})
}

func TestGuardTakesAllOfItsKeysOrNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := flow(func(b builder, in value) value {
			return workflow.Guard(b, workflow.Const(b, []string{"z", "k", "a"}), giving(in))
		})
		r := start(t, workflow.Config{Workflows: workflow.Set{w}})
		letGo := r.somebody(t)
		h := begin(t, r, w, "-")
		synctest.Wait()
		for key, want := range map[string]bool{"a": false, "k": true, "z": false} {
			if state, err := r.locks.Inspect(t.Context(), key); err != nil || (state.Owner != "") != want || len(state.Waiters) != 1 {
				t.Errorf("%s while k is held by somebody: %+v, %v", key, state, err)
			}
		}
		letGo()
		if _, err := h.Wait(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestWaitingExecutionsTakeNoGoroutineOfTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 1000
		w := guardedBy(nil, doing(&journal{}, "s"))
		r := start(t, workflow.Config{Workflows: workflow.Set{w}})
		letGo := r.somebody(t)
		handles := []*workflow.Handle[string]{begin(t, r, w, "-")}
		synctest.Wait()
		before := runtime.NumGoroutine()
		for range n {
			handles = append(handles, begin(t, r, w, "-"))
		}
		synctest.Wait()
		if after := runtime.NumGoroutine(); after > before+n/3 {
			t.Errorf("%d goroutines with one that waits, %d with %d", before, after, n)
		}
		letGo()
		for _, h := range handles {
			if _, err := h.Wait(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestI5FailureInAGuardIsCompensatedBeforeAnybodyElseGetsItsKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		slow := func(name string) steps.Option {
			return steps.Undo(func(*steps.Context, string) error { time.Sleep(time.Minute); j.addf("undo %s", name); return nil })
		}
		bad := flow(func(b builder, in value) value {
			v := workflow.Guard(b, workflow.Const(b, "k"), chain(in, doing(&j, "a", slow("a")), body(&j, "b", func(*steps.Context) error {
				time.Sleep(time.Minute)
				return errBoom
			}, slow("b"))))
			return v
		})
		next := workflow.New("next", func(b builder, in value) value {
			return workflow.Guard(b, in, chain(in, doing(&j, "next")))
		})
		r := start(t, workflow.Config{Workflows: workflow.Set{bad, next}})
		first := begin(t, r, bad, "-")
		synctest.Wait()
		second := begin(t, r, next, "k")
		if _, err := first.Wait(t.Context()); !errors.Is(err, errBoom) {
			t.Error(err)
		}
		if _, err := second.Wait(t.Context()); err != nil {
			t.Error(err)
		}
		j.want(t, "do a(-)", "do b(-a)", "undo b", "undo a", "do next(k)")
	})
}

func TestI5GuardThatWasLeftIsCompensatedUnderTheSameLocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r *rig
		var j journal
		s := doing(&j, "s", steps.Undo(func(ctx *steps.Context, _ string) error {
			lock, err := locking.Held(ctx, "k")
			if err != nil || lock.Token("k") == 0 || r.free(t) {
				t.Error("it is compensated without the lock:", err)
			}
			j.addf("undo s")
			return nil
		}))
		w := flow(func(b builder, in value) value {
			v := workflow.Guard(b, workflow.Const(b, "k"), chain(in, s))
			return workflow.Do(b, body(&j, "last", func(*steps.Context) error {
				if !r.free(t) {
					t.Error("the lock is held beyond its guard")
				}
				return errBoom
			}), v)
		})
		r = start(t, workflow.Config{Workflows: workflow.Set{w}})
		if _, err := workflow.Run(t.Context(), r.Engine, w, "-"); !errors.Is(err, errBoom) {
			t.Error(err)
		}
		j.want(t, "do s(-)", "do last(-s)", "undo last() failed", "undo s")
		if !r.free(t) {
			t.Error("it is held beyond the execution")
		}
	})
}

func TestCompensationOfAGuardComesBeforeThoseWhoWaitToGoForward(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		w := flow(func(b builder, in value) value {
			v := workflow.Guard(b, workflow.Const(b, "k"), func(b builder) value {
				return workflow.Do(b, undoing(&j, "s", func() {}), in)
			})
			workflow.Sleep(b, time.Second)
			return workflow.Do(b, failing(&j, "last", errBoom), v)
		})
		other := workflow.New("other", func(b builder, in value) value {
			return workflow.Guard(b, workflow.Const(b, "k"), chain(in, body(&j, "other", func(*steps.Context) error { time.Sleep(time.Minute); return nil })))
		})
		r := start(t, workflow.Config{Workflows: workflow.Set{w, other}})
		h := begin(t, r, w, "-")
		synctest.Wait()
		var others []*workflow.Handle[string]
		for i := range 3 {
			others = append(others, begin(t, r, other, fmt.Sprint(i)))
			synctest.Wait()
		}
		if _, err := h.Wait(t.Context()); !errors.Is(err, errBoom) {
			t.Error(err)
		}
		for _, h := range others {
			if _, err := h.Wait(t.Context()); err != nil {
				t.Error(err)
			}
		}
		j.want(t, "do s(-)", "do other(0)", "do last(-s)", "undo last() failed", "undo s", "do other(1)", "do other(2)")
	})
}

func TestMaxWaitBoundsTheWaitForAGuardsLocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		w := flow(func(b builder, in value) value {
			v := workflow.Do(b, doing(&j, "a"), in)
			return workflow.Guard(b, workflow.Const(b, "k"), chain(v, doing(&j, "never")), workflow.MaxWait(time.Minute))
		})
		r := start(t, workflow.Config{Workflows: workflow.Set{w}})
		letGo := r.somebody(t)
		zero := time.Now()
		_, err := workflow.Run(t.Context(), r.Engine, w, "-")
		j.want(t, "do a(-)", "undo a(-a) succeeded")
		if s, ok := errors.AsType[*workflow.StepError](err); !ok || s.Step != "Guard#1" || !errors.Is(err, locking.ErrTimeout) || time.Since(zero) != time.Minute {
			t.Error(err, time.Since(zero))
		}
		letGo()
		if !r.free(t) {
			t.Error("it was handed to who waits no longer")
		}
	})
}

func TestGuardWithoutKeysCompensatesWhatCameBefore(t *testing.T) {
	var j journal
	w := flow(func(b builder, in value) value {
		v := workflow.Do(b, doing(&j, "a"), in)
		return workflow.Guard(b, workflow.Const(b, []string{}), chain(v, doing(&j, "never")))
	})
	_, _, err := runs(t, w)
	j.want(t, "do a(-)", "undo a(-a) succeeded")
	if s, ok := errors.AsType[*workflow.StepError](err); !ok || s.Step != "Guard#1" || !errors.Is(err, workflow.ErrNoKeys) {
		t.Error(err)
	}
}

func TestCancelTakesAWaitingGuardOutOfTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		w := guardedBy(nil, doing(&j, "s"))
		r := start(t, workflow.Config{Workflows: workflow.Set{w}})
		letGo := r.somebody(t)
		first := begin(t, r, w, "1")
		synctest.Wait()
		second := begin(t, r, w, "2")
		synctest.Wait()
		if err := first.Cancel(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := first.Wait(t.Context()); !errors.Is(err, workflow.ErrCancelled) {
			t.Error(err)
		}
		letGo()
		if _, err := second.Wait(t.Context()); err != nil {
			t.Error(err)
		}
		j.want(t, "do s(2)")
	})
}

func TestNestedGuardsLockIsKeptUntilTheOutermostIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r *rig
		free := func(want bool) func(*steps.Context) error {
			return func(*steps.Context) error {
				if got := r.free(t); got != want {
					t.Errorf("free is %v", got)
				}
				return nil
			}
		}
		j := &journal{}
		w := flow(func(b builder, in value) value {
			v := workflow.Guard(b, workflow.Const(b, "outer"), func(b builder) value {
				v := workflow.Do(b, body(j, "a", free(true)), in)
				v = workflow.Guard(b, workflow.Const(b, "k"), chain(v, body(j, "b", free(false))))
				return workflow.Do(b, body(j, "c", free(false)), v)
			}, workflow.MaxHold(time.Hour))
			return workflow.Do(b, body(j, "d", free(true)), v)
		})
		r = start(t, workflow.Config{Workflows: workflow.Set{w}})
		if out, err := workflow.Run(t.Context(), r.Engine, w, "-"); out != "-abcd" || err != nil {
			t.Error(out, err)
		}
	})
}

func TestNestedGuardOnAKeyOfTheOuterOneSharesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r *rig
		held := func(*steps.Context) error {
			if r.free(t) {
				t.Error("it is free within the outer guard")
			}
			return nil
		}
		j := &journal{}
		w := flow(func(b builder, in value) value {
			return workflow.Guard(b, workflow.Const(b, "k"), func(b builder) value {
				v := workflow.Guard(b, workflow.Const(b, []string{"k", "more"}), chain(in, body(j, "a", held)))
				return workflow.Do(b, body(j, "b", held), v)
			}, workflow.MaxHold(time.Hour))
		})
		r = start(t, workflow.Config{Workflows: workflow.Set{w}})
		zero := time.Now()
		if out, err := workflow.Run(t.Context(), r.Engine, w, "-"); out != "-ab" || err != nil || time.Since(zero) != 0 || !r.free(t) {
			t.Error(out, err, time.Since(zero))
		}
	})
}

func TestGuardsOfBranchesExcludeEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var there crowd
		s := func(name string) text {
			return body(&journal{}, name, func(*steps.Context) error { there.stay(time.Second); return nil })
		}
		w := flow(func(b builder, in value) value {
			guarded := func(name string) func(b builder) value {
				return func(b builder) value { return workflow.Guard(b, workflow.Const(b, "k"), chain(in, s(name))) }
			}
			workflow.Parallel2(b, guarded("a"), guarded("b"))
			all := workflow.ForEach(b, words(b, in), func(b builder, i value) value { return workflow.Guard(b, i, chain(i, s("c"))) })
			return joined(b, all)
		})
		zero := time.Now()
		if out, err := runsOn(t, w, "k k l"); out != `["kc" "kc" "lc"]` || err != nil || time.Since(zero) != 4*time.Second || there.most != 2 {
			t.Error(out, err, time.Since(zero), there.most)
		}
	})
}

func TestBranchesInAGuardShareItsLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		meet := meeting(2)
		s := func(name string) text {
			return body(&journal{}, name, func(ctx *steps.Context) error {
				if _, err := take(ctx, "k"); err != nil {
					return err
				}
				meet()
				return nil
			})
		}
		_, _, err := runs(t, flow(func(b builder, in value) value {
			return workflow.Guard(b, workflow.Const(b, "k"), func(b builder) value {
				v, _ := workflow.Parallel2(b, chain(in, s("a")), chain(in, s("b")))
				return v
			})
		}))
		if err != nil {
			t.Error(err)
		}
	})
}

func TestGuardInAnEngineWithoutALockServiceSaysSo(t *testing.T) {
	w := guardedBy(nil, doing(&journal{}, "s"))
	e, err := workflow.NewEngine(workflow.Config{Store: storemem.New(), Workflows: workflow.Set{w}, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Stop(context.Background()) }()
	if _, err := workflow.Run(t.Context(), e, w, "-"); err == nil || !strings.Contains(err.Error(), "no lock service") {
		t.Error(err)
	}
}

func TestGuardOfAnUnknownProviderSaysSo(t *testing.T) {
	_, _, err := runs(t, guardedBy([]workflow.GuardOption{workflow.LockProvider("lp_none")}, doing(&journal{}, "s")))
	if s, ok := errors.AsType[*workflow.StepError](err); !ok || s.Step != "Guard#1" || !strings.Contains(err.Error(), "lp_none") {
		t.Error(err)
	}
}
