package machine_test

import (
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/internal/machine"
	"github.com/lockstep-dev/lockstep/internal/plan"
	"github.com/lockstep-dev/lockstep/store"
)

// When a claim finds that a step has killed its process too often, the compensation
// that follows begins beside what else the claim starts again.
func TestI11WhatACrashLoopHasCompensatedIsNotStartedAgainAsWell(t *testing.T) {
	step := func(name string) plan.Node {
		return plan.Node{
			Path: name, Kind: plan.StepNode, Inputs: []plan.Ref{plan.Input},
			Step: &plan.Step{Name: name, Invoke: noBody, Compensate: noBody},
		}
	}
	p, err := plan.New(plan.Plan{
		Name: "w",
		Sequences: []plan.Sequence{
			{Nodes: []int{0}, Output: plan.Input}, {Nodes: []int{1}, Output: plan.Ref{Node: 1}}, {Nodes: []int{2}, Output: plan.Ref{Node: 2}},
		},
		Nodes: []plan.Node{{Path: "both", Kind: plan.ParallelNode, Branches: []int{1, 2}}, step("poison"), step("beside")},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := machine.New(p, store.Identity{Key: store.Key{Workflow: "w", ID: "x"}}, store.Fence{})
	happens := func(ev machine.Event) (commands []machine.Command) {
		t.Helper()
		d, err := machine.Decide(s, ev, time.Unix(1, 0))
		if err != nil {
			t.Fatal(err)
		}
		s.Apply(d)
		return d.Commands
	}
	happens(machine.Begun{})
	poison := store.Place{Frame: 1, Node: 1}
	for range machine.MostDeaths { // it has its turn alone, and kills its process each time
		happens(machine.Recovered{Unclean: true})
		happens(machine.TurnCame{Place: poison, Phase: machine.Invoke})
	}
	started := map[store.Place]int{}
	for _, c := range happens(machine.Recovered{Unclean: true}) {
		switch c := c.(type) {
		case machine.StartAttempt:
			started[c.Place]++
		case machine.AwaitTurn:
			started[c.Place]++
		}
	}
	if s.State != store.Compensating || len(started) != 2 {
		t.Fatalf("it is %s, and has started %v", s.State, started)
	}
	for at, n := range started {
		if rec, _ := s.Node(at); n != 1 || rec.Compensate.Waits != store.NotWaiting {
			t.Errorf("%s is started %d times, and waits for %q", s.Path(at), n, rec.Compensate.Waits)
		}
	}
}
