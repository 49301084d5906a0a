package workflow_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/workflow"
)

// untilEnd is a body that runs until its context ends.
func untilEnd(ctx *steps.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestCancelEndsTheAttemptInFlightAndCompensatesWhatWasDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		var cause error
		w := inTurn(doing(&j, "a"), doing(&j, "b"), body(&j, "c", func(ctx *steps.Context) error {
			err := untilEnd(ctx)
			cause = context.Cause(ctx)
			return err
		}), doing(&j, "d"))
		r := start(t, workflow.Config{Workflows: workflow.Set{w}})
		h := begin(t, r, w, "-")
		synctest.Wait()
		if err := h.Cancel(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, err := h.Wait(t.Context())
		j.want(t, "do a(-)", "do b(-a)", "do c(-ab)", "undo c() failed", "undo b(-ab) succeeded", "undo a(-a) succeeded")
		x := failure(t, err)
		if !errors.Is(err, workflow.ErrCancelled) || !x.Cancelled || x.State != store.Reverted {
			t.Error(err)
		}
		if !errors.Is(cause, workflow.ErrCancelled) {
			t.Error("the cause in the body:", cause)
		}
	})
}

func TestCancelCompensatesAnAttemptThatSucceededAllTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		w := inTurn(body(&j, "a", func(ctx *steps.Context) error { <-ctx.Done(); return nil }), doing(&j, "b"))
		r := start(t, workflow.Config{Workflows: workflow.Set{w}})
		h := begin(t, r, w, "-")
		synctest.Wait()
		if err := h.Cancel(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Wait(t.Context()); !errors.Is(err, workflow.ErrCancelled) {
			t.Error(err)
		}
		j.want(t, "do a(-)", "undo a(-a) succeeded")
	})
}

func TestCancelledAttemptIsNotTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		w := inTurn(body(&j, "a", untilEnd, steps.Retry(steps.RetryPolicy{MaxAttempts: -1})))
		r := start(t, workflow.Config{Workflows: workflow.Set{w}})
		h := begin(t, r, w, "-")
		synctest.Wait()
		_ = h.Cancel(t.Context())
		_, err := h.Wait(t.Context())
		j.want(t, "do a(-)", "undo a() failed")
		if !errors.Is(err, workflow.ErrCancelled) {
			t.Error(err)
		}
	})
}

func TestCancelDoesNotWaitForARetryThatIsDueLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		zero := time.Now()
		w := inTurn(failing(&j, "a", errBoom, steps.Retry(steps.RetryPolicy{MaxAttempts: 2, Backoff: time.Hour})))
		r := start(t, workflow.Config{Workflows: workflow.Set{w}})
		h := begin(t, r, w, "-")
		synctest.Wait()
		if err := h.Cancel(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, err := h.Wait(t.Context())
		if !errors.Is(err, workflow.ErrCancelled) || time.Since(zero) != 0 {
			t.Error(err, time.Since(zero))
		}
		j.want(t, "do a(-)", "undo a() failed")
	})
}

func TestI4CancelLeavesABodyBehindThatDoesNotHeedIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		let := make(chan struct{})
		defer close(let)
		w := inTurn(body(&j, "a", func(*steps.Context) error { <-let; return nil }))
		r := start(t, workflow.Config{Workflows: workflow.Set{w}, CancelGrace: 2 * time.Second})
		h := begin(t, r, w, "-")
		synctest.Wait()
		zero := time.Now()
		if err := h.Cancel(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, err := h.Wait(t.Context())
		if !errors.Is(err, workflow.ErrCancelled) || time.Since(zero) != 2*time.Second {
			t.Error(err, time.Since(zero))
		}
		j.want(t, "do a(-)", "undo a() unknown")
	})
}

func TestCancelOfAnEndedExecutionIsAnError(t *testing.T) {
	w := inTurn(doing(&journal{}, "a"))
	r := start(t, workflow.Config{Workflows: workflow.Set{w}})
	h := begin(t, r, w, "-")
	if _, err := h.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := h.Cancel(t.Context()); err == nil {
		t.Error("cancelled what had ended")
	}
}

func TestCancelOfACompensatingExecutionIsAnErrorAndDisturbsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		let := make(chan struct{})
		w := inTurn(failing(&journal{}, "a", errBoom, steps.Undo(func(ctx *steps.Context, _ string) error {
			<-let
			return ctx.Err()
		})))
		r := start(t, workflow.Config{Workflows: workflow.Set{w}})
		h := begin(t, r, w, "-")
		synctest.Wait()
		if err := h.Cancel(t.Context()); err == nil {
			t.Error("cancelled a compensation")
		}
		close(let)
		_, err := h.Wait(t.Context())
		if x := failure(t, err); x.State != store.Reverted || x.Cancelled {
			t.Error(err)
		}
	})
}

func TestRunsContextEndsTheWaitAndNotTheExecution(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		w := inTurn(body(&j, "a", func(ctx *steps.Context) error {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(time.Minute):
				return nil
			}
		}))
		r := start(t, workflow.Config{Workflows: workflow.Set{w}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := workflow.Run(ctx, r.Engine, w, "-", workflow.WithExecutionID("x")); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		out, err := workflow.Run(t.Context(), r.Engine, w, "-", workflow.WithExecutionID("x"))
		if out != "-a" || err != nil || j.count("do a(-)") != 1 {
			t.Error(out, err, j.all())
		}
	})
}

func TestStopDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		let := make(chan struct{})
		w := inTurn(body(&j, "a", func(*steps.Context) error { <-let; return nil }), doing(&j, "b"))
		r := start(t, workflow.Config{Workflows: workflow.Set{w}})
		h := begin(t, r, w, "-")
		stopped := make(chan error, 1)
		go func() { stopped <- r.Stop(t.Context()) }()
		synctest.Wait()
		if _, err := workflow.Start(t.Context(), r.Engine, w, "-"); !errors.Is(err, workflow.ErrNotRunning) {
			t.Error("a draining engine took an execution:", err)
		}
		select {
		case err := <-stopped:
			t.Fatal("stopped before the execution had ended:", err)
		default:
		}
		close(let)
		if err := <-stopped; err != nil {
			t.Error(err)
		}
		if out, err := h.Wait(t.Context()); out != "-ab" || err != nil {
			t.Error(out, err)
		}
	})
}

func TestStopInterruptsWhenItsContextEndsNamesTheUnfinishedAndFreesTheirLocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		w := inTurn(body(&j, "a", func(ctx *steps.Context) error {
			if _, err := take(ctx, "held-by-"+ctx.ExecutionID()); err != nil {
				return err
			}
			err := untilEnd(ctx)
			if !errors.Is(context.Cause(ctx), workflow.ErrInterrupted) {
				t.Error("the cause in the body:", context.Cause(ctx))
			}
			return err
		}))
		r := start(t, workflow.Config{Workflows: workflow.Set{w}})
		h1 := begin(t, r, w, "-", workflow.WithExecutionID("one"))
		h2 := begin(t, r, w, "-", workflow.WithExecutionID("two"))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		zero := time.Now()
		err := r.Stop(ctx)
		if time.Since(zero) != 10*time.Second {
			t.Error("stopped after", time.Since(zero))
		}
		left, ok := errors.AsType[*workflow.UnfinishedError](err)
		if !ok || !errors.Is(err, workflow.ErrInterrupted) || len(left.Executions) != 2 ||
			left.Executions[0] != (workflow.Ref{Workflow: "w", ID: "one"}) || left.Executions[1] != (workflow.Ref{Workflow: "w", ID: "two"}) {
			t.Error(err)
		}
		for _, h := range []*workflow.Handle[string]{h1, h2} {
			if _, err := h.Wait(t.Context()); !errors.Is(err, workflow.ErrInterrupted) {
				t.Error(err)
			}
		}
		lock, err := r.locks.TryAcquire(t.Context(), locking.Keys("held-by-one", "held-by-two"))
		if err != nil {
			t.Fatal("their locks are not free:", err)
		}
		lock.Close()
		if j.count("undo a() failed") != 0 {
			t.Error("an interrupted execution was compensated:", j.all())
		}
	})
}

func TestStopInterruptsARetryThatIsDueLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := inTurn(failing(&journal{}, "a", errBoom, steps.Retry(steps.RetryPolicy{MaxAttempts: 2, Backoff: time.Hour})))
		r := start(t, workflow.Config{Workflows: workflow.Set{w}})
		h := begin(t, r, w, "-")
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		zero := time.Now()
		if err := r.Stop(ctx); !errors.Is(err, workflow.ErrInterrupted) || time.Since(zero) != 0 {
			t.Error(err, time.Since(zero))
		}
		if _, err := h.Wait(t.Context()); !errors.Is(err, workflow.ErrInterrupted) {
			t.Error(err)
		}
	})
}

func TestStopDoesNotWaitForABodyBeyondTheGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		let := make(chan struct{})
		defer close(let)
		w := inTurn(body(&journal{}, "a", func(*steps.Context) error { <-let; return nil }))
		r := start(t, workflow.Config{Workflows: workflow.Set{w}, CancelGrace: 3 * time.Second})
		begin(t, r, w, "-")
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		zero := time.Now()
		if err := r.Stop(ctx); !errors.Is(err, workflow.ErrInterrupted) || time.Since(zero) > 6*time.Second {
			t.Error(err, time.Since(zero))
		}
	})
}

func TestStoppedEngineIsNotStartedAgain(t *testing.T) {
	r := start(t, workflow.Config{})
	if err := r.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.Start(t.Context()); !errors.Is(err, workflow.ErrNotRunning) {
		t.Error(err)
	}
	if err := r.Stop(t.Context()); err != nil {
		t.Error("stopped again:", err)
	}
}
