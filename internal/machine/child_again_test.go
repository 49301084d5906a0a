package machine_test

import (
	"errors"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/internal/machine"
	"github.com/lockstep-dev/lockstep/internal/plan"
	"github.com/lockstep-dev/lockstep/store"
)

// A child's compensation has failed, and the caller was resumed: what the child told
// before that comes again, and is no answer to the second try.
func TestI3WhatAChildHasToldBeforeIsNoAnswerToALaterQuestion(t *testing.T) {
	p, err := plan.New(plan.Plan{
		Name:      "w",
		Sequences: []plan.Sequence{{Nodes: []int{0, 1}, Output: plan.Input}},
		Nodes: []plan.Node{
			{Path: "call", Kind: plan.CallNode, Inputs: []plan.Ref{plan.Input}, Call: &plan.Call{Workflow: "child", Fingerprint: "f"}},
			{Path: "behind", Kind: plan.StepNode, Inputs: []plan.Ref{plan.Input}, Step: &plan.Step{Name: "behind", Invoke: noBody}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := machine.New(p, store.Identity{Key: store.Key{Workflow: "w", ID: "x"}}, store.Fence{})
	call := store.Place{}
	feed := func(ev machine.Event) error {
		d, err := machine.Decide(s, ev, time.Unix(1, 0))
		if err == nil {
			s.Apply(d)
		}
		return err
	}
	tells := func(state store.ExecutionState, revision uint64) machine.Event {
		return machine.Delivered{Event: store.Event{Kind: store.ChildEnded, Place: call, State: state, Revision: revision}}
	}
	for _, ev := range []machine.Event{
		machine.Begun{},
		tells(store.Done, 3),
		machine.AttemptFailed{Place: store.Place{Node: 1}, Phase: machine.Invoke, Permanent: true},
		tells(store.Failed, 5),
		machine.Delivered{Event: store.Event{Kind: store.Resume}},
	} {
		if err := feed(ev); err != nil {
			t.Fatalf("%T: %v", ev, err)
		}
	}
	for _, revision := range []uint64{3, 5} {
		if err := feed(tells(store.Failed, revision)); !errors.Is(err, machine.ErrMisfit) {
			t.Errorf("told again under revision %d: %v", revision, err)
		}
	}
	if n, _ := s.Node(call); n.Compensate.State != store.StepCompensating {
		t.Errorf("the call is %s", n.Compensate.State)
	}
	if err := feed(tells(store.Reverted, 9)); err != nil || s.State != store.Reverted {
		t.Errorf("%v, and it is %s", err, s.State)
	}
}
