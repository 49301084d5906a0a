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
	"github.com/lockstep-dev/lockstep/store/storemem"
	"github.com/lockstep-dev/lockstep/workflow"
)

// introduced is a store that knows which instance has asked it for a lease last.
type introduced struct {
	*storemem.Store

	who atomic.Pointer[store.Instance]
}

func (s *introduced) Heartbeat(ctx context.Context, i store.Instance, lease time.Duration) error {
	s.who.Store(&i)
	return s.Store.Heartbeat(ctx, i, lease)
}

// The store's clock may be ahead of the instance's, which believes to have its lease.
func TestI2InstanceWithoutALeaseStartsNothingLearnsItAndStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		ended := make(chan error, 1)
		long := body(&j, "long", func(ctx *steps.Context) error {
			<-ctx.Done()
			ended <- context.Cause(ctx)
			return ctx.Err()
		})
		w, never := inTurn(long), workflow.New("never", func(b builder, in value) value { return workflow.Do(b, doing(&j, "never"), in) })
		s := &introduced{Store: storemem.New()}
		r := start(t, workflow.Config{Store: s, Workflows: workflow.Set{w, never}})
		begin(t, r, w, "-")
		synctest.Wait()
		if err := s.End(t.Context(), *s.who.Load()); err != nil {
			t.Fatal(err)
		}
		_, err := workflow.Start(t.Context(), r.Engine, never, "-", workflow.WithExecutionID("x"))
		if !errors.Is(err, workflow.ErrLostLease) || !errors.Is(err, store.ErrInstance) {
			t.Error(err)
		}
		synctest.Wait()
		select {
		case cause := <-ended:
			if !errors.Is(cause, workflow.ErrLostLease) {
				t.Error(cause)
			}
		default:
			t.Error("what it runs goes on until its next heartbeat")
		}
		if _, err := s.Load(t.Context(), store.Key{Workflow: "never", ID: "x"}); !errors.Is(err, store.ErrNotFound) {
			t.Error("it is created:", err)
		}
		if _, err := workflow.Start(t.Context(), r.Engine, never, "-"); !errors.Is(err, workflow.ErrNotRunning) {
			t.Error(err)
		}
		j.want(t, "do long(-)")
	})
}
