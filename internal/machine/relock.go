package machine

import (
	"github.com/lockstep-dev/lockstep/internal/plan"
	"github.com/lockstep-dev/lockstep/store"
)

// A guard whose branch is being compensated takes the locks again that it has lost: what
// is in flight goes on, and nothing else in it is started before it has all of them.

// unlocked says that a guard around a place has lost its locks, and waits to have them
// again: nothing in it is started before.
func (t *transition) unlocked(at store.Place) bool {
	for id := at.Frame; id != 0; {
		parent := t.frame(id).Parent
		if n, _ := t.node(parent); n.Invoke.Waits == store.WaitingForLock || n.Compensate.Waits == store.WaitingForLock {
			return true
		}
		id = parent.Frame
	}
	return false
}

// relock has a guard take its locks again under which its branch is being compensated.
func (t *transition) relock(at store.Place, n node, lost []store.Hold) {
	n.Keys = mergeKeys(n.Keys, keysOf(lost)) // those of guards within it that were left are among them
	t.gather(&n)
	n.Compensate.Waits = store.WaitingForLock
	t.queueUndo(at, n)
}

// queueUndo has a guard wait in the queues of its locks, for its branch to be compensated.
func (t *transition) queueUndo(at store.Place, n node) {
	n.Attempts++
	n.Ticket = t.ticket(at, &n, Compensate)
	t.setNode(at, n)
	t.command(Park{at})
}

// relockAround has the guards around a place ask once more that did not get their locks
// while something in them was still being compensated.
func (t *transition) relockAround(at store.Place) {
	for id := at.Frame; id != 0; id = at.Frame {
		at = t.frame(id).Parent
		t.relockOnce(at)
	}
}

func (t *transition) relockOnce(at store.Place) {
	if n, _ := t.node(at); n.Compensate.Waits == store.WaitingForLock && n.Count > 0 && n.Ticket == "" && !t.undoing(n) {
		t.queueUndo(at, n)
	}
}

// undoing says that something within a node is being compensated at this moment.
func (t *transition) undoing(n node) bool {
	for id := range branches(&n) {
		for _, i := range t.sequence(id)[:t.begun(id)] {
			inner, _ := t.node(store.Place{Frame: id, Node: i})
			switch p := inner.Compensate; {
			case p.State != store.StepCompensating:
			case t.plan().Nodes[i].Kind == plan.StepNode && p.Waits == store.NotWaiting, p.Waits == store.WaitingForChild:
				return true
			}
			if t.undoing(inner) {
				return true
			}
		}
	}
	return false
}

// toUndo yields the steps within a node that are being compensated.
func (t *transition) toUndo(n node) func(yield func(store.Place, node) bool) {
	var list []store.Place
	var look func(n node)
	look = func(n node) {
		for id := range branches(&n) {
			for _, i := range t.sequence(id)[:t.begun(id)] {
				at := store.Place{Frame: id, Node: i}
				inner, _ := t.node(at)
				if t.plan().Nodes[i].Kind == plan.StepNode && inner.Compensate.State == store.StepCompensating {
					list = append(list, at)
				}
				look(inner)
			}
		}
	}
	look(n)
	return func(yield func(store.Place, node) bool) {
		for _, at := range list {
			if inner, _ := t.node(at); !yield(at, inner) {
				return
			}
		}
	}
}

// resumeIn starts what has waited for a guard to have its locks again.
func (t *transition) resumeIn(n node) {
	for at, step := range t.toUndo(n) {
		if step.Compensate.Waits != store.WaitingForLock {
			continue
		}
		if step.Compensate.Suspect && !t.unlocked(at) {
			step.Compensate.Suspect, step.Compensate.Waits = false, store.WaitingForTurn
			t.setNode(at, step)
			t.command(AwaitTurn{at, Compensate})
			continue
		}
		t.start(at, step, Compensate)
	}
}

// closeFrames ends the frames within a node that are left in the midst of being
// compensated. Who resumes the execution begins with them anew.
func (t *transition) closeFrames(n node) {
	for id := range branches(&n) {
		for _, i := range t.sequence(id)[:t.begun(id)] {
			inner, _ := t.node(store.Place{Frame: id, Node: i})
			t.closeFrames(inner)
		}
		if f := t.frame(id); f.State == store.FrameUnwinding {
			f.State = store.FrameUndone
			t.setFrame(id, f)
		}
	}
}
