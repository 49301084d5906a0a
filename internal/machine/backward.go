package machine

import (
	"github.com/lockstep-dev/lockstep/internal/plan"
	"github.com/lockstep-dev/lockstep/store"
)

// fail records an error of a node, and turns the execution round.
func (t *transition) fail(f store.Failure, cause CancelCause) {
	t.d.failures = append(t.d.failures, f)
	t.turn(cause)
}

// turn ends what goes forward (I4). Compensation begins once nothing is in flight.
func (t *transition) turn(cause CancelCause) {
	if t.head().State == store.Invoking {
		t.head().State = store.WaitingToCompensate
		t.stop(0, cause)
	}
	t.turned()
}

// turned begins compensation when nothing is in flight any more.
func (t *transition) turned() {
	if t.head().State == store.WaitingToCompensate && t.busy == 0 {
		t.head().State = store.Compensating
		t.climb(0, t.begun(0)-1)
	}
}

// stop ends what goes forward in a frame: only its last node can be at work.
func (t *transition) stop(id store.FrameID, cause CancelCause) {
	if t.frame(id).State != store.FrameRunning {
		return
	}
	pos := t.begun(id) - 1
	if pos < 0 {
		return
	}
	at := store.Place{Frame: id, Node: t.sequence(id)[pos]}
	n, _ := t.node(at)
	if n.Invoke.State != store.StepInvoking {
		return
	}
	if n.Count > 0 {
		if unheld(&n.Node) {
			t.giveUp(at, &n)
			t.setNode(at, n)
		}
		for child := range branches(&n) {
			t.stop(child, cause)
		}
		return
	}
	t.stopNode(at, n, cause)
}

func (t *transition) stopNode(at store.Place, n node, cause CancelCause) {
	switch t.plan().Nodes[at.Node].Kind {
	case plan.StepNode:
		switch n.Invoke.Waits {
		case store.NotWaiting:
			t.command(CancelAttempt{at, cause})
			return
		case store.WaitingForQueue:
			t.stopQueued(at, n, cause)
			return
		case store.WaitingOutside, store.WaitingForTurn:
			n.Unknown = true
		}
		if n.Invoke.State = store.StepFailed; n.Attempts == 0 {
			n.Invoke.State = store.StepSkipped // it was not begun
		}
	case plan.CallNode:
		if n.Invoke.Waits == store.WaitingForLock {
			n.Invoke.State = store.StepSkipped // so is this
			break
		}
		t.errand(store.Errand{Kind: store.RevertChild, Place: at, Target: t.child(at, &n)})
		return
	case plan.GuardNode:
		t.unpark(at, &n)
		n.Invoke.State = store.StepFailed
	default:
		n.Invoke.State = store.StepSkipped
	}
	n.Invoke.Waits, n.Invoke.DueAt = store.NotWaiting, zero
	t.setNode(at, n)
}

// climb compensates a frame from a position downwards, and when that is done goes on
// with what is around it, as far as nothing has to be waited for (I5).
func (t *transition) climb(id store.FrameID, pos int) {
	for t.unwindFrom(id, pos) {
		if id == 0 {
			t.reverted()
			return
		}
		at := t.frame(id).Parent
		n, _ := t.node(at)
		n.open--
		t.setCounts(at, n)
		if n.open += t.unwindMore(at); n.open > 0 {
			return
		}
		t.undone(at)
		id, pos = at.Frame, t.plan().Nodes[at.Node].Position-1
	}
}

// unwindFrom compensates the nodes of a frame from a position downwards. It answers
// false when it has to wait.
func (t *transition) unwindFrom(id store.FrameID, pos int) (done bool) {
	nodes := t.sequence(id)
	f := t.frame(id)
	if f.State != store.FrameUnwinding {
		f.State = store.FrameUnwinding
		t.setFrame(id, f)
	}
	for ; pos >= 0; pos-- {
		if !t.undo(store.Place{Frame: id, Node: nodes[pos]}) {
			return false
		}
	}
	f = t.frame(id)
	f.State = store.FrameUndone
	t.setFrame(id, f)
	return true
}

// undo compensates a node. It answers false when that has to be waited for.
func (t *transition) undo(at store.Place) (done bool) {
	n, _ := t.node(at)
	pn := &t.plan().Nodes[at.Node]
	switch pn.Kind {
	case plan.StepNode:
		return t.undoStep(at, n, pn.Step)
	case plan.CallNode:
		return t.undoCall(at, n)
	case plan.GuardNode:
		if !t.undoGuard(at, n) {
			return false
		}
	}
	if n.Count == 0 {
		return true
	}
	return t.unwindBranches(at)
}

func (t *transition) undoStep(at store.Place, n node, step *plan.Step) (done bool) {
	if n.Compensate.State == store.StepReverted || !undoable(&n.Node, step) {
		return true
	}
	if step.Compensate == nil {
		n.Compensate.State = store.StepReverted
		t.setNode(at, n)
		return true
	}
	// One that has failed before is tried again from the start (I6).
	n.Compensate = store.Progress{State: store.StepCompensating}
	t.start(at, n, Compensate)
	return false
}

// undoable says that a step has effects that its compensation must see.
func undoable(n *store.Node, step *plan.Step) bool {
	switch n.Invoke.State {
	case store.StepDone:
		return true
	case store.StepFailed, store.StepTimeout:
		return n.Unknown || !step.Policy.CompensateOnlyDone
	case store.StepSkipped:
		return n.Unknown // an earlier attempt may have had its effect
	}
	return false
}

func (t *transition) undoCall(at store.Place, n node) (done bool) {
	switch {
	case n.Invoke.State == store.StepDone && n.Compensate.State != store.StepReverted:
	case n.Compensate.State == store.StepFailed:
	default:
		return true
	}
	n.Compensate = store.Progress{State: store.StepCompensating, Attempts: 1, FirstAt: t.now, Waits: store.WaitingForChild}
	t.setNode(at, n)
	t.errand(store.Errand{Kind: store.RevertChild, Place: at, Target: t.child(at, &n)})
	return false
}

// unwindBranches compensates the frames of a node, as many at once as ran at once,
// the last ones first.
func (t *transition) unwindBranches(at store.Place) (done bool) {
	n, _ := t.node(at)
	n.open = 0
	n.next = n.Count
	n.Compensate = store.Progress{State: store.StepCompensating}
	t.setNode(at, n)
	if t.unwindMore(at) > 0 {
		return false
	}
	t.undone(at)
	return true
}

// unwindMore begins to compensate frames of a node, up to its limit, and returns how
// many of these have to be waited for.
func (t *transition) unwindMore(at store.Place) (waiting int) {
	limit := t.plan().Nodes[at.Node].Limit
	for {
		n, _ := t.node(at)
		if n.next == 0 || (limit > 0 && n.open >= limit) {
			return waiting
		}
		n.next--
		t.setCounts(at, n)
		id := n.First + store.FrameID(n.next)
		if t.frame(id).State == store.FrameWaiting || t.unwindFrom(id, t.begun(id)-1) {
			continue
		}
		n, _ = t.node(at)
		n.open++
		t.setCounts(at, n)
		waiting++
	}
}

// undone notes that the frames of a node have been compensated.
func (t *transition) undone(at store.Place) {
	n, _ := t.node(at)
	n.Compensate = store.Progress{State: store.StepReverted}
	if t.plan().Nodes[at.Node].Kind == plan.GuardNode {
		t.leaveUndone(at, &n)
	}
	t.setNode(at, n)
}

// below goes on compensating below a node.
func (t *transition) below(at store.Place) {
	t.climb(at.Frame, t.plan().Nodes[at.Node].Position-1)
}

func (t *transition) reverted() {
	if t.broken > 0 {
		t.finish(store.Failed)
		return
	}
	t.finish(store.Reverted)
}
