package workflow_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/store/storemem"
	"github.com/lockstep-dev/lockstep/workflow"
)

// forgetful is a store that gives no answer to the first question for an execution of a
// workflow.
type forgetful struct {
	store.Store

	workflow string
	asked    atomic.Bool
}

func (f *forgetful) Load(ctx context.Context, k store.Key) (*store.Snapshot, error) {
	if k.Workflow == f.workflow && !f.asked.Swap(true) {
		return nil, errors.New("no answer")
	}
	return f.Store.Load(ctx, k)
}

func TestI8SleepEndsThoughAnErrandHadToBeTriedAgainMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		child := childOf("child", doing(&j, "a"))
		w := flow(func(b builder, in value) value {
			v, _ := workflow.Parallel2(b,
				func(b builder) value { return workflow.Call(b, child, in) },
				func(b builder) value {
					workflow.Sleep(b, 90*time.Second)
					return in
				})
			return v
		})
		r := start(t, workflow.Config{Store: &forgetful{Store: storemem.New(), workflow: "child"}, Workflows: workflow.Set{w, child}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if out, err := workflow.Run(ctx, r.Engine, w, "-"); out != "-a" || err != nil {
			t.Errorf("%q, %v", out, err)
		}
	})
}
