package workflow_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/container"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/store/storemem"
	"github.com/lockstep-dev/lockstep/workflow"
)

// lasting is a store that counts as one which outlives its process.
type lasting struct{ *storemem.Store }

func (l *lasting) Describe() store.Info {
	i := l.Store.Describe()
	i.Durable = true
	return i
}

// again starts another engine with the locks of the first.
func (r *rig) again(t *testing.T, cfg workflow.Config) *rig {
	t.Helper()
	cfg.Container, cfg.Logger = container.New(), quiet
	container.MustRegister(cfg.Container, locking.ServiceKey, r.locks)
	e, err := workflow.NewEngine(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Stop(context.Background()); err != nil {
			t.Error("stop:", err)
		}
	})
	return &rig{e, r.locks, r.store}
}

func TestGuardIsTakenBackByAnEngineThatCameAfterAndNobodyGetsItMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		w := guardedBy(nil, body(&j, "s", func(ctx *steps.Context) error {
			if _, err := locking.Held(ctx, "k"); err != nil {
				return err
			}
			if j.count("do s(-)") == 1 {
				return untilEnd(ctx)
			}
			return nil
		}))
		cfg := workflow.Config{Workflows: workflow.Set{w}, Store: &lasting{storemem.New()}}
		r := start(t, cfg)
		begin(t, r, w, "-", workflow.WithExecutionID("x"))
		synctest.Wait()
		interrupt(t, r)
		if r.free(t) {
			t.Error("the lock went to somebody else")
		}
		r = r.again(t, cfg)
		out, err := begin(t, r, w, "-", workflow.WithExecutionID("x")).Wait(t.Context())
		if out != "-s" || err != nil || !r.free(t) {
			t.Error(out, err)
		}
		j.want(t, "do s(-)", "do s(-)")
	})
}

func TestGuardThatIsForcedOpenFailsItsExecution(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		var cause error
		w := guardedBy(nil, doing(&j, "a"), body(&j, "b", func(ctx *steps.Context) error {
			lock, err := locking.Held(ctx, "k")
			if err != nil {
				return err
			}
			<-lock.Context().Done()
			cause = context.Cause(lock.Context())
			return nil // it has not noticed
		}), doing(&j, "never"))
		r := start(t, workflow.Config{Workflows: workflow.Set{w}})
		h := begin(t, r, w, "-")
		synctest.Wait()
		list, err := r.locks.Inspect(t.Context(), "k")
		if err != nil {
			t.Fatal(err)
		}
		if ok, err := r.locks.ForceRelease(t.Context(), "k", list.Owner, list.Token, "test"); !ok || err != nil {
			t.Fatal(ok, err)
		}
		_, err = h.Wait(t.Context())
		if !errors.Is(cause, locking.ErrLockRevoked) || !errors.Is(err, workflow.ErrGuardLost) || failure(t, err).State != store.Reverted {
			t.Error(cause, err)
		}
		j.want(t, "do a(-)", "do b(-a)", "undo b(-ab) succeeded", "undo a(-a) succeeded")
	})
}

func TestMaxHoldEndsAGuardsLocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		w := guardedBy([]workflow.GuardOption{workflow.MaxHold(time.Minute)}, body(&j, "s", func(ctx *steps.Context) error {
			<-ctx.Done()
			if cause := context.Cause(ctx); !errors.Is(cause, workflow.ErrGuardLost) {
				t.Error(cause)
			}
			return nil
		}))
		r := start(t, workflow.Config{Workflows: workflow.Set{w}})
		h := begin(t, r, w, "-")
		time.Sleep(59 * time.Second)
		if r.free(t) {
			t.Error("it has ended early")
		}
		time.Sleep(time.Minute)
		if !r.free(t) {
			t.Error("it is held longer than MaxHold")
		}
		if _, err := h.Wait(t.Context()); !errors.Is(err, workflow.ErrGuardLost) {
			t.Error(err)
		}
	})
}

func TestDeadlockOfGuardsIsAnErrorOfOneOfThemAndTheOtherGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		w := flow(func(b builder, in value) value {
			keys := workflow.Map(b, in, strings.Fields)
			at := func(i int) value {
				return workflow.Map(b, keys, func(l []string) string { return l[i] })
			}
			first, second := at(0), at(1)
			return workflow.Guard(b, first, func(b builder) value {
				workflow.Sleep(b, time.Second)
				return workflow.Guard(b, second, chain(in, doing(&j, "s")))
			}, workflow.MaxHold(time.Hour))
		})
		r := start(t, workflow.Config{Workflows: workflow.Set{w}})
		one, two := begin(t, r, w, "k l"), begin(t, r, w, "l k")
		_, err1 := one.Wait(t.Context())
		_, err2 := two.Wait(t.Context())
		var deadlock *locking.DeadlockError
		if (err1 == nil) == (err2 == nil) || !errors.As(errors.Join(err1, err2), &deadlock) || len(j.all()) != 1 {
			t.Error(err1, err2, j.all())
		}
		if !r.free(t) {
			t.Error("the victim has kept its lock")
		}
	})
}

func TestI4GuardedBodyThatDoesNotHeedItsTimeoutIsFencedFromTheNextAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		let := make(chan struct{})
		var stale atomic.Pointer[locking.Lock]
		var before, after atomic.Uint64
		s := steps.New("s", func(ctx *steps.Context, in string) (string, error) {
			lock, err := locking.Held(ctx, "k")
			if err != nil {
				return "", err
			}
			if ctx.Attempt() == 1 {
				before.Store(uint64(lock.Token("k")))
				stale.Store(lock)
				<-let
				return "", errBoom
			}
			after.Store(uint64(lock.Token("k")))
			if stale.Load().Context().Err() == nil {
				t.Error("the body that was left behind believes to have the lock")
			}
			return in, nil
		}, steps.Timeout(time.Second), steps.Retry(steps.RetryPolicy{MaxAttempts: 2}))
		_, _, err := runs(t, guardedBy(nil, s))
		close(let)
		if err != nil || before.Load() == 0 || after.Load() <= before.Load() {
			t.Error(err, before.Load(), after.Load())
		}
	})
}
