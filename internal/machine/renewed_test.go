package machine_test

import (
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/internal/machine"
	"github.com/lockstep-dev/lockstep/internal/plan"
	"github.com/lockstep-dev/lockstep/store"
)

// A guard whose locks were taken over for a later attempt asks for them as a still later
// one when it is compensated: as an earlier one it would be refused, and as the same it
// would share a hold that was left to its lease.
func TestGuardIsCompensatedAsALaterAttemptThanItsLocksWereTakenOverFor(t *testing.T) {
	p, err := plan.New(plan.Plan{
		Name: "w",
		Sequences: []plan.Sequence{
			{Nodes: []int{0, 2}, Output: plan.Input}, {Nodes: []int{1}, Output: plan.Ref{Node: 1}},
		},
		Nodes: []plan.Node{
			{Path: "guard", Kind: plan.GuardNode, Inputs: []plan.Ref{plan.Input}, Decide: decides, Guard: &plan.Guard{}, Branches: []int{1}},
			{Path: "in", Kind: plan.StepNode, Inputs: []plan.Ref{plan.Input}, Step: &plan.Step{Name: "in", Invoke: noBody, Compensate: noBody}},
			{Path: "behind", Kind: plan.StepNode, Inputs: []plan.Ref{plan.Input}, Step: &plan.Step{Name: "behind", Invoke: noBody}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := machine.New(p, store.Identity{Key: store.Key{Workflow: "w", ID: "x"}}, store.Fence{})
	guard := store.Place{}
	hold := func(attempt uint64) []store.Hold {
		return []store.Hold{{Key: "k", Owner: "me", Epoch: 1, Attempt: attempt}}
	}
	for _, ev := range []machine.Event{
		machine.Begun{},
		machine.Evaluated{Place: guard, Decision: plan.Decision{Keys: []string{"k"}}},
		machine.Granted{Place: guard, Holds: hold(1)},
		machine.RenewedHolds{Place: guard, Holds: hold(3)},
		machine.Succeeded{Place: store.Place{Frame: 1, Node: 1}, Phase: machine.Invoke},
		machine.AttemptFailed{Place: store.Place{Node: 2}, Phase: machine.Invoke, Permanent: true},
	} {
		d, err := machine.Decide(s, ev, time.Unix(1, 0))
		if err != nil {
			t.Fatal(err)
		}
		s.Apply(d)
	}
	if n, _ := s.Node(guard); n.Compensate.Waits != store.WaitingForLock || n.Attempts <= 3 {
		t.Errorf("it waits for %q as attempt %d", n.Compensate.Waits, n.Attempts)
	}
}
