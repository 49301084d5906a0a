package machine

import (
	"errors"

	"github.com/lockstep-dev/lockstep/internal/plan"
	"github.com/lockstep-dev/lockstep/store"
)

// ErrEarly is matched by the error for a message whose time has not come: it stays in
// the inbox, and is tried again after each change.
var ErrEarly = errors.New("machine: the message comes early")

// ErrMisfit is matched by the error for a message that fits nothing, and never will.
var ErrMisfit = errors.New("machine: the message fits nothing")

// Delivered is a message from outside.
type Delivered struct{ store.Event }

func (e Delivered) apply(t *transition) error {
	switch e.Kind {
	case store.Cancel:
		return t.cancelled()
	case store.Revert:
		return t.revert()
	case store.Resume:
		return t.resume()
	case store.ChildEnded:
		return t.childEnded(e.Event)
	case store.CompleteStep, store.FailStep:
		return t.outside(e.Event)
	case store.TaskEnded:
		return t.taskEnded(e.Event)
	}
	return ErrMisfit
}

// cancelled asks to undo what was done.
func (t *transition) cancelled() error {
	switch t.head().State {
	case store.Invoking:
		t.head().CancelledAt = t.now
		t.turn(Cancelled)
		return nil
	case store.NotStarted:
		return ErrEarly
	}
	return ErrMisfit
}

// revert is a parent's wish to undo what was done, also when all is done.
func (t *transition) revert() error {
	switch t.head().State {
	case store.Done:
		t.head().CancelledAt, t.head().FinishedAt, t.head().Output = t.now, zero, nil
		t.head().ForgetAt = zero
		t.head().State = store.WaitingToCompensate
		t.turned()
		return nil
	case store.Reverted, store.Failed:
		// It has ended so by itself, and its answer is on the way; or the parent tries
		// again.
		if t.head().State == store.Failed {
			return t.resume()
		}
		t.errand(store.Errand{Kind: store.AnswerParent, Place: t.s.Parent.Place, Target: t.s.Parent.Key})
		return nil
	case store.Invoking:
		return t.cancelled()
	}
	return ErrMisfit // it is being undone
}

// resume tries failed compensations again (I6).
func (t *transition) resume() error {
	if t.head().State != store.Failed {
		return ErrMisfit
	}
	t.head().State, t.head().FinishedAt = store.Compensating, zero
	for i := range t.head().Frames {
		id := store.FrameID(i)
		if f := t.frame(id); f.State == store.FrameUndone {
			f.State = store.FrameDone
			t.setFrame(id, f)
		}
	}
	t.climb(0, t.begun(0)-1)
	return nil
}

// outside is the result of an asynchronous step.
func (t *transition) outside(e store.Event) error {
	at, begun := t.s.Find(e.Path, e.Items)
	switch {
	case t.head().State != store.Invoking && t.head().State != store.NotStarted:
		return ErrMisfit
	case !begun:
		return ErrEarly
	}
	n, _ := t.node(at)
	step := t.plan().Nodes[at.Node].Step
	switch {
	case step == nil || !step.Asynchronous:
		return ErrMisfit
	case n.Invoke.State == store.StepInvoking && n.Invoke.Waits != store.WaitingOutside:
		return ErrEarly
	case n.Invoke.State != store.StepInvoking:
		return ErrMisfit
	}
	n.Invoke.Waits, n.Invoke.DueAt = store.NotWaiting, zero
	if e.Kind == store.CompleteStep {
		n.Invoke.State, n.Output = store.StepDone, e.Output
		if n.Undo == nil {
			n.Undo = e.Output
		}
		t.setNode(at, n)
		t.behind(at)
		return nil
	}
	failed := AttemptFailed{Place: at, Phase: Invoke, Permanent: e.Permanent, counts: true}
	if len(e.Failures) > 0 {
		failed.Failure = e.Failures[0]
	}
	failed.Failure.Path, failed.Failure.Phase, failed.Failure.Attempt = t.s.Path(at), string(Invoke), n.Invoke.Attempts
	t.attemptFailed(failed, n)
	return nil
}

// child names the execution that a node has called.
func (t *transition) child(at store.Place, n *node) store.Key {
	return store.Key{Workflow: t.plan().Nodes[at.Node].Call.Workflow, ID: n.Child}
}

// childEnded is how a child has ended, or ended again after it was reverted.
func (t *transition) childEnded(e store.Event) error {
	n, err := t.expect(e.Place, plan.CallNode)
	if err != nil {
		return ErrMisfit
	}
	if e.Revision <= n.Heard {
		return ErrMisfit // it was told before
	}
	n.Heard = e.Revision
	if n.Compensate.State == store.StepCompensating {
		return t.childUndone(e, n)
	}
	if n.Invoke.State != store.StepInvoking || !e.State.Finished() {
		return ErrMisfit
	}
	turned := t.head().State != store.Invoking
	if e.State == store.Done && turned {
		return ErrMisfit // it was asked to revert, and answers again
	}
	n.Invoke.Waits = store.NotWaiting
	if e.State == store.Done {
		n.Invoke.State, n.Output = store.StepDone, e.Output
		t.setNode(e.Place, n)
		t.behind(e.Place)
		return nil
	}
	n.Invoke.State = store.StepFailed
	if e.State == store.Failed {
		n.Compensate.State = store.StepFailed
	}
	t.setNode(e.Place, n)
	if turned {
		if e.State == store.Failed {
			t.d.failures = append(t.d.failures, t.childFailure(e))
		}
		t.turned()
		return nil
	}
	t.fail(t.childFailure(e), Failed)
	return nil
}

func (t *transition) childUndone(e store.Event, n node) error {
	switch e.State {
	case store.Reverted:
		n.Compensate = store.Progress{State: store.StepReverted}
		t.setNode(e.Place, n)
	case store.Failed:
		n.Compensate = store.Progress{State: store.StepFailed}
		t.setNode(e.Place, n)
		f := t.childFailure(e)
		f.Phase = string(Compensate)
		t.d.failures = append(t.d.failures, f)
	default:
		return ErrMisfit
	}
	t.below(e.Place)
	t.relockAround(e.Place)
	return nil
}

// childFailure tells of a child's errors: its message names them all, its chain has
// those that can be matched.
func (t *transition) childFailure(e store.Event) store.Failure {
	f := store.Failure{Path: t.plan().Nodes[e.Place.Node].Path, Phase: string(Invoke), Attempt: 1}
	f.Message = "workflow: child is " + string(e.State)
	for i := range e.Failures {
		f.Message += "\n\t" + e.Failures[i].Path + ": " + e.Failures[i].Message
		f.Chain = append(f.Chain, e.Failures[i].Chain...)
	}
	return f
}

// forgetChildren lets the children of an execution go that has ended.
func (t *transition) forgetChildren() {
	calls := false
	for i := range t.plan().Nodes {
		calls = calls || t.plan().Nodes[i].Kind == plan.CallNode
	}
	if !calls {
		return
	}
	for i := range t.head().Frames {
		id := store.FrameID(i)
		for _, at := range t.sequence(id)[:t.begun(id)] {
			place := store.Place{Frame: id, Node: at}
			if n, _ := t.node(place); n.Child != "" && t.plan().Nodes[at].Kind == plan.CallNode {
				t.errand(store.Errand{Kind: store.ForgetChild, Place: place, Target: t.child(place, &n)})
			}
		}
	}
}
