package machine_test

import (
	"slices"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/internal/machine"
	"github.com/lockstep-dev/lockstep/internal/plan"
	"github.com/lockstep-dev/lockstep/store"
)

// nested is an execution of a guard that has two guards side by side in it, of which the
// first one has a step.
type nested struct {
	t *testing.T
	s *machine.State
}

var (
	outer  = store.Place{}
	inner  = store.Place{Frame: 2, Node: 2}
	within = store.Place{Frame: 4, Node: 3}
	beside = store.Place{Frame: 3, Node: 4}
)

func newNested(t *testing.T) *nested {
	t.Helper()
	guard := func(path string, branch int) plan.Node {
		return plan.Node{
			Path: path, Kind: plan.GuardNode, Inputs: []plan.Ref{plan.Input}, Decide: decides, Guard: &plan.Guard{}, Branches: []int{branch},
		}
	}
	step := func(path string) plan.Node {
		return plan.Node{
			Path: path, Kind: plan.StepNode, Inputs: []plan.Ref{plan.Input}, Step: &plan.Step{Name: path, Invoke: noBody, Compensate: noBody},
		}
	}
	p, err := plan.New(plan.Plan{
		Name: "w",
		Sequences: []plan.Sequence{
			{Nodes: []int{0}, Output: plan.Input},
			{Nodes: []int{1}, Output: plan.Input},
			{Nodes: []int{2}, Output: plan.Input},
			{Nodes: []int{4}, Output: plan.Input},
			{Nodes: []int{3}, Output: plan.Ref{Node: 3}},
			{Nodes: []int{5}, Output: plan.Ref{Node: 5}},
		},
		Nodes: []plan.Node{
			guard("outer", 1),
			{Path: "both", Kind: plan.ParallelNode, Branches: []int{2, 3}},
			guard("inner", 4),
			step("within"),
			guard("beside", 5),
			step("other"),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	n := &nested{t, machine.New(p, store.Identity{Key: store.Key{Workflow: "w", ID: "x"}}, store.Fence{})}
	n.happens(machine.Begun{})
	n.decides(outer, "o")
	n.happens(machine.Granted{Place: outer, Holds: held("o")})
	n.decides(inner, "i")
	n.happens(machine.Granted{Place: inner, Holds: held("i")})
	return n
}

func held(keys ...string) (list []store.Hold) {
	for _, k := range keys {
		list = append(list, store.Hold{Key: k, Owner: "me", Epoch: 1, Attempt: 1})
	}
	return list
}

func (n *nested) happens(ev machine.Event) []machine.Command {
	n.t.Helper()
	d, err := machine.Decide(n.s, ev, time.Unix(1, 0))
	if err != nil {
		n.t.Fatal(err)
	}
	n.s.Apply(d)
	return slices.Clone(d.Commands)
}

func (n *nested) decides(at store.Place, keys ...string) []machine.Command {
	n.t.Helper()
	return n.happens(machine.Evaluated{Place: at, Decision: plan.Decision{Keys: keys}})
}

// loses has the inner guard lose its lock while its step is in flight.
func (n *nested) loses() []machine.Command {
	n.t.Helper()
	n.decides(beside, "b")
	n.happens(machine.LocksLost{Place: inner})
	return n.happens(machine.AttemptFailed{Place: within, Phase: machine.Invoke})
}

func (n *nested) node(at store.Place) store.Node {
	n.t.Helper()
	rec, begun := n.s.Node(at)
	if !begun {
		n.t.Fatalf("%v has not begun", at)
	}
	return rec
}

func starts(commands []machine.Command) bool {
	return slices.ContainsFunc(commands, func(c machine.Command) bool {
		_, ok := c.(machine.StartAttempt)
		return ok
	})
}

func TestI5WhatAGuardWithinAnotherHasLostIsTakenAgainTogetherWithTheOthersLocks(t *testing.T) {
	n := newNested(t)
	if starts(n.loses()) {
		t.Error("something is compensated without its locks")
	}
	o := n.node(outer)
	if o.Compensate.Waits != store.WaitingForLock || !slices.Equal(o.Keys, []string{"i", "o"}) || len(o.Holds) > 0 {
		t.Fatalf("it waits for %q with keys %v, and has %v", o.Compensate.Waits, o.Keys, o.Holds)
	}
	if !starts(n.happens(machine.Granted{Place: outer, Holds: held("i", "o")})) {
		t.Error("nothing is compensated with all locks")
	}
}

// The outer one asks for what it has lost while a guard within it has something: two
// executions that do so may wait for each other for ever.
func TestAGuardThatHasLostItsLocksWaitsForThemWithoutHavingAnyOfThoseWithinIt(t *testing.T) {
	n := newNested(t)
	n.decides(beside, "b")
	n.happens(machine.LocksLost{Place: outer})
	n.happens(machine.AttemptFailed{Place: within, Phase: machine.Invoke})
	if o := n.node(outer); !slices.Equal(o.Keys, []string{"i", "o"}) || len(n.node(inner).Holds) > 0 {
		t.Errorf("it asks for %v, and the inner one has %v", o.Keys, n.node(inner).Holds)
	}
}

func TestASuspectThatHasToWaitForLocksLetsOthersTakeTheirTurns(t *testing.T) {
	n := newNested(t)
	n.loses()
	n.happens(machine.Granted{Place: outer, Holds: held("i", "o")})
	n.happens(machine.Recovered{Unclean: true})
	n.happens(machine.LocksLost{Place: outer})
	turn := machine.TurnCame{Place: within, Phase: machine.Compensate}
	if starts(n.happens(turn)) || n.node(within).Compensate.Waits != store.WaitingForLock {
		t.Fatalf("it has its turn, and waits for %q", n.node(within).Compensate.Waits)
	}
	commands := n.happens(machine.Granted{Place: outer, Holds: held("i", "o")})
	if starts(commands) || !slices.Contains(commands, machine.Command(machine.AwaitTurn{Place: within, Phase: machine.Compensate})) {
		t.Fatalf("it does not ask for its turn again: %+v", commands)
	}
	if !starts(n.happens(turn)) || n.node(within).Compensate.Attempts != 1 {
		t.Errorf("it has made %d attempts", n.node(within).Compensate.Attempts)
	}
}

func TestAGuardThatWaitsForWhatTheOneAroundItHasGotAsksAnew(t *testing.T) {
	n := newNested(t)
	n.decides(beside, "b", "i")
	before := n.node(beside).Ticket
	commands := n.happens(machine.Succeeded{Place: within, Phase: machine.Invoke})
	after := n.node(beside).Ticket
	if after == before || after == "" || !slices.Contains(commands, machine.Command(machine.Park{Place: beside})) {
		t.Errorf("its ticket was %q and is %q: %+v", before, after, commands)
	}
	cancelled := ""
	for _, e := range n.s.Errands {
		cancelled += e.Ticket
	}
	if cancelled != before {
		t.Errorf("the ticket %q is cancelled", cancelled)
	}
}
