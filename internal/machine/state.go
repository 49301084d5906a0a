package machine

import (
	"fmt"
	"time"

	"github.com/lockstep-dev/lockstep/internal/plan"
	"github.com/lockstep-dev/lockstep/store"
)

// State is an execution in memory. It is changed by [State.Apply] and the few methods
// beside it alone, and belongs to one goroutine at a time.
//
// Invariants:
//  1. What [State.Flush] has returned, laid over what was there before, is the
//     execution: [Load] makes an equal state of it.
//  2. open, next, busy, broken, unheld, holding and timers follow from the records.
type State struct {
	store.Identity
	store.Fence
	store.Head
	Plan     *plan.Plan
	Failures []store.Failure

	frames  []*frame // by id
	outbox  []errand // what is to be done elsewhere, in order
	errands uint32   // how many there have been
	busy    int      // nodes with something in flight that must land before compensation begins
	broken  int      // nodes whose compensation has failed
	unheld  int      // guards that have lost a lock and wait to have all of them again
	holding int      // nodes, frames and errands that have locks
	timers  timers
	dirty   []store.CellID
	failed  int          // how many of Failures are flushed
	tasks   []store.Task // to be added with the next write
	drops   []string     // to be dropped with it
	ended   []store.FrameID

	// room is memory for what every execution has.
	room struct {
		first  frame
		frames [1]*frame
		dirty  [4]store.CellID
		ended  [1]store.FrameID
	}
}

// frame is a frame and its nodes.
type frame struct {
	store.Frame
	nodes []node // by position, as far as they have begun
	dirty bool
}

// node is a node and what follows of it from others.
type node struct {
	store.Node
	open  int // frames of it that have begun, and not come to their end
	next  int // the next of its frames to begin
	dirty bool
}

type errand struct {
	n uint32
	store.Errand
}

// New returns the state of an execution that has not begun.
func New(p *plan.Plan, id store.Identity, fence store.Fence) *State {
	s := &State{}
	s.Init(p, &id, fence)
	return s
}

// Init makes a zero State what [New] returns.
func (s *State) Init(p *plan.Plan, id *store.Identity, fence store.Fence) {
	s.Identity, s.Fence, s.State, s.Plan = *id, fence, store.NotStarted, p
}

// Reset makes a State zero again, for [State.Init], but for memory that every execution
// needs.
func (s *State) Reset() {
	nodes := s.room.first.nodes
	if cap(nodes) > few {
		nodes = nil // it was one of many
	}
	clear(nodes)
	*s = State{}
	s.room.first.nodes = nodes[:0]
}

// Load returns the state that a store has kept. It returns an error that matches
// [store.ErrRecord] when that cannot be of an execution of the plan.
func Load(p *plan.Plan, x *store.Snapshot) (*State, error) {
	s := &State{Identity: x.Identity, Fence: x.Fence, Head: x.Head, Plan: p}
	if x.Frames > store.MaxFrames {
		return nil, damaged("execution", "it has %d frames", x.Frames)
	}
	s.frames = make([]*frame, x.Frames)
	for _, c := range x.Cells {
		if err := s.loadCell(c); err != nil {
			return nil, fmt.Errorf("machine: %s: %w", x.Key, err)
		}
	}
	for i, f := range s.frames {
		if f == nil {
			return nil, fmt.Errorf("machine: %s: %w", x.Key, damaged("execution", "it has no frame %d of %d", i, x.Frames))
		}
	}
	s.failed = len(s.Failures)
	return s, s.derive()
}

func damaged(record, format string, args ...any) error {
	return &store.RecordError{Record: record, Reason: fmt.Sprintf(format, args...)}
}

func (s *State) loadCell(c store.Cell) error {
	kind, at, n := c.ID.Split()
	switch kind {
	case store.FrameKind:
		f, err := store.DecodeFrame(c.Data)
		if err != nil {
			return err
		}
		if int64(at.Frame) >= int64(len(s.frames)) || f.Sequence >= len(s.Plan.Sequences) {
			return damaged("frame", "it is frame %d of %d, of sequence %d of %d", at.Frame, len(s.frames), f.Sequence, len(s.Plan.Sequences))
		}
		s.frames[at.Frame] = &frame{Frame: f}
	case store.NodeKind:
		rec, err := store.DecodeNode(c.Data)
		if err != nil {
			return err
		}
		return s.loadNode(at, rec)
	case store.FailureKind:
		f, err := store.DecodeFailure(c.Data)
		if err != nil {
			return err
		}
		s.Failures = append(s.Failures, f)
	case store.OutboxKind:
		e, err := store.DecodeErrand(c.Data)
		if err != nil {
			return err
		}
		s.outbox = append(s.outbox, errand{n, e})
		s.errands = n + 1
	}
	return nil
}

// loadNode takes the nodes of a frame in order, after the frame.
func (s *State) loadNode(at store.Place, rec store.Node) error {
	if int64(at.Frame) >= int64(len(s.frames)) || s.frames[at.Frame] == nil || at.Node >= len(s.Plan.Nodes) {
		return damaged("node", "it is node %d of %d, in frame %d", at.Node, len(s.Plan.Nodes), at.Frame)
	}
	f := s.frames[at.Frame]
	n := &s.Plan.Nodes[at.Node]
	if n.Sequence != f.Sequence || n.Position != len(f.nodes) {
		return damaged("node", "node %d is number %d of sequence %d, not number %d of sequence %d",
			at.Node, n.Position, n.Sequence, len(f.nodes), f.Sequence)
	}
	if int64(rec.First)+int64(rec.Count) > int64(len(s.frames)) {
		return damaged("node", "it has %d frames from %d on, of %d", rec.Count, rec.First, len(s.frames))
	}
	f.nodes = append(f.nodes, node{Node: rec})
	return nil
}

// derive computes what follows from the records.
func (s *State) derive() error {
	for i := range s.outbox {
		s.holding += weight(len(s.outbox[i].Holds) > 0)
	}
	for id, f := range s.frames {
		s.holding += weight(len(f.Holds) > 0)
		for pos := range f.nodes {
			n := &f.nodes[pos]
			at := store.Place{Frame: store.FrameID(id), Node: s.Plan.Sequences[f.Sequence].Nodes[pos]}
			for i := range n.Count {
				child := s.frames[n.First+store.FrameID(i)]
				if child.Parent != at || child.Branch != i {
					return damaged("frame", "it is branch %d of %v, not branch %d of %v", child.Branch, child.Parent, i, at)
				}
				n.follow(i, child.State)
			}
			s.count(at, nil, n)
		}
	}
	return nil
}

// follow notes the state of one of the node's frames, in their order. Going forward
// next is behind those that have begun, in reverse it is behind those that have not
// begun to be undone.
func (n *node) follow(i int, state store.FrameState) {
	reverse := n.Compensate.State == store.StepCompensating
	switch state {
	case store.FrameRunning:
		n.open += weight(!reverse)
		n.next = i + 1
	case store.FrameUnwinding:
		n.open += weight(reverse)
		if !reverse {
			n.next = i + 1
		}
	case store.FrameDone:
		n.next = i + 1
	case store.FrameUndone:
		if !reverse {
			n.next = i + 1
		}
	}
}

// count notes that a node has changed.
func (s *State) count(at store.Place, before, after *node) {
	if before != nil {
		s.busy -= weight(busy(s.Plan, at, &before.Node))
		s.broken -= weight(before.Compensate.State == store.StepFailed)
		s.unheld -= weight(unheld(&before.Node))
		s.holding -= weight(len(before.Holds) > 0)
	}
	s.busy += weight(busy(s.Plan, at, &after.Node))
	s.broken += weight(after.Compensate.State == store.StepFailed)
	s.unheld += weight(unheld(&after.Node))
	s.holding += weight(len(after.Holds) > 0)
	s.timers.note(at, &after.Node)
}

func weight(b bool) int {
	if b {
		return 1
	}
	return 0
}

// busy says that a node has something in flight that must land before compensation
// begins: an attempt of a body, or a child.
func busy(p *plan.Plan, at store.Place, n *store.Node) bool {
	if n.Invoke.State != store.StepInvoking {
		return false
	}
	switch p.Nodes[at.Node].Kind {
	case plan.StepNode:
		return n.Invoke.Waits == store.NotWaiting || n.Invoke.Waits == store.WaitingForQueue
	case plan.CallNode:
		return n.Invoke.Waits != store.WaitingForLock // else it is not begun yet
	}
	return false
}

// position returns the frame of a place and the position in it.
func (s *State) position(at store.Place) (*frame, int) {
	if int64(at.Frame) >= int64(len(s.frames)) || at.Node < 0 || at.Node >= len(s.Plan.Nodes) {
		return nil, 0
	}
	f := s.frames[at.Frame]
	n := &s.Plan.Nodes[at.Node]
	if n.Sequence != f.Sequence {
		return nil, 0
	}
	return f, n.Position
}

// Node returns what is kept of a node. It answers false for one that has not begun.
func (s *State) Node(at store.Place) (n store.Node, begun bool) {
	if n := s.seen(at); n != nil {
		return n.Node, true
	}
	return store.Node{}, false
}

// Pauses says that a node waits for the time of its next attempt.
func (s *State) Pauses(at store.Place) bool {
	n := s.seen(at)
	return n != nil && (n.Invoke.Waits == store.WaitingForRetry || n.Compensate.Waits == store.WaitingForRetry)
}

// Frame returns what is kept of a frame.
func (s *State) Frame(id store.FrameID) store.Frame { return s.frames[id].Frame }

// NextDue is when the next thing happens by itself; zero is never.
func (s *State) NextDue() time.Time {
	due := s.timers.next(s)
	if d := s.Deadline; s.State == store.Invoking && !d.IsZero() && (due.IsZero() || d.Before(due)) {
		return d
	}
	return due
}

// Errands calls yield for each thing that is to be done elsewhere, in order.
func (s *State) Errands(yield func(n uint32, e store.Errand) bool) {
	for _, e := range s.outbox {
		if !yield(e.n, e.Errand) {
			return
		}
	}
}

// TakeEnded returns the frames that have come to their end, forward or in reverse,
// since it was called last. The list is good until others end.
func (s *State) TakeEnded() []store.FrameID {
	ended := s.ended
	s.ended = s.ended[:0]
	return ended
}
