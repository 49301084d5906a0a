package workflow_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/workflow"
)

// blind is a store whose first Load of an execution comes before it was created.
type blind struct {
	store.Store

	looked atomic.Bool
}

func (b *blind) Load(ctx context.Context, k store.Key) (*store.Snapshot, error) {
	if !b.looked.Swap(true) {
		return nil, store.ErrNotFound
	}
	return b.Store.Load(ctx, k)
}

func TestI9WhoIsBeatenToTheCreationWaitsForTheEndOfTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		let := make(chan struct{})
		w := inTurn(body(&j, "a", func(*steps.Context) error { <-let; return nil }))
		s := newInstances(t, w)
		one, _ := s.start()
		beginOn(t, one, w, "-", workflow.WithExecutionID("x"))
		two := start(t, workflow.Config{Store: &blind{Store: s.store}, Workflows: workflow.Set{w}})
		h := begin(t, two, w, "-", workflow.WithExecutionID("x"))
		synctest.Wait()
		close(let)
		if out, err := h.Wait(t.Context()); out != "-a" || err != nil {
			t.Errorf("%q, %v", out, err)
		}
		j.want(t, "do a(-)")
	})
}
