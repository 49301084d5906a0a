package workflow_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/store/storemem"
	"github.com/lockstep-dev/lockstep/workflow"
)

// unheard is a store that stores a child's first answer, and does not say so.
type unheard struct {
	*storemem.Store

	once     atomic.Bool
	revision atomic.Uint64 // of the first
}

func (u *unheard) Deliver(ctx context.Context, k store.Key, m store.Message) error {
	err := u.Store.Deliver(ctx, k, m)
	if ev, _ := store.DecodeEvent(m.Data); ev.Kind == store.ChildEnded && !u.once.Swap(true) {
		u.revision.Store(ev.Revision)
		return errBoom
	}
	return err
}

// Its two answers are told apart by the revisions of the writes that they follow from.
func TestChildThatIsDoneWhenItIsCreatedAndUndoneInItsNextWriteIsHeardTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		child := childOf("child")
		w := flow(func(b builder, in value) value {
			return workflow.Do(b, failing(&j, "s", errBoom), workflow.Call(b, child, in))
		})
		u := &unheard{Store: storemem.New()}
		r := start(t, workflow.Config{Store: u, Workflows: workflow.Set{w, child}})
		_, err := workflow.Run(t.Context(), r.Engine, w, "-")
		if !errors.Is(err, errBoom) || failure(t, err).State != store.Reverted {
			t.Error(err)
		}
		if u.revision.Load() != 1 {
			t.Errorf("what follows from the first write is of revision %d", u.revision.Load())
		}
	})
}
