package machine_test

import (
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/internal/machine"
	"github.com/lockstep-dev/lockstep/internal/plan"
	"github.com/lockstep-dev/lockstep/store"
)

// An attempt whose end nobody has seen may have had its effect: what becomes of the
// attempt after it says nothing about that.
func TestAttemptThatANewOwnerMakesAgainLeavesTheOutcomeUnknown(t *testing.T) {
	ends := map[string]machine.Event{
		"failed":  machine.AttemptFailed{Phase: machine.Invoke, Permanent: true},
		"skipped": machine.Succeeded{Phase: machine.Invoke, Skipped: true},
	}
	for name, end := range ends {
		for _, unclean := range []bool{false, true} {
			step := &plan.Step{Name: "s", Invoke: noBody, Compensate: noBody, Policy: plan.Policy{CompensateOnlyDone: true}}
			last := &plan.Step{Name: "last", Invoke: noBody}
			p, err := plan.New(plan.Plan{
				Name: "w", Sequences: []plan.Sequence{{Nodes: []int{0, 1}, Output: plan.Input}},
				Nodes: []plan.Node{
					{Path: "s", Kind: plan.StepNode, Inputs: []plan.Ref{plan.Input}, Step: step},
					{Path: "last", Kind: plan.StepNode, Inputs: []plan.Ref{plan.Input}, Step: last},
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			s := machine.New(p, store.Identity{Key: store.Key{Workflow: "w", ID: "x"}}, store.Fence{})
			events := []machine.Event{machine.Begun{}, machine.Recovered{Unclean: unclean}}
			if unclean {
				events = append(events, machine.TurnCame{Phase: machine.Invoke})
			}
			events = append(events, end)
			if name == "skipped" {
				events = append(events, machine.AttemptFailed{Place: store.Place{Node: 1}, Phase: machine.Invoke, Permanent: true})
			}
			for _, ev := range events {
				d, err := machine.Decide(s, ev, time.Unix(1, 0))
				if err != nil {
					t.Fatal(err)
				}
				s.Apply(d)
			}
			if n, _ := s.Node(store.Place{}); !n.Unknown || n.Compensate.State != store.StepCompensating {
				t.Errorf("%s, unclean %v: unknown %v, compensate %q", name, unclean, n.Unknown, n.Compensate.State)
			}
		}
	}
}
