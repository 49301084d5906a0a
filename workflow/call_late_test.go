package workflow_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/store/storemem"
	"github.com/lockstep-dev/lockstep/workflow"
)

// severed is the store of an instance that is cut off: heartbeats get no answer, and
// neither does a question for a child, until the end of the cut or of the question.
type severed struct {
	store.Store

	cut atomic.Bool
	end chan struct{}
}

func (s *severed) Heartbeat(ctx context.Context, i store.Instance, d time.Duration) error {
	if s.cut.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	return s.Store.Heartbeat(ctx, i, d)
}

func (s *severed) Load(ctx context.Context, k store.Key) (*store.Snapshot, error) {
	if k.Workflow == "child" && s.cut.Load() {
		select {
		case <-s.end:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return s.Store.Load(ctx, k)
}

// Its child may have come to its end by then with another instance, and have been
// forgotten.
func TestI1AnEngineThatHasLostItsLeaseStartsNoChild(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		child := childOf("child", doing(&j, "a"))
		w := flow(func(b builder, in value) value {
			return workflow.Call(b, child, workflow.Do(b, doing(&j, "first"), in))
		})
		inner := storemem.New()
		s := &severed{Store: inner, end: make(chan struct{})}
		r := start(t, workflow.Config{Store: s, Workflows: workflow.Set{w, child}})
		s.cut.Store(true)
		beginOn(t, r.Engine, w, "-", workflow.WithExecutionID("x"))
		time.Sleep(2 * workflow.DefaultLease)
		close(s.end)
		synctest.Wait()
		j.want(t, "do first(-)")
		if n := inner.Len(); n != 1 {
			t.Errorf("%d executions are kept, want that of the caller alone", n)
		}
	})
}
