package machine_test

import (
	"errors"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/internal/machine"
	"github.com/lockstep-dev/lockstep/internal/plan"
	"github.com/lockstep-dev/lockstep/store"
)

// Its answer that it was done comes late, when it has been asked to revert: it is not
// through with that, and answers again.
func TestI5ACallerWaitsForAChildThatIsBeingUndone(t *testing.T) {
	p, err := plan.New(plan.Plan{
		Name:      "w",
		Sequences: []plan.Sequence{{Nodes: []int{0}, Output: plan.Ref{Node: 0}}},
		Nodes:     []plan.Node{{Path: "call", Kind: plan.CallNode, Inputs: []plan.Ref{plan.Input}, Call: &plan.Call{Workflow: "child"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := machine.New(p, store.Identity{Key: store.Key{Workflow: "w", ID: "x"}}, store.Fence{})
	ended := func(state store.ExecutionState) machine.Event {
		return machine.Delivered{Event: store.Event{Kind: store.ChildEnded, State: state, Revision: 1}}
	}
	for _, ev := range []machine.Event{machine.Begun{}, machine.Delivered{Event: store.Event{Kind: store.Cancel}}} {
		d, err := machine.Decide(s, ev, time.Unix(1, 0))
		if err != nil {
			t.Fatal(err)
		}
		s.Apply(d)
	}
	if _, err := machine.Decide(s, ended(store.Compensating), time.Unix(1, 0)); !errors.Is(err, machine.ErrMisfit) {
		t.Error("it goes on without its child:", err)
	}
	if _, err := machine.Decide(s, ended(store.Reverted), time.Unix(1, 0)); err != nil {
		t.Error(err)
	}
}
