package workflow_test

import (
	"context"
	"errors"
	"sync/atomic"
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

// crossing are two workflows that take "k" and then "l". The first loses "k" to the other
// one while it has "l".
func crossing(j *journal, undo func(*steps.Context) error) (first, other *workflow.Workflow[string, string]) {
	both := func(s text, opts ...workflow.GuardOption) func(b builder, in value) value {
		return func(b builder, in value) value {
			return workflow.Guard(b, workflow.Const(b, "k"), func(b builder) value {
				return workflow.Guard(b, workflow.Const(b, "l"), chain(in, s), opts...)
			}, append(opts, workflow.MaxHold(time.Hour))...)
		}
	}
	s := twice(j, "s", steps.Undo(func(ctx *steps.Context, _ string) error { return undo(ctx) }))
	first = workflow.New("first", both(s, again...))
	other = workflow.New("other", func(b builder, in value) value {
		workflow.Sleep(b, time.Second)
		return both(doing(j, "other"))(b, in)
	})
	return first, other
}

func TestDeadlockWithAGuardThatTakesItsLockAgainIsAnErrorOfTheYoungerExecution(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		first, other := crossing(&j, func(*steps.Context) error { return nil })
		f := startOblivious(t, workflow.Config{Workflows: workflow.Set{first, other}})
		h := begin(t, f.rig, first, "-")
		time.Sleep(time.Millisecond)
		o := begin(t, f.rig, other, "-")
		time.Sleep(2 * time.Second)
		f.forgets(t, "k")
		if out, err := h.Wait(t.Context()); out != "-s" || err != nil {
			t.Error(out, err, j.all())
		}
		var deadlock *locking.DeadlockError
		if _, err := o.Wait(t.Context()); !errors.As(err, &deadlock) {
			t.Error(err)
		}
	})
}

func TestGuardThatMayNotTakeItsLockAgainIsCompensatedUnderAllOfItsLocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		first, other := crossing(&j, func(ctx *steps.Context) error {
			for _, k := range []string{"k", "l"} {
				if _, err := locking.Held(ctx, k); err != nil {
					t.Error(k, err)
				}
			}
			j.addf("undone")
			return nil
		})
		f := startOblivious(t, workflow.Config{Workflows: workflow.Set{first, other}})
		o := begin(t, f.rig, other, "-")
		time.Sleep(time.Millisecond)
		h := begin(t, f.rig, first, "-")
		time.Sleep(2 * time.Second)
		f.forgets(t, "k")
		var deadlock *locking.DeadlockError
		if _, err := h.Wait(t.Context()); !errors.As(err, &deadlock) || failure(t, err).State != store.Reverted {
			t.Error(err)
		}
		if out, err := o.Wait(t.Context()); out != "-other" || err != nil {
			t.Error(out, err)
		}
		j.want(t, "do s(-)", "true", "end of s", "do other(-)", "undone")
	})
}

func TestGuardAroundOneThatWasLeftWithALostLockHasItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		inner := body(&j, "inner", func(ctx *steps.Context) error { <-ctx.Done(); return nil })
		w := flow(func(b builder, in value) value {
			return workflow.Guard(b, workflow.Const(b, "l"), func(b builder) value {
				v := workflow.Guard(b, workflow.Const(b, "k"), chain(in, inner), again...)
				return workflow.Do(b, doing(&j, "outer"), v)
			}, workflow.MaxHold(time.Hour))
		})
		f := startOblivious(t, workflow.Config{Workflows: workflow.Set{w}})
		h := begin(t, f.rig, w, "-")
		synctest.Wait()
		f.forgets(t, "k")
		if out, err := h.Wait(t.Context()); out != "-innerouter" || err != nil {
			t.Error(out, err)
		}
		if !f.free(t) {
			t.Error("the lock is held")
		}
	})
}

func TestAnotherEngineIsToldAtOnceOfALockThatIsLostLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		w := guardedBy(again, body(&j, "s", func(ctx *steps.Context) error {
			if j.count("do s(-)") < 3 {
				return untilEnd(ctx)
			}
			return nil
		}))
		cfg := workflow.Config{Workflows: workflow.Set{w}, Store: &lasting{storemem.New()}}
		f := startOblivious(t, cfg)
		begin(t, f.rig, w, "-", workflow.WithExecutionID("x"))
		synctest.Wait()
		interrupt(t, f.rig)
		h := begin(t, f.again(t, cfg), w, "-", workflow.WithExecutionID("x"))
		synctest.Wait()
		f.forgets(t, "k")
		if out, err := h.Wait(t.Context()); out != "-s" || err != nil {
			t.Error(out, err)
		}
		j.want(t, "do s(-)", "do s(-)", "do s(-)")
	})
}

func TestI11SuspectWhoseGuardHasLostItsLockLetsOthersTakeTheirTurnsAndHasItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		s := body(&j, "s", func(ctx *steps.Context) error {
			if j.count("do s(-)") < 2 {
				return untilEnd(ctx)
			}
			return nil
		})
		w := guardedBy(again, s)
		rigs := newInstances(t, w)
		one, m := rigs.start()
		beginOn(t, one, w, "-", workflow.WithExecutionID("x"))
		synctest.Wait()
		kill(t, one, m)
		time.Sleep(time.Minute) // its lock lapses
		two, _ := rigs.start()
		if out, err := result(t, two, w); out != "-s" || err != nil {
			t.Error(out, err)
		}
		j.want(t, "do s(-)", "do s(-)")
	})
}

// silent is a lock provider that gives no answer to a release when it is told so.
type silent struct {
	*lockmem.Provider

	once atomic.Bool
}

func (s *silent) Release(ctx context.Context, holds []driver.Hold) ([]bool, error) {
	if s.once.Swap(false) {
		return nil, errBoom
	}
	return s.Provider.Release(ctx, holds)
}

func TestGuardThatIsCompensatedAsksForItsLockWhenTheRestOfTheLostOneIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		hangs := atomic.Bool{}
		hangs.Store(true)
		a := doing(&j, "a", steps.Undo(func(ctx *steps.Context, _ string) error {
			if hangs.Swap(false) {
				return untilEnd(ctx)
			}
			j.addf("undo a")
			return nil
		}))
		w := guardedBy(nil, a, failing(&j, "b", errBoom))
		cfg := workflow.Config{Workflows: workflow.Set{w}, Store: &lasting{storemem.New()}}
		p := &silent{Provider: lockmem.New(lockmem.Config{})}
		r := startWith(t, cfg, locking.Config{Providers: []locking.Registration{{ID: "m", Provider: p}}})
		begin(t, r, w, "-", workflow.WithExecutionID("x"))
		synctest.Wait()
		interrupt(t, r)
		s, err := r.locks.Inspect(t.Context(), "k")
		if err != nil {
			t.Fatal(err)
		}
		if ok, err := p.ForceRelease(t.Context(), driver.ForceRequest{Key: "k", Owner: s.Owner, Token: s.Token}); !ok || err != nil {
			t.Fatal(ok, err)
		}
		p.once.Store(true)
		_, err = begin(t, r.again(t, cfg), w, "-", workflow.WithExecutionID("x")).Wait(t.Context())
		if x := failure(t, err); x.State != store.Reverted || p.once.Load() {
			t.Error(err)
		}
		j.want(t, "do a(-)", "do b(-a)", "undo b() failed", "undo a")
	})
}
