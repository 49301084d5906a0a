package workflow_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/workflow"
)

func TestI6ResumeOfACallerTriesTheFailedCompensationOfItsChildAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		var mended atomic.Bool
		stuck := steps.New("stuck", func(_ *steps.Context, in string) (string, error) { return in, nil },
			steps.Undo(func(*steps.Context, string) error {
				if !mended.Load() {
					return errors.New("cannot undo")
				}
				j.addf("undo stuck")
				return nil
			}))
		child := childOf("child", stuck)
		w := flow(func(b builder, in value) value {
			v := workflow.Call(b, child, in)
			return workflow.Do(b, failing(&j, "last", errBoom), v)
		})
		r := family(t, w, child)
		_, err := workflow.Run(t.Context(), r.Engine, w, "-", workflow.WithExecutionID("x"))
		if failure(t, err).State != store.Failed {
			t.Fatal(err)
		}
		mended.Store(true)
		if err := r.Resume(t.Context(), workflow.Ref{Workflow: w.Name(), ID: "x"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // it goes on
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err = workflow.Run(ctx, r.Engine, w, "-", workflow.WithExecutionID("x"))
		if failure(t, err).State != store.Reverted {
			t.Error(err)
		}
		j.want(t, "do last(-)", "undo last() failed", "undo stuck")
		if n := r.store.Len(); n != 1 {
			t.Errorf("%d executions are kept, want the child to be forgotten by now", n)
		}
	})
}
