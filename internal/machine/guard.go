package machine

import (
	"slices"

	"github.com/lockstep-dev/lockstep/internal/plan"
	"github.com/lockstep-dev/lockstep/store"
)

// A guard takes its locks, runs its branch, and gives them back when it is left. What
// a guard within another one took stays until the outermost is left, so that whatever
// happens in the outer one can be compensated under the same locks (I5).

// park has a guard wait for its locks. Those that a guard around it has are there
// already: the one who takes locks for the execution sees to that.
func (t *transition) park(at store.Place, n node, keys []string) {
	n.Keys = keys
	n.Invoke.Attempts, n.Invoke.FirstAt, n.Invoke.Waits = 1, t.now, store.WaitingForLock
	t.queue(at, n)
}

// queue has a guard that goes forward wait in the queues of its locks.
func (t *transition) queue(at store.Place, n node) {
	n.Ticket = t.ticket(at, &n, Invoke)
	n.Attempts++
	if most := t.plan().Nodes[at.Node].Guard.MaxWait; most > 0 {
		n.Invoke.DueAt = t.now.Add(most)
	}
	t.setNode(at, n)
	t.command(Park{at})
}

// ticket names the wait of a guard, in each phase another one.
func (t *transition) ticket(at store.Place, n *node, phase Phase) string {
	return t.s.RunUID + "/" + t.key(at) + "/" + string(phase) + "/" + decimal(n.Attempts)
}

// unpark takes a guard out of the queues that it waits in.
func (t *transition) unpark(at store.Place, n *node) {
	if n.Ticket == "" {
		return
	}
	t.errand(store.Errand{
		Kind: store.CancelTicket, Place: at, Ticket: n.Ticket, Provider: t.plan().Nodes[at.Node].Guard.Provider,
	})
	n.Ticket = ""
}

// granted goes on with a guard that has its locks.
func (t *transition) granted(at store.Place, n node, holds []store.Hold) {
	n.Holds, n.Ticket = holds, ""
	if n.Compensate.State == store.StepCompensating {
		n.Compensate.Waits = store.NotWaiting
		t.setNode(at, n)
		switch {
		case t.frame(n.First).State == store.FrameUnwinding:
			t.resumeIn(n)
		case t.unwindBranches(at):
			t.below(at)
		}
		return
	}
	n.Invoke.Waits, n.Invoke.DueAt = store.NotWaiting, zero
	if n.Count > 0 {
		t.setNode(at, n)
		t.goOn(n)
		return
	}
	t.open(at, &n, t.plan().Nodes[at.Node].Branches, nil)
	t.begin(at, n)
}

// around returns the outermost guard around a place, in the place's own phase.
func (t *transition) around(at store.Place) (outermost store.Place, ok bool) {
	for id := at.Frame; id != 0; {
		parent := t.frame(id).Parent
		if t.plan().Nodes[parent.Node].Kind == plan.GuardNode {
			outermost, ok = parent, true
		}
		id = parent.Frame
	}
	return outermost, ok
}

// leaveGuard gives the locks of a guard to the outermost one around it, or back.
func (t *transition) leaveGuard(at store.Place, n *node) {
	if len(n.Holds) == 0 {
		return
	}
	outer, ok := t.around(at)
	o, _ := t.node(outer)
	if ok && o.Ticket == "" { // one that waits for its own locks takes none: it gets all of them at once
		o.Holds = append(slices.Clip(o.Holds), n.Holds...)
		t.setNode(outer, o)
		t.askAnew(o, keysOf(n.Holds))
	} else {
		t.errand(store.Errand{Kind: store.ReleaseLocks, Place: at, Holds: n.Holds})
	}
	n.Holds = nil
}

// askAnew has the guards within a node that wait for one of the keys, which the guard
// around them has got, wait for what is left: nobody would ever offer them their own.
func (t *transition) askAnew(n node, keys []string) {
	for id := range branches(&n) {
		first := 0
		switch t.frame(id).State {
		case store.FrameRunning:
			first = max(0, t.begun(id)-1) // only its last node can be at work
		case store.FrameUnwinding:
		default:
			continue
		}
		for _, i := range t.sequence(id)[first:t.begun(id)] {
			at := store.Place{Frame: id, Node: i}
			inner, _ := t.node(at)
			if inner.Ticket != "" && slices.ContainsFunc(keys, func(k string) bool { return slices.Contains(inner.Keys, k) }) {
				phase := Invoke
				if inner.Compensate.State == store.StepCompensating {
					phase = Compensate
				}
				t.unpark(at, &inner)
				inner.Attempts++
				inner.Ticket = t.ticket(at, &inner, phase)
				t.setNode(at, inner)
				t.command(Park{at})
			}
			t.askAnew(inner, keys)
		}
	}
}

// leaveUndone is [transition.leaveGuard] for a guard whose branch has been
// compensated.
func (t *transition) leaveUndone(at store.Place, n *node) {
	t.unpark(at, n) // what was in flight when its locks were lost was the last of it
	t.leaveGuard(at, n)
}

// undoGuard sees to the locks under which the branch of a guard is compensated. It
// answers false when they have to be waited for.
func (t *transition) undoGuard(at store.Place, n node) (ready bool) {
	if n.Count == 0 {
		return true // it never had its locks
	}
	_, inside := t.around(at)
	if inside && n.Invoke.State == store.StepDone {
		return true // the outermost guard has seen to its keys too
	}
	keys, effects := t.inside(n)
	keys = mergeKeys(n.Keys, keys)
	if !effects || (inside || len(n.Holds) > 0) && t.covered(at, n, keys) {
		return true
	}
	if len(n.Holds) > 0 { // a guard within it has lost its own
		t.errand(store.Errand{Kind: store.ReleaseLocks, Place: at, Holds: n.Holds})
		n.Keys = mergeKeys(n.Keys, keysOf(n.Holds))
		n.Holds = nil
	}
	t.gather(&n)
	n.Compensate = store.Progress{State: store.StepCompensating, Attempts: 1, FirstAt: t.now, Waits: store.WaitingForLock}
	t.queueUndo(at, n)
	return false
}

// gather has a guard ask for the keys of all guards within it. Those that have locks give
// them back: who waits for some while he has others may be in a deadlock, of which nobody
// is to be the victim.
func (t *transition) gather(n *node) {
	t.strip(*n)
	keys, _ := t.inside(*n)
	n.Keys = mergeKeys(n.Keys, keys)
}

// strip gives back what the guards within a node have.
func (t *transition) strip(n node) {
	for id := range branches(&n) {
		for _, i := range t.sequence(id)[:t.begun(id)] {
			at := store.Place{Frame: id, Node: i}
			inner, _ := t.node(at)
			if len(inner.Holds) > 0 {
				t.errand(store.Errand{Kind: store.ReleaseLocks, Place: at, Holds: inner.Holds})
				inner.Keys, inner.Holds = mergeKeys(inner.Keys, keysOf(inner.Holds)), nil
				t.setNode(at, inner)
			}
			t.strip(inner)
		}
	}
}

// covered says that a guard has all the keys, or what is around it.
func (t *transition) covered(at store.Place, n node, keys []string) bool {
	keys = uncovered(keys, n.Holds)
	for id := at.Frame; ; {
		f := t.frame(id)
		if keys = uncovered(keys, f.Holds); len(keys) == 0 || id == 0 {
			return len(keys) == 0
		}
		outer, _ := t.node(f.Parent)
		keys, id = uncovered(keys, outer.Holds), f.Parent.Frame
	}
}

// uncovered returns the keys that are not among the holds.
func uncovered(keys []string, holds []store.Hold) []string {
	return slices.DeleteFunc(slices.Clone(keys), func(k string) bool {
		return slices.ContainsFunc(holds, func(h store.Hold) bool { return h.Key == k })
	})
}

func keysOf(holds []store.Hold) (keys []string) {
	for _, h := range holds {
		keys = append(keys, h.Key)
	}
	return keys
}

// inside collects the keys of the guards within a node that nothing in there has, and
// says whether anything in it has to be compensated by a body.
func (t *transition) inside(n node) (keys []string, effects bool) {
	for id := range branches(&n) {
		nodes := t.sequence(id)
		var within []string
		for _, i := range nodes[:t.begun(id)] {
			inner, _ := t.node(store.Place{Frame: id, Node: i})
			pn := &t.plan().Nodes[i]
			switch {
			case pn.Kind == plan.StepNode:
				effects = effects || (pn.Step.Compensate != nil && inner.Compensate.State != store.StepReverted && undoable(&inner.Node, pn.Step))
			case pn.Kind == plan.CallNode:
				effects = effects || inner.Invoke.State == store.StepDone
			case pn.Kind == plan.GuardNode && inner.Count > 0 && len(inner.Holds) == 0: // else it has them still
				within = append(within, inner.Keys...)
			}
			more, has := t.inside(inner)
			within, effects = append(within, uncovered(more, inner.Holds)...), effects || has
		}
		keys = append(keys, uncovered(within, t.frame(id).Holds)...)
	}
	return keys, effects
}

func mergeKeys(a, b []string) []string {
	all := append(slices.Clone(a), b...)
	slices.Sort(all)
	return slices.Compact(all)
}

// Granted says that a guard has its locks.
type Granted struct {
	Place store.Place
	Holds []store.Hold
}

func (e Granted) apply(t *transition) error {
	n, err := t.expectParked(e.Place)
	if err != nil {
		return err
	}
	t.granted(e.Place, n, e.Holds)
	return nil
}

// LockFailed says that a guard cannot have its locks.
type LockFailed struct {
	Place   store.Place
	Failure store.Failure
}

func (e LockFailed) apply(t *transition) error {
	n, err := t.expectParked(e.Place)
	if err != nil {
		return err
	}
	n.Ticket = ""
	switch {
	case n.Compensate.State == store.StepCompensating && t.undoing(n):
		t.setNode(e.Place, n) // it asks once more when that has landed
		return nil
	case n.Compensate.State == store.StepCompensating:
		// What it guards cannot be compensated under its locks, and is not without.
		t.d.failures = append(t.d.failures, e.Failure)
		for at, step := range t.toUndo(n) {
			step.Compensate = store.Progress{State: store.StepFailed}
			t.setNode(at, step)
		}
		n.Compensate = store.Progress{State: store.StepFailed}
		t.setNode(e.Place, n)
		t.closeFrames(n)
		t.below(e.Place)
		return nil
	}
	n.Invoke.Waits, n.Invoke.DueAt = store.NotWaiting, zero
	if n.Count == 0 { // else what is in it ends first
		n.Invoke.State = store.StepFailed
	}
	t.setNode(e.Place, n)
	t.fail(e.Failure, Failed)
	return nil
}

func (t *transition) expectParked(at store.Place) (node, error) {
	n, err := t.expect(at, plan.GuardNode)
	if err != nil {
		return n, err
	}
	if n.Ticket == "" || n.Invoke.Waits != store.WaitingForLock && n.Compensate.Waits != store.WaitingForLock {
		return n, t.notDue(at, "it waits for no lock")
	}
	return n, nil
}

// LocksLost says that somebody else may have had a lock of a guard since it was taken.
type LocksLost struct {
	Place   store.Place
	Failure store.Failure
	// Others are guards that have lost one with it.
	Others []store.Place
	// Final says that one of the locks is not to be taken again to go forward: it was
	// taken by force, or held as long as it may be.
	Final bool
}

func (e LocksLost) apply(t *transition) error {
	n, err := t.expect(e.Place, plan.GuardNode)
	if err != nil {
		return err
	}
	if len(n.Holds) == 0 {
		return t.notDue(e.Place, "it has no locks")
	}
	// All of them are without their locks before anything follows from that: the branch
	// of the outermost is compensated under locks that are taken together.
	places := append([]store.Place{e.Place}, e.Others...)
	if !e.Final && t.head().State == store.Invoking && !slices.ContainsFunc(places, t.fragile) {
		t.suspend(places)
		return nil
	}
	forward := false
	for _, at := range places {
		forward = t.lose(at) || forward
	}
	if forward {
		t.fail(e.Failure, LockLost)
	}
	return nil
}

// lose gives back what is left of a guard's locks. It answers true for one whose branch
// is not being compensated.
func (t *transition) lose(at store.Place) (forward bool) {
	n, _ := t.node(at)
	if len(n.Holds) == 0 {
		return false
	}
	if n.Compensate.State == store.StepCompensating {
		t.errand(store.Errand{Kind: store.ReleaseLocks, Place: at, Holds: n.Holds})
		lost := n.Holds
		n.Holds = nil
		t.relock(at, n, lost)
		return false
	}
	t.giveUp(at, &n)
	if len(n.Holds) > 0 {
		t.errand(store.Errand{Kind: store.ReleaseLocks, Place: at, Holds: n.Holds})
		n.Holds = nil
	}
	t.setNode(at, n)
	return true
}

// RenewedHolds says that a new owner has taken over the locks of a guard, under new
// tokens.
type RenewedHolds struct {
	Place store.Place
	Holds []store.Hold
}

func (e RenewedHolds) apply(t *transition) error {
	n, err := t.expect(e.Place, plan.GuardNode)
	if err != nil {
		return err
	}
	n.Holds = e.Holds
	for _, h := range e.Holds { // what is asked for after this comes after this
		n.Attempts = max(n.Attempts, h.Attempt)
	}
	t.setNode(e.Place, n)
	return nil
}
