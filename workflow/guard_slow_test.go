package workflow_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockmem"
	"github.com/lockstep-dev/lockstep/workflow"
)

// slow is a lock provider that puts nobody into its queues before it is let.
type slow struct {
	*lockmem.Provider

	let chan struct{}
}

func (s *slow) Enqueue(ctx context.Context, t driver.Ticket) (driver.Place, error) {
	<-s.let
	return s.Provider.Enqueue(ctx, t)
}

func TestStepDoesNotWaitForTheLocksOfTheBranchBesideIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		w := flow(func(b builder, in value) value {
			_, v := workflow.Parallel2(b,
				func(b builder) value {
					return workflow.Guard(b, workflow.Const(b, "k"), func(b builder) value { return workflow.Do(b, doing(&j, "guarded"), in) })
				},
				func(b builder) value { return workflow.Do(b, doing(&j, "beside"), in) })
			return v
		})
		p := &slow{lockmem.New(lockmem.Config{}), make(chan struct{})}
		r := startWith(t, workflow.Config{Workflows: workflow.Set{w}}, locking.Config{
			Providers: []locking.Registration{{ID: "slow", Provider: p}},
		})
		h := begin(t, r, w, "-")
		synctest.Wait()
		j.want(t, "do beside(-)")
		close(p.let)
		if _, err := h.Wait(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
