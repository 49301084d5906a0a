package machine

import (
	"github.com/lockstep-dev/lockstep/internal/plan"
	"github.com/lockstep-dev/lockstep/store"
)

// open adds the frames of a node's branches. Item gives each its item, where there
// are any.
func (t *transition) open(at store.Place, n *node, sequences []int, items [][]byte) {
	count := max(len(sequences), len(items))
	n.First, n.Count = store.FrameID(t.head().Frames), count
	for i := range count {
		f := store.Frame{Parent: at, Branch: i}
		if items != nil {
			f.Sequence, f.Item = sequences[0], items[i]
		} else {
			f.Sequence = sequences[i]
		}
		t.setFrame(n.First+store.FrameID(i), f)
	}
	t.head().Frames += uint32(count)
}

// begin lets the frames of a node begin, up to its limit.
func (t *transition) begin(at store.Place, n node) {
	n.Invoke.State = store.StepInvoking
	first, most := n.next, n.Count
	if limit := t.plan().Nodes[at.Node].Limit; limit > 0 {
		most = min(most, n.next+limit-n.open)
	}
	n.open += most - n.next
	n.next = most
	t.setNode(at, n)
	for i := first; i < most; i++ {
		id := n.First + store.FrameID(i)
		f := t.frame(id)
		f.State = store.FrameRunning
		t.setFrame(id, f)
	}
	for i := first; i < most && t.head().State == store.Invoking; i++ {
		t.advance(n.First+store.FrameID(i), 0)
	}
}

// advance goes on with a frame at a position, or ends it behind its last node.
func (t *transition) advance(id store.FrameID, pos int) {
	nodes := t.sequence(id)
	if pos == len(nodes) {
		t.endFrame(id)
		return
	}
	at := store.Place{Frame: id, Node: nodes[pos]}
	var n node
	n.Invoke.State = store.StepInvoking
	if t.unheld > 0 && t.unlocked(at) {
		t.hold(at, n)
		return
	}
	switch pn := &t.plan().Nodes[at.Node]; {
	case pn.Decide != nil:
		t.setNode(at, n)
		t.command(Evaluate{at})
	case pn.Kind == plan.ParallelNode:
		t.open(at, &n, pn.Branches, nil)
		t.begin(at, n)
	case pn.Kind == plan.CallNode:
		t.call(at, n, value(t, id, pn.Inputs[0]))
	default:
		t.start(at, n, Invoke)
	}
}

// endFrame notes that a frame has come to its end.
func (t *transition) endFrame(id store.FrameID) {
	f := t.frame(id)
	f.State = store.FrameDone
	t.setFrame(id, f)
	if id == 0 {
		t.finish(store.Done)
		return
	}
	n, _ := t.node(f.Parent)
	n.open--
	switch {
	case n.next < n.Count:
		t.begin(f.Parent, n)
	case n.open > 0:
		t.setCounts(f.Parent, n)
	case t.plan().Nodes[f.Parent.Node].Gather != nil:
		t.setCounts(f.Parent, n)
		t.command(Gather{f.Parent})
	default:
		t.leave(f.Parent, n)
	}
}

// leave ends a node whose frames have ended, and goes on behind it.
func (t *transition) leave(at store.Place, n node) {
	n.Invoke.State = store.StepDone
	if t.plan().Nodes[at.Node].Kind == plan.GuardNode {
		t.giveUp(at, &n) // what was in flight when a lock was lost was the last of it
		t.leaveGuard(at, &n)
	}
	t.setNode(at, n)
	t.behind(at)
}

// behind goes on with what follows a node.
func (t *transition) behind(at store.Place) {
	t.advance(at.Frame, t.plan().Nodes[at.Node].Position+1)
}

// start enables the next attempt of a phase, now.
func (t *transition) start(at store.Place, n node, phase Phase) {
	p := progress(&n.Node, phase)
	if (phase == Compensate || t.unheld > 0) && t.unlocked(at) {
		p.Waits, p.DueAt = store.WaitingForLock, zero
		t.setNode(at, n)
		return // it is started once the guard has its locks again
	}
	p.Attempts++
	p.Waits, p.DueAt = store.NotWaiting, zero
	if p.FirstAt.IsZero() {
		p.FirstAt = t.now
	}
	n.Attempts++
	if t.plan().Nodes[at.Node].Step.Queue != nil {
		p.Waits = store.WaitingForQueue
		t.setNode(at, n)
		t.enqueue(at, &n, phase)
		return
	}
	t.setNode(at, n)
	t.command(StartAttempt{Place: at, Phase: phase, Number: p.Attempts, Ordinal: n.Attempts}.in(t))
}

// again enables the attempt again that its process did not see the end of.
func (t *transition) again(at store.Place, n node, phase Phase) {
	progress(&n.Node, phase).Attempts--
	t.start(at, n, phase)
}

// call has a child started, and waits for its end.
func (t *transition) call(at store.Place, n node, input []byte) {
	c := t.plan().Nodes[at.Node].Call
	n.Child = t.s.RunUID + "/" + t.key(at)
	n.Invoke = store.Progress{State: store.StepInvoking, Attempts: 1, FirstAt: t.now, Waits: store.WaitingForChild}
	t.setNode(at, n)
	t.errand(store.Errand{
		Kind: store.StartChild, Place: at, Target: store.Key{Workflow: c.Workflow, ID: n.Child},
		Fingerprint: c.Fingerprint, Input: input,
	})
}

// decided goes on with what a node has decided.
func (t *transition) decided(at store.Place, n node, d plan.Decision) {
	pn := &t.plan().Nodes[at.Node]
	switch pn.Kind {
	case plan.DecisionNode:
		n.Invoke.State, n.Output = store.StepDone, d.Output
		t.setNode(at, n)
		t.behind(at)
	case plan.WhenNode:
		if d.Branch == 0 {
			n.Invoke.State = store.StepDone
			t.setNode(at, n)
			t.behind(at)
			return
		}
		t.open(at, &n, pn.Branches[d.Branch-1:d.Branch], nil)
		t.begin(at, n)
	case plan.SleepNode:
		n.Invoke.Waits, n.Invoke.FirstAt, n.Invoke.DueAt = store.WaitingForTimer, t.now, t.now.Add(d.Pause.For)
		if !d.Pause.Until.IsZero() {
			n.Invoke.DueAt = d.Pause.Until
		}
		t.setNode(at, n)
	case plan.EachNode:
		if len(d.Items) == 0 {
			t.setNode(at, n)
			t.command(Gather{at})
			return
		}
		t.open(at, &n, pn.Branches, d.Items)
		t.begin(at, n)
	case plan.GuardNode:
		t.park(at, n, d.Keys)
	case plan.CallNode:
		t.call(at, n, d.Output)
	}
}

func (t *transition) finish(state store.ExecutionState) {
	h := t.head()
	h.State, h.FinishedAt = state, t.now
	if state == store.Done {
		h.Output = value(t, 0, t.plan().Sequences[0].Output)
	}
	switch {
	case t.s.Parent != nil:
		t.errand(store.Errand{Kind: store.AnswerParent, Place: t.s.Parent.Place, Target: t.s.Parent.Key})
	case state != store.Failed: // a resume needs them
		t.forgetChildren()
	}
	t.command(Finish{})
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
