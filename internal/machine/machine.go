// Package machine decides what follows from what in an execution. It is a pure
// function: from a plan, the state of an execution, an event and the time, to the
// change of state and to commands for its driver. It imports no clock, does no
// I/O and starts no goroutine; all that is in package engine.
//
// What the driver owes the machine:
//  1. Evaluate and Gather commands are carried out, and their events fed back,
//     before the change is committed: a decision lands in the write that it enables
//     (I3).
//  2. All other commands are carried out after the change was committed, and only
//     if it was.
//  3. The end of an attempt is fed once at most.
//  4. When a change turns the execution round, the forward attempts that it enables are
//     fed back as [Withdrawn] before it is committed, in place of being made.
//
// The events are in events.go and message.go, what follows them going forward in
// forward.go, and in reverse in backward.go.
package machine

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

// ErrIllegal is matched by the error for an event that the state does not allow.
var ErrIllegal = errors.New("machine: event not allowed in this state")

// Event is something that happened to an execution.
type Event interface {
	apply(t *transition) error
}

// Decision is what follows from an event.
type Decision struct {
	Commands []Command

	head     store.Head
	frames   []frameChange
	nodes    []nodeChange
	failures []store.Failure
	errands  []store.Errand
	tasks    []store.Task
	dropped  []string
}

type frameChange struct {
	id store.FrameID
	store.Frame
}

type nodeChange struct {
	at store.Place
	node
	kept bool // the record has changed, not only what follows from others
}

// Command is something the driver has to do.
type Command interface{ command() }

// Evaluate asks for a node's decision.
type Evaluate struct{ Place store.Place }

// Gather asks for the output of a loop.
type Gather struct{ Place store.Place }

// StartAttempt asks for one call of a step's body. A decision in a [Memory] of
// [NewMemory] may have a pointer to one as its command, which is good as long as it is.
type StartAttempt struct {
	Place  store.Place
	Phase  Phase
	Number int
	// Ordinal counts the attempts of both phases.
	Ordinal uint64
}

// CancelAttempt asks to end the context of an attempt in flight.
type CancelAttempt struct {
	Place store.Place
	Cause CancelCause
}

// CancelCause says why an attempt is to end.
type CancelCause int

// The causes to end an attempt.
const (
	Cancelled   CancelCause = iota // the execution was cancelled
	Failed                         // another branch has failed
	PastTheTime                    // the execution's time is up
	LockLost                       // a guard around it has lost a lock
)

// AwaitTurn asks for a [TurnCame]: the attempt may have killed its process, and such
// attempts are made one at a time.
type AwaitTurn struct {
	Place store.Place
	Phase Phase
}

// Park asks for the locks of a guard, and answers with [Granted] or [LockFailed].
type Park struct{ Place store.Place }

// Finish says that the execution has come to its end.
type Finish struct{}

func (Evaluate) command()      {}
func (Gather) command()        {}
func (StartAttempt) command()  {}
func (CancelAttempt) command() {}
func (AwaitTurn) command()     {}
func (Park) command()          {}
func (Finish) command()        {}

// Phase is one of a step's two bodies.
type Phase string

// The phases of a step.
const (
	Invoke     Phase = "invoke"
	Compensate Phase = "compensate"
)

// Decide is the transition function. It does not change the execution it is given;
// [State.Apply] makes the change.
func Decide(s *State, ev Event, now time.Time) (Decision, error) {
	d, err := DecideIn(&Memory{}, s, ev, now)
	if err != nil {
		return Decision{}, err
	}
	return *d, nil
}

// DecideIn is [Decide] in memory that is used again: what it returns is good until the
// next decision is made in it.
func DecideIn(m *Memory, s *State, ev Event, now time.Time) (*Decision, error) {
	t := m.transition(s, now)
	if err := ev.apply(t); err != nil {
		return nil, fmt.Errorf("%w: %w (execution %s is %s)", ErrIllegal, err, s.Key, s.State)
	}
	return &t.d, nil
}

// Apply makes the change that was decided.
func (s *State) Apply(d Decision) { s.ApplyIn(&d) }

// ApplyIn is [State.Apply] for what [DecideIn] has returned.
func (s *State) ApplyIn(d *Decision) {
	s.Head = d.head
	for i := range d.frames {
		s.setFrame(d.frames[i].id, d.frames[i].Frame)
	}
	for i := range d.nodes {
		s.setNode(&d.nodes[i])
	}
	if len(d.failures) > 0 {
		s.Failures = append(s.Failures, d.failures...)
	}
	for _, e := range d.errands {
		s.AddErrand(e)
	}
	s.applyTasks(d)
	s.reckon()
}

// reckon sets what of the head follows from the records.
func (s *State) reckon() {
	s.Unsettled, s.Holding = len(s.outbox) > 0, s.holding > 0
}

func (s *State) setFrame(id store.FrameID, rec store.Frame) {
	if id == 0 && len(s.frames) == 0 {
		s.frames, s.dirty = append(s.room.frames[:0], &s.room.first), append(s.room.dirty[:0], s.dirty...)
	}
	for int64(id) >= int64(len(s.frames)) {
		s.frames = append(s.frames, &frame{})
	}
	f := s.frames[id]
	if want := min(len(s.Plan.Sequences[rec.Sequence].Nodes), few); len(f.nodes) == 0 && cap(f.nodes) < want {
		f.nodes = make([]node, 0, want)
	}
	if f.State != rec.State && (rec.State == store.FrameDone || rec.State == store.FrameUndone) {
		if s.ended == nil {
			s.ended = s.room.ended[:0]
		}
		s.ended = append(s.ended, id)
	}
	s.holding += weight(len(rec.Holds) > 0) - weight(len(f.Holds) > 0)
	f.Frame = rec
	s.touchFrame(id)
}

func (s *State) touchFrame(id store.FrameID) {
	if f := s.frames[id]; !f.dirty {
		f.dirty = true
		s.dirty = append(s.dirty, store.FrameCell(id))
	}
}

func (s *State) setNode(c *nodeChange) {
	f, pos := s.position(c.at)
	if pos == len(f.nodes) {
		f.nodes = slices.Grow(f.nodes, 1)[:pos+1]
		f.nodes[pos] = c.node // which is large: it is copied once
		f.nodes[pos].dirty = true
		s.dirty = append(s.dirty, store.NodeCell(c.at))
		s.count(c.at, nil, &f.nodes[pos])
		return
	}
	n := &f.nodes[pos]
	if c.kept {
		s.count(c.at, n, &c.node)
	}
	dirty := n.dirty
	*n = c.node
	n.dirty = dirty || c.kept
	if c.kept && !dirty {
		s.dirty = append(s.dirty, store.NodeCell(c.at))
	}
}

// Flush returns what has changed since it was called last.
func (s *State) Flush() []store.Cell {
	var m CellMemory
	return s.FlushIn(&m)
}

// CellMemory is what cells are written in. Its zero value is ready for use.
type CellMemory struct {
	cells []store.Cell
	data  []byte
}

// mostKept bounds the memory for cells that is used again.
const mostKept = 1 << 16

// FlushIn is [State.Flush] in memory that is used again: what it returns is good until
// the next call with it.
func (s *State) FlushIn(m *CellMemory) []store.Cell {
	clear(m.cells)
	cells, b, at := m.cells[:0], m.data[:0], 0
	if cap(b) > mostKept || cap(cells) > 4*few {
		cells, b = nil, nil
	}
	for _, id := range s.dirty {
		kind, place, n := id.Split()
		switch kind {
		case store.FrameKind:
			f := s.frames[place.Frame]
			f.dirty = false
			b = f.Encode(b)
		case store.NodeKind:
			f, pos := s.position(place)
			f.nodes[pos].dirty = false
			b = f.nodes[pos].Encode(b)
		case store.OutboxKind:
			cells = append(cells, store.Cell{ID: id, Data: s.encodeErrand(n)})
			continue
		}
		cells = append(cells, store.Cell{ID: id, Data: b[at:len(b):len(b)]})
		at = len(b)
	}
	for ; s.failed < len(s.Failures); s.failed++ {
		cells = append(cells, store.Cell{ID: store.FailureCell(s.failed), Data: s.Failures[s.failed].Encode(nil)})
	}
	s.dirty = s.dirty[:0]
	m.cells, m.data = cells, b
	return cells
}

// encodeErrand returns nil for one that is done.
func (s *State) encodeErrand(n uint32) []byte {
	for i := range s.outbox {
		if s.outbox[i].n == n {
			return s.outbox[i].Encode(nil)
		}
	}
	return nil
}

// ErrandDone notes that something was done elsewhere.
func (s *State) ErrandDone(n uint32) {
	for i := range s.outbox {
		if s.outbox[i].n == n {
			s.holding -= weight(len(s.outbox[i].Holds) > 0)
			s.outbox = append(s.outbox[:i], s.outbox[i+1:]...)
			s.dirty = append(s.dirty, store.OutboxCell(n))
			break
		}
	}
	s.reckon()
}

// AddErrand has something done elsewhere, with the next write. It returns the errand's
// number.
func (s *State) AddErrand(e store.Errand) uint32 {
	n := s.errands
	s.outbox = append(s.outbox, errand{n, e})
	s.dirty = append(s.dirty, store.OutboxCell(n))
	s.errands++
	s.holding += weight(len(e.Holds) > 0)
	s.reckon()
	return n
}

// SetHolds notes which locks the sequence of a frame keeps.
func (s *State) SetHolds(id store.FrameID, holds []store.Hold) {
	f := s.frames[id]
	if len(holds) == 0 && len(f.Holds) == 0 {
		return
	}
	s.holding += weight(len(holds) > 0) - weight(len(f.Holds) > 0)
	f.Holds = holds
	s.touchFrame(id)
	s.reckon()
}
