package machine

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/lockstep-dev/lockstep/internal/plan"
	"github.com/lockstep-dev/lockstep/store"
)

// Event is something that happened to an execution.
type Event interface {
	apply(t *transition) error
}

// Begun starts an execution.
type Begun struct{}

func (Begun) apply(t *transition) error {
	if t.x.State != store.NotStarted {
		return errors.New("it has begun already")
	}
	t.head().State = store.Invoking
	t.advance(0)
	return nil
}

// Evaluated answers an [Evaluate] command.
type Evaluated struct {
	Node    int
	Output  []byte
	Failure *store.Failure // nil when there is an output
}

func (e Evaluated) apply(t *transition) error {
	n, err := t.expect(e.Node, plan.DecisionNode, Invoke)
	if err != nil {
		return err
	}
	if e.Failure != nil {
		n.Invoke.State = store.StepFailed
		t.setNode(e.Node, n)
		t.fail(*e.Failure)
		t.unwind(e.Node)
		return nil
	}
	n.Invoke.State, n.Output = store.StepDone, e.Output
	t.setNode(e.Node, n)
	t.advance(e.Node + 1)
	return nil
}

// Succeeded is the good end of an attempt.
type Succeeded struct {
	Node    int
	Phase   Phase
	Output  []byte // of an invoke
	Undo    []byte // of an invoke
	Skipped bool   // the invoke asked to count as not made
}

func (e Succeeded) apply(t *transition) error {
	n, err := t.expect(e.Node, plan.StepNode, e.Phase)
	if err != nil {
		return err
	}
	if e.Phase == Compensate {
		n.Compensate.State = store.StepReverted
		t.setNode(e.Node, n)
		t.unwind(e.Node)
		return nil
	}
	n.Invoke.State, n.Output, n.Undo = store.StepDone, e.Output, e.Undo
	if e.Skipped {
		n.Invoke.State, n.Undo = store.StepSkipped, nil
	}
	t.setNode(e.Node, n)
	if t.head().State == store.WaitingToCompensate {
		t.unwind(e.Node + 1)
		return nil
	}
	t.advance(e.Node + 1)
	return nil
}

// AttemptFailed is the bad end of an attempt.
type AttemptFailed struct {
	Node    int
	Phase   Phase
	Failure store.Failure
	Undo    []byte // kept by an invoke in spite of its error
	// Permanent says that no further attempt is worth making.
	Permanent bool
	// RetryAfter, when it is not nil, is the pause the attempt asked for.
	RetryAfter *time.Duration
	// Unknown says that the body may still be running.
	Unknown bool
	// TimedOut says that the attempt's timeout ended it.
	TimedOut bool
}

func (e AttemptFailed) apply(t *transition) error {
	n, err := t.expect(e.Node, plan.StepNode, e.Phase)
	if err != nil {
		return err
	}
	if e.Phase == Invoke {
		n.Unknown = n.Unknown || e.Unknown
		if e.Undo != nil {
			n.Undo = e.Undo
		}
	}
	if t.retry(e, n) {
		return nil
	}
	t.fail(e.Failure)
	progress(&n, e.Phase).State = store.StepFailed
	if e.TimedOut && e.Phase == Invoke {
		n.Invoke.State = store.StepTimeout
	}
	t.setNode(e.Node, n)
	if e.Phase == Invoke {
		t.unwind(e.Node + 1)
	} else {
		t.unwind(e.Node)
	}
	return nil
}

// retry enables another attempt, now or later, where the policy has one.
func (t *transition) retry(e AttemptFailed, n store.Node) bool {
	if e.Permanent || (e.Phase == Invoke && t.head().State != store.Invoking) {
		return false
	}
	policy, p := attempts(t.plan.Nodes[e.Node].Step, e.Phase), progress(&n, e.Phase)
	pause := policy.PauseAfter(p.Attempts, t.x.RunUID+"/"+strconv.Itoa(e.Node)+"/"+string(e.Phase))
	if e.RetryAfter != nil {
		pause = max(0, *e.RetryAfter)
	}
	at := t.now.Add(pause)
	if !policy.Another(p.Attempts, p.FirstAt, at) {
		return false
	}
	if pause == 0 {
		t.start(e.Node, n, e.Phase)
		return true
	}
	p.RetryAt = at
	t.setNode(e.Node, n)
	t.command(WakeAt{At: at})
	return true
}

// Woken says that time has passed.
type Woken struct{}

func (Woken) apply(t *transition) error { //nolint:unparam // the interface's
	for i := range t.x.Nodes {
		n := t.node(i)
		for _, phase := range []Phase{Invoke, Compensate} {
			if at := progress(&n, phase).RetryAt; !at.IsZero() && !at.After(t.now) {
				t.start(i, n, phase)
				return nil
			}
		}
	}
	return nil
}

// CancelRequested asks to undo what was done.
type CancelRequested struct{}

func (CancelRequested) apply(t *transition) error {
	if t.x.State != store.Invoking {
		return errors.New("it cannot be cancelled")
	}
	t.head().CancelledAt = t.now
	for i := range t.x.Nodes {
		n := t.node(i)
		if n.Invoke.State != store.StepInvoking {
			continue
		}
		if n.Invoke.RetryAt.IsZero() {
			t.head().State = store.WaitingToCompensate
			t.command(CancelAttempt{Node: i})
			return nil
		}
		n.Invoke.State, n.Invoke.RetryAt = store.StepFailed, time.Time{}
		t.setNode(i, n)
		t.unwind(i + 1)
		return nil
	}
	t.unwind(len(t.x.Nodes))
	return nil
}

// expect returns the node an event speaks of, if an event of its kind is due.
func (t *transition) expect(i int, kind plan.Kind, phase Phase) (store.Node, error) {
	if i < 0 || i >= len(t.plan.Nodes) || t.plan.Nodes[i].Kind != kind {
		return store.Node{}, fmt.Errorf("there is no %s %d", kind, i)
	}
	n := t.node(i)
	want := store.StepInvoking
	if phase == Compensate {
		want = store.StepCompensating
	}
	p := progress(&n, phase)
	if p.State != want || !p.RetryAt.IsZero() {
		return store.Node{}, fmt.Errorf("%s of %s is %s, not in flight", phase, strconv.Quote(t.plan.Nodes[i].Path), p.State)
	}
	return n, nil
}
