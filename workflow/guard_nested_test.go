package workflow_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/workflow"
)

func TestI5LocksOfAGuardAtTheEndOfABranchStayUntilTheOutermostGuardIsLeft(t *testing.T) {
	var j journal
	tryInner := func(ctx *steps.Context) error {
		locks, err := locksOf(ctx)
		if err != nil {
			return err
		}
		// It is asked for from outside of the execution.
		l, err := locks.TryAcquire(context.Background(), locking.Keys("inner"))
		if err == nil {
			l.Close()
			return errors.New("anybody can have the key of the inner guard")
		}
		if !errors.Is(err, locking.ErrNotAcquired) {
			return err
		}
		return nil
	}
	w := flow(func(b builder, in value) value {
		return workflow.Guard(b, workflow.Const(b, "outer"), func(b builder) value {
			workflow.Parallel2(b,
				func(b builder) value {
					return workflow.Guard(b, workflow.Const(b, "inner"), func(b builder) value { return workflow.Do(b, doing(&j, "a"), in) })
				},
				func(b builder) value { return workflow.Do(b, doing(&j, "b"), in) })
			return workflow.Do(b, body(&j, "c", tryInner), in)
		}, workflow.MaxHold(time.Hour))
	})
	r, _, err := runs(t, w)
	if err != nil {
		t.Error(err)
	}
	l, err := r.locks.TryAcquire(t.Context(), locking.Keys("inner", "outer"))
	if err != nil {
		t.Fatal("a key is not given back:", err)
	}
	l.Close()
}
