package machine_test

import (
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/internal/machine"
	"github.com/lockstep-dev/lockstep/internal/plan"
	"github.com/lockstep-dev/lockstep/store"
)

// seen returns the input of the step behind a WhenNode that has decided for a branch,
// each of which has a step with that output.
func seen(t *testing.T, branches, branch int, output []byte) []byte {
	t.Helper()
	nodes := []plan.Node{{Path: "when", Kind: plan.WhenNode, Inputs: []plan.Ref{plan.Input}, Decide: decides}}
	step := func(name string, in plan.Ref) int {
		nodes = append(nodes, plan.Node{Path: name, Kind: plan.StepNode, Inputs: []plan.Ref{in}, Step: &plan.Step{Name: name, Invoke: noBody}})
		return len(nodes) - 1
	}
	sequences := []plan.Sequence{{}}
	for i := range branches {
		at := step([]string{"first", "second"}[i], plan.Input)
		nodes[0].Branches = append(nodes[0].Branches, len(sequences))
		sequences = append(sequences, plan.Sequence{Nodes: []int{at}, Output: plan.Ref{Node: at}})
	}
	behind := step("behind", plan.Ref{})
	sequences[0] = plan.Sequence{Nodes: []int{0, behind}, Output: plan.Ref{Node: behind}}
	p, err := plan.New(plan.Plan{Name: "w", Nodes: nodes, Sequences: sequences})
	if err != nil {
		t.Fatal(err)
	}
	s := machine.New(p, store.Identity{Key: store.Key{Workflow: "w", ID: "x"}}, store.Fence{})
	happens := func(ev machine.Event) {
		t.Helper()
		d, err := machine.Decide(s, ev, time.Unix(1, 0))
		if err != nil {
			t.Fatal(err)
		}
		s.Apply(d)
	}
	happens(machine.Begun{})
	happens(machine.Evaluated{Decision: plan.Decision{Branch: branch}})
	if branch > 0 {
		happens(machine.Succeeded{Place: store.Place{Frame: 1, Node: branch}, Phase: machine.Invoke, Output: output})
	}
	return s.Inputs(store.Place{Node: behind})[0]
}

func TestValueOfABranchThatWasNotTakenIsNone(t *testing.T) {
	if got := seen(t, 1, 0, nil); got != nil {
		t.Errorf("%q", got)
	}
}

func TestValueOfABranchThatWasTakenIsNeverNone(t *testing.T) {
	if got := seen(t, 1, 1, nil); got == nil || len(got) > 0 {
		t.Errorf("%q, want no bytes", got)
	}
	if got := seen(t, 1, 1, []byte("out")); string(got) != "out" {
		t.Errorf("%q", got)
	}
}

func TestValueOfOneOfTwoBranchesIsAsItWasGiven(t *testing.T) {
	for branch := 1; branch <= 2; branch++ {
		if got := seen(t, 2, branch, nil); got != nil {
			t.Errorf("branch %d: %q, want the zero value as it is everywhere", branch, got)
		}
		if got := seen(t, 2, branch, []byte("out")); string(got) != "out" {
			t.Errorf("branch %d: %q", branch, got)
		}
	}
}
