package workflow_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/store/storemem"
	"github.com/lockstep-dev/lockstep/workflow"
)

// pastTheTime checks the error of an execution that has not ended by its deadline.
func pastTheTime(t *testing.T, err error) {
	t.Helper()
	if x := failure(t, err); !errors.Is(err, workflow.ErrDeadline) || !errors.Is(err, context.DeadlineExceeded) || x.State != store.Reverted {
		t.Error(err)
	}
}

func TestExecutionThatDoesNotEndByItsDeadlineIsCompensated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		var cause error
		w := inTurn(doing(&j, "a"), body(&j, "b", func(ctx *steps.Context) error {
			<-ctx.Done()
			cause = context.Cause(ctx)
			return ctx.Err()
		}), doing(&j, "never"))
		r := start(t, workflow.Config{Workflows: workflow.Set{w}})
		zero := time.Now()
		_, err := workflow.Run(t.Context(), r.Engine, w, "-", workflow.WithTimeout(time.Minute))
		pastTheTime(t, err)
		if !errors.Is(cause, workflow.ErrDeadline) || time.Since(zero) != time.Minute {
			t.Error(cause, time.Since(zero))
		}
		j.want(t, "do a(-)", "do b(-a)", "undo b() failed", "undo a(-a) succeeded")
	})
}

func TestCompensationHasTheTimeItTakesAfterTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		w := inTurn(undoing(&j, "a", func() { time.Sleep(time.Hour) }), failing(&j, "b", errBoom))
		r := start(t, workflow.Config{Workflows: workflow.Set{w}})
		_, err := workflow.Run(t.Context(), r.Engine, w, "-", workflow.WithTimeout(time.Minute))
		if x := failure(t, err); !errors.Is(err, errBoom) || errors.Is(err, workflow.ErrDeadline) || x.State != store.Reverted {
			t.Error(err)
		}
		j.want(t, "do a(-)", "do b(-a)", "undo b() failed", "undo a")
	})
}

func TestDeadlineEndsEveryKindOfWait(t *testing.T) {
	for name, wait := range map[string]func(b builder, in value) value{
		"Sleep": func(b builder, in value) value { workflow.Sleep(b, time.Hour); return in },
		"Guard": func(b builder, in value) value {
			return workflow.Guard(b, workflow.Const(b, "k"), giving(in))
		},
		"asynchronous step": func(b builder, in value) value { return workflow.Do(b, newDesk().async("async"), in) },
		"retry": func(b builder, in value) value {
			return workflow.Do(b, failing(&journal{}, "again", errBoom, steps.Retry(steps.RetryPolicy{MaxAttempts: 2, Backoff: time.Hour})), in)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := flow(wait)
				r := start(t, workflow.Config{Workflows: workflow.Set{w}})
				defer r.somebody(t)()
				zero := time.Now()
				_, err := workflow.Run(t.Context(), r.Engine, w, "-", workflow.WithTimeout(time.Minute))
				pastTheTime(t, err)
				if time.Since(zero) != time.Minute {
					t.Error(time.Since(zero))
				}
			})
		})
	}
}

func TestDeadlinePassesWhileNoEngineRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		w := inTurn(doing(&j, "a"), body(&j, "b", untilEnd))
		cfg := workflow.Config{Workflows: workflow.Set{w}, Store: &lasting{storemem.New()}}
		r := start(t, cfg)
		begin(t, r, w, "-", workflow.WithExecutionID("x"), workflow.WithTimeout(time.Minute))
		synctest.Wait()
		interrupt(t, r)
		time.Sleep(time.Hour)
		r = r.again(t, cfg)
		_, err := begin(t, r, w, "-", workflow.WithExecutionID("x")).Wait(t.Context())
		pastTheTime(t, err)
		if j.count("undo a(-a) succeeded") != 1 {
			t.Error(j.all())
		}
	})
}
