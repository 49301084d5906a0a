package machine

import (
	"slices"
	"time"

	"github.com/lockstep-dev/lockstep/internal/plan"
	"github.com/lockstep-dev/lockstep/store"
)

// transition is one decision being made: the state with what has been decided so far
// laid over it.
type transition struct {
	s   *State
	now time.Time
	d   Decision
	// busy, broken and unheld are as in [State], after what has been decided.
	busy, broken, unheld int
	// frameAt and nodeAt find changes where there are many.
	frameAt map[store.FrameID]int
	nodeAt  map[store.Place]int
	starts  []StartAttempt // those that commands point to
}

// Memory is what decisions are made in, one after the other. Its zero value is ready
// for use.
type Memory struct {
	t      transition
	starts [2]StartAttempt
}

// NewMemory returns memory that is for commands as well.
func NewMemory() *Memory {
	m := &Memory{}
	m.t.starts = m.starts[:0]
	return m
}

// in moves a command into the decision's memory, where there is some.
func (c StartAttempt) in(t *transition) Command {
	n := len(t.starts)
	if n == cap(t.starts) {
		return c
	}
	t.starts = append(t.starts, c)
	return &t.starts[n]
}

// transition returns the memory, cleared of the decision before.
func (m *Memory) transition(s *State, now time.Time) *transition {
	t := &m.t
	d := &t.d
	clear(d.nodes)
	clear(d.frames)
	clear(d.Commands)
	d.nodes, d.frames, d.Commands = d.nodes[:0], d.frames[:0], d.Commands[:0]
	if cap(d.nodes) > 4*few || cap(d.frames) > 4*few { // it was one of many changes
		d.nodes, d.frames, d.Commands = nil, nil, nil
	}
	d.head, d.failures, d.errands, d.tasks, d.dropped, t.starts = s.Head, nil, nil, nil, nil, t.starts[:0]
	t.s, t.now, t.busy, t.broken, t.unheld, t.frameAt, t.nodeAt = s, now, s.busy, s.broken, s.unheld, nil, nil
	return t
}

// few is up to how many changes a list is searched from its end.
const few = 16

func (t *transition) head() *store.Head { return &t.d.head }

func (t *transition) plan() *plan.Plan { return t.s.Plan }

func (t *transition) command(c Command) { t.d.Commands = append(t.d.Commands, c) }

func (t *transition) errand(e store.Errand) {
	e.Revision = t.s.Revision + 1 // of the write that records it
	t.d.errands = append(t.d.errands, e)
}

// frame returns the frame as this decision has left it.
func (t *transition) frame(id store.FrameID) store.Frame {
	if i, ok := t.findFrame(id); ok {
		return t.d.frames[i].Frame
	}
	return t.s.frames[id].Frame
}

func (t *transition) setFrame(id store.FrameID, f store.Frame) {
	if i, ok := t.findFrame(id); ok {
		t.d.frames[i].Frame = f
		return
	}
	t.d.frames = append(t.d.frames, frameChange{id, f})
	if n := len(t.d.frames); n > few {
		if t.frameAt == nil {
			t.frameAt = make(map[store.FrameID]int, 4*few)
			for i := range t.d.frames {
				t.frameAt[t.d.frames[i].id] = i
			}
		}
		t.frameAt[id] = n - 1
	}
}

func (t *transition) findFrame(id store.FrameID) (int, bool) {
	if t.frameAt != nil {
		i, ok := t.frameAt[id]
		return i, ok
	}
	i := slices.IndexFunc(t.d.frames, func(c frameChange) bool { return c.id == id })
	return i, i >= 0
}

// node returns the node as this decision has left it; begun is false for one that
// nothing is known of.
func (t *transition) node(at store.Place) (n node, begun bool) {
	i, _ := t.findNode(at)
	if known := t.known(at, i); known != nil {
		return *known, true
	}
	return node{}, false
}

// known returns the node as this decision has left it, for reading: the i-th of those
// that it has changed, or else as it was before; nil for one that nothing is known of.
func (t *transition) known(at store.Place, i int) *node {
	if i >= 0 {
		return &t.d.nodes[i].node
	}
	return t.s.seen(at)
}

func (t *transition) setNode(at store.Place, n node) { t.putNode(at, &n, true) }

// setCounts notes what follows from others: it is not written.
func (t *transition) setCounts(at store.Place, n node) { t.putNode(at, &n, false) }

func (t *transition) putNode(at store.Place, n *node, kept bool) {
	i, changed := t.findNode(at)
	if before := t.known(at, i); before != nil {
		t.busy -= weight(busy(t.plan(), at, &before.Node))
		t.broken -= weight(before.Compensate.State == store.StepFailed)
		t.unheld -= weight(unheld(&before.Node))
	}
	t.busy += weight(busy(t.plan(), at, &n.Node))
	t.broken += weight(n.Compensate.State == store.StepFailed)
	t.unheld += weight(unheld(&n.Node))
	if changed {
		t.d.nodes[i].node = *n
		t.d.nodes[i].kept = t.d.nodes[i].kept || kept
		return
	}
	last := len(t.d.nodes)
	t.d.nodes = slices.Grow(t.d.nodes, 1)[:last+1]
	c := &t.d.nodes[last] // which is large: it is copied once
	c.at, c.node, c.kept = at, *n, kept
	if count := len(t.d.nodes); count > few {
		if t.nodeAt == nil {
			t.nodeAt = make(map[store.Place]int, 4*few)
			for i := range t.d.nodes {
				t.nodeAt[t.d.nodes[i].at] = i
			}
		}
		t.nodeAt[at] = count - 1
	}
}

func (t *transition) findNode(at store.Place) (int, bool) {
	if t.nodeAt != nil {
		if i, ok := t.nodeAt[at]; ok {
			return i, true
		}
		return -1, false
	}
	for i := range t.d.nodes {
		if t.d.nodes[i].at == at {
			return i, true
		}
	}
	return -1, false
}

// sequence returns the nodes of a frame.
func (t *transition) sequence(id store.FrameID) []int {
	return t.plan().Sequences[t.frame(id).Sequence].Nodes
}

// begun is how many nodes of a frame have begun.
func (t *transition) begun(id store.FrameID) int {
	nodes := t.sequence(id)
	n := 0
	if int64(id) < int64(len(t.s.frames)) {
		n = len(t.s.frames[id].nodes)
	}
	for n < len(nodes) {
		if _, ok := t.findNode(store.Place{Frame: id, Node: nodes[n]}); !ok {
			break
		}
		n++
	}
	return n
}

// branches yields the frames that a node has opened.
func branches(n *node) func(yield func(store.FrameID) bool) {
	return func(yield func(store.FrameID) bool) {
		for i := range n.Count {
			if !yield(n.First + store.FrameID(i)) {
				return
			}
		}
	}
}

// viewer looks at an execution, decided or being decided.
type viewer interface {
	frame(id store.FrameID) store.Frame
	// seen returns a node for reading, or nil.
	seen(at store.Place) *node
	plan() *plan.Plan
	input() []byte
}

func (t *transition) input() []byte { return t.s.Input }

func (t *transition) seen(at store.Place) *node {
	i, _ := t.findNode(at)
	return t.known(at, i)
}

type settled struct{ s *State }

func (v settled) frame(id store.FrameID) store.Frame { return v.s.frames[id].Frame }
func (v settled) plan() *plan.Plan                   { return v.s.Plan }
func (v settled) input() []byte                      { return v.s.Input }

func (v settled) seen(at store.Place) *node { return v.s.seen(at) }

// seen returns a node for reading, or nil.
func (s *State) seen(at store.Place) *node {
	f, pos := s.position(at)
	if f == nil || pos >= len(f.nodes) {
		return nil
	}
	return &f.nodes[pos]
}

// value returns what a reference stands for in a frame. Nil is the zero value, but
// for a WhenNode with one branch: there nil says that the branch was not taken, and no
// bytes are the zero value.
func value(v viewer, id store.FrameID, ref plan.Ref) []byte {
	if ref.Node == plan.InputNode {
		return v.input()
	}
	p := v.plan()
	for {
		f := v.frame(id)
		if ref.Part == plan.Item && f.Parent.Node == ref.Node && id != 0 {
			return f.Item
		}
		if ref.Part != plan.Item && f.Sequence == p.Nodes[ref.Node].Sequence {
			break
		}
		id = f.Parent.Frame
	}
	n := v.seen(store.Place{Frame: id, Node: ref.Node})
	if n == nil {
		n = &node{}
	}
	target := &p.Nodes[ref.Node]
	switch target.Kind {
	case plan.ParallelNode, plan.GuardNode:
		branch := n.First + store.FrameID(ref.Part)
		return value(v, branch, p.Sequences[target.Branches[ref.Part]].Output)
	case plan.WhenNode:
		if n.Count == 0 {
			return nil
		}
		taken := value(v, n.First, p.Sequences[v.frame(n.First).Sequence].Output)
		if taken == nil && len(target.Branches) == 1 {
			taken = []byte{}
		}
		return taken
	}
	return n.Output
}

// Inputs returns the encoded inputs of a node.
func (s *State) Inputs(at store.Place) [][]byte {
	refs := s.Plan.Nodes[at.Node].Inputs
	values := make([][]byte, len(refs))
	for i, ref := range refs {
		values[i] = value(settled{s}, at.Frame, ref)
	}
	return values
}

// StepInput returns the encoded input of a step.
func (s *State) StepInput(at store.Place) []byte {
	return value(settled{s}, at.Frame, s.Plan.Nodes[at.Node].Inputs[0])
}

// Outputs returns the encoded outputs of the branches of a loop.
func (s *State) Outputs(at store.Place) [][]byte {
	n, _ := s.Node(at)
	output := s.Plan.Sequences[s.Plan.Nodes[at.Node].Branches[0]].Output
	values := make([][]byte, n.Count)
	for i := range values {
		values[i] = value(settled{s}, n.First+store.FrameID(i), output)
	}
	return values
}
