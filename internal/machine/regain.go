package machine

import (
	"github.com/lockstep-dev/lockstep/internal/plan"
	"github.com/lockstep-dev/lockstep/store"
)

// A guard that takes its locks again when it has lost one goes through three states,
// each of which its record shows and a new owner goes on from:
//
//  1. Its attempts in flight are told to end, and awaited. It waits for locks without a
//     ticket, and keeps what it has: bodies that still run may work under that.
//  2. Nothing in it is in flight any more. What it had is given back, and all of it is
//     asked for again, by a new ticket.
//  3. It has all of its locks. What was to begin meanwhile begins now; attempts that
//     came to nothing are made again, which their policy does not count.
//
// In the first two nothing in it begins. What waits for the time, for somebody outside
// or for a child goes on waiting. An attempt that succeeds in spite of all counts, and
// where it was the last one the guard is left without having its locks again.

// unheld says that a guard has lost a lock and waits to have all of them again, to go
// forward.
func unheld(n *store.Node) bool { return n.Count > 0 && n.Invoke.Waits == store.WaitingForLock }

// fragile says that the execution turns round when the guard loses a lock.
func (t *transition) fragile(at store.Place) bool {
	n, _ := t.node(at)
	return len(n.Holds) > 0 && !unheld(&n.Node) && !t.plan().Nodes[at.Node].Guard.Reacquire
}

// suspend has guards take their locks again.
func (t *transition) suspend(places []store.Place) {
	for _, at := range places {
		n, _ := t.node(at)
		if len(n.Holds) == 0 || unheld(&n.Node) {
			continue
		}
		n.Invoke.Waits = store.WaitingForLock
		t.setNode(at, n)
		t.interrupt(n)
	}
	for _, at := range places {
		t.regain(at)
	}
}

// interrupt ends the attempts within a node, and takes the guards within it out of their
// queues: what one of them would get it would have while the guard around it waits, and
// so could be in a deadlock that nobody sees.
func (t *transition) interrupt(n node) {
	for at, inner := range t.last(n) {
		switch kind := t.plan().Nodes[at.Node].Kind; {
		case kind == plan.StepNode && inner.Invoke.Waits == store.NotWaiting:
			t.command(CancelAttempt{at, LockLost})
		case kind == plan.GuardNode && inner.Ticket != "":
			t.unpark(at, &inner)
			inner.Invoke.DueAt = zero
			t.setNode(at, inner)
		}
	}
}

// last yields what is at work within a node, going forward, the outer ones first: only
// the last node of a frame can be.
func (t *transition) last(n node) func(yield func(store.Place, node) bool) {
	var list []store.Place
	var look func(n node)
	look = func(n node) {
		for id := range branches(&n) {
			pos := t.begun(id) - 1
			if t.frame(id).State != store.FrameRunning || pos < 0 {
				continue
			}
			at := store.Place{Frame: id, Node: t.sequence(id)[pos]}
			if inner, _ := t.node(at); inner.Invoke.State == store.StepInvoking {
				list = append(list, at)
				look(inner)
			}
		}
	}
	look(n)
	return func(yield func(store.Place, node) bool) {
		for _, at := range list {
			if inner, _ := t.node(at); inner.Invoke.State == store.StepInvoking && !yield(at, inner) {
				return
			}
		}
	}
}

// hold has a node begin once the guards around it have their locks again.
func (t *transition) hold(at store.Place, n node) {
	n.Invoke.Waits = store.WaitingForLock
	t.setNode(at, n)
}

// regain asks for the locks of a guard that has lost some, once nothing in it is in
// flight and the guards around it have theirs.
func (t *transition) regain(at store.Place) {
	n, _ := t.node(at)
	if t.head().State != store.Invoking || !unheld(&n.Node) || n.Ticket != "" || t.unlocked(at) {
		return
	}
	for inner, rec := range t.last(n) {
		if t.plan().Nodes[inner.Node].Kind == plan.StepNode && rec.Invoke.Waits == store.NotWaiting {
			return
		}
	}
	if len(n.Holds) > 0 {
		t.errand(store.Errand{Kind: store.ReleaseLocks, Place: at, Holds: n.Holds})
		n.Keys = mergeKeys(n.Keys, keysOf(n.Holds)) // those of guards within it that were left are among them
		n.Holds = nil
	}
	t.queue(at, n)
}

// regainAround is [transition.regain] for the guards around an attempt that has landed.
func (t *transition) regainAround(at store.Place) {
	for id := at.Frame; id != 0 && t.unheld > 0; {
		at = t.frame(id).Parent
		t.regain(at)
		id = at.Frame
	}
}

// regainAll is [transition.regain] for all guards.
func (t *transition) regainAll() {
	for i := 0; i < int(t.head().Frames) && t.unheld > 0; i++ {
		id := store.FrameID(i)
		for _, node := range t.sequence(id)[:t.begun(id)] {
			t.regain(store.Place{Frame: id, Node: node})
		}
	}
}

// goOn begins what has waited within a guard for it to have its locks again.
func (t *transition) goOn(n node) {
	for at, inner := range t.last(n) {
		if inner.Invoke.Waits != store.WaitingForLock || t.unlocked(at) {
			continue
		}
		switch kind := t.plan().Nodes[at.Node].Kind; {
		case inner.Count > 0:
			t.regain(at)
		case inner.Attempts == 0:
			t.advance(at.Frame, t.plan().Nodes[at.Node].Position)
		case kind == plan.GuardNode:
			t.queue(at, inner)
		case inner.Invoke.Suspect:
			inner.Invoke.Suspect, inner.Invoke.Waits = false, store.WaitingForTurn
			t.setNode(at, inner)
			t.command(AwaitTurn{at, Invoke})
		default:
			t.start(at, inner, Invoke)
		}
	}
}

// giveUp ends the wait of a guard to have its locks again, and gives back what it has.
func (t *transition) giveUp(at store.Place, n *node) {
	if !unheld(&n.Node) {
		return
	}
	t.unpark(at, n)
	n.Invoke.Waits, n.Invoke.DueAt = store.NotWaiting, zero
	if len(n.Holds) > 0 {
		t.errand(store.Errand{Kind: store.ReleaseLocks, Place: at, Holds: n.Holds})
		n.Holds = nil
	}
}
