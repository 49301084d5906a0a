// Package machine decides what follows from what in an execution. It is a pure
// function: from a plan, the state of an execution, an event and the time, to the
// change of state and to commands for its driver. It imports no clock, does no
// I/O and starts no goroutine; all that is in package engine.
//
// What the driver owes the machine:
//  1. Evaluate commands are carried out, and their events fed back, before the
//     change is committed: a decision lands in the write that it enables.
//  2. All other commands are carried out after the change was committed, and only
//     if it was.
//  3. At most one attempt of an execution's sequence is in flight, and its result
//     is fed at most once.
package machine

import (
	"errors"
	"fmt"
	"time"

	"github.com/lockstep-dev/lockstep/internal/plan"
	"github.com/lockstep-dev/lockstep/store"
)

// ErrIllegal is matched by the error for an event that the state does not allow.
var ErrIllegal = errors.New("machine: event not allowed in this state")

// Decision is what follows from an event.
type Decision struct {
	Change   store.Change
	Commands []Command
}

// Command is something the driver has to do.
type Command interface{ command() }

// Evaluate asks for a decision node's value.
type Evaluate struct{ Node int }

// StartAttempt asks for one call of a step's body.
type StartAttempt struct {
	Node   int
	Phase  Phase
	Number int
	// Ordinal counts the attempts of both phases.
	Ordinal uint64
}

// WakeAt asks for a [Woken] event when the time has come.
type WakeAt struct{ At time.Time }

// CancelAttempt asks to end the context of the attempt in flight.
type CancelAttempt struct{ Node int }

// Finish says that the execution has come to its end.
type Finish struct{}

func (Evaluate) command()      {}
func (StartAttempt) command()  {}
func (WakeAt) command()        {}
func (CancelAttempt) command() {}
func (Finish) command()        {}

// Phase is one of a step's two bodies.
type Phase string

// The phases of a step.
const (
	Invoke     Phase = "invoke"
	Compensate Phase = "compensate"
)

// Decide is the transition function. It does not change the execution it is
// given; [store.Execution.Apply] makes the change.
func Decide(p *plan.Plan, x *store.Execution, ev Event, now time.Time) (Decision, error) {
	t := &transition{plan: p, x: x, now: now}
	t.d.Change.Head = x.Head
	if err := ev.apply(t); err != nil {
		return Decision{}, fmt.Errorf("%w: %w (execution %s is %s)", ErrIllegal, err, x.Key, x.State)
	}
	return t.d, nil
}

// transition is one decision being made.
type transition struct {
	plan *plan.Plan
	x    *store.Execution
	now  time.Time
	d    Decision
}

func (t *transition) head() *store.Head { return &t.d.Change.Head }

func (t *transition) command(c Command) { t.d.Commands = append(t.d.Commands, c) }

// node returns the node as this decision has left it.
func (t *transition) node(i int) store.Node {
	for _, c := range t.d.Change.Nodes {
		if c.Index == i {
			return c.Node
		}
	}
	return t.x.Nodes[i]
}

func (t *transition) setNode(i int, n store.Node) {
	for j, c := range t.d.Change.Nodes {
		if c.Index == i {
			t.d.Change.Nodes[j].Node = n
			return
		}
	}
	t.d.Change.Nodes = append(t.d.Change.Nodes, store.NodeChange{Index: i, Node: n})
}

// fail records an error of a node.
func (t *transition) fail(f store.Failure) {
	t.d.Change.Failures = append(t.d.Change.Failures, f)
}

// advance goes on with the node at i, or finishes behind the last one.
func (t *transition) advance(i int) {
	if i == len(t.plan.Nodes) {
		t.finish(store.Done)
		return
	}
	n := t.node(i)
	n.Invoke.State = store.StepInvoking
	if t.plan.Nodes[i].Kind == plan.DecisionNode {
		t.setNode(i, n)
		t.command(Evaluate{Node: i})
		return
	}
	t.start(i, n, Invoke)
}

// start enables the next attempt of a phase, now.
func (t *transition) start(i int, n store.Node, phase Phase) {
	p := progress(&n, phase)
	p.Attempts++
	p.RetryAt = time.Time{}
	if p.FirstAt.IsZero() {
		p.FirstAt = t.now
	}
	n.Attempts++
	t.setNode(i, n)
	t.command(StartAttempt{Node: i, Phase: phase, Number: p.Attempts, Ordinal: n.Attempts})
}

// unwind begins, or goes on with, compensation below node i.
func (t *transition) unwind(i int) {
	t.head().State = store.Compensating
	for i--; i >= 0; i-- {
		n := t.node(i)
		step := t.plan.Nodes[i].Step
		if step == nil || !undoable(&n, step) {
			continue
		}
		if step.Compensate == nil {
			n.Compensate.State = store.StepReverted
			t.setNode(i, n)
			continue
		}
		n.Compensate.State = store.StepCompensating
		t.start(i, n, Compensate)
		return
	}
	for j := range t.plan.Nodes {
		if t.node(j).Compensate.State == store.StepFailed {
			t.finish(store.Failed)
			return
		}
	}
	t.finish(store.Reverted)
}

// undoable says that a step has effects that its compensation must see.
func undoable(n *store.Node, step *plan.Step) bool {
	switch n.Invoke.State {
	case store.StepDone:
		return true
	case store.StepFailed, store.StepTimeout:
		return n.Unknown || !step.Policy.CompensateOnlyDone
	}
	return false
}

func (t *transition) finish(s store.ExecutionState) {
	h := t.head()
	h.State = s
	h.FinishedAt = t.now
	if s == store.Done {
		h.Output = t.value(t.plan.Output)
	}
	t.command(Finish{})
}

// value returns what a reference stands for.
func (t *transition) value(ref plan.Ref) []byte {
	if ref == plan.Input {
		return t.x.Input
	}
	return t.node(int(ref)).Output
}

func progress(n *store.Node, phase Phase) *store.Progress {
	if phase == Compensate {
		return &n.Compensate
	}
	return &n.Invoke
}

func attempts(step *plan.Step, phase Phase) *plan.Attempts {
	if phase == Compensate {
		return &step.Policy.Compensate
	}
	return &step.Policy.Invoke
}

// Inputs returns the encoded inputs of a node.
func Inputs(p *plan.Plan, x *store.Execution, node int) [][]byte {
	refs := p.Nodes[node].Inputs
	values := make([][]byte, len(refs))
	for i, ref := range refs {
		if ref == plan.Input {
			values[i] = x.Input
			continue
		}
		values[i] = x.Nodes[ref].Output
	}
	return values
}
