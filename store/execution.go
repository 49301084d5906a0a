// Package store is the seam between the engine and what keeps executions: the
// records, their states, and the [Store] interface that implementers write.
//
// A store keeps an execution as an [Identity] that never changes, a [Fence] and a
// [Head] that every write replaces, and any number of cells: small encoded records
// under a [CellID], whose meaning is the engine's. A write names the cells that it
// changes and no others.
package store

import (
	"strconv"
	"time"
)

// Key identifies an execution within a store.
type Key struct {
	Workflow string
	ID       string
}

func (k Key) String() string {
	return strconv.Quote(k.Workflow) + "/" + strconv.Quote(k.ID)
}

// ExecutionState is the state of an execution.
type ExecutionState string

// The states of an execution. Done, Reverted and Failed are final.
const (
	NotStarted          ExecutionState = "not_started"
	Invoking            ExecutionState = "invoking"
	WaitingToCompensate ExecutionState = "waiting_to_compensate"
	Compensating        ExecutionState = "compensating"
	Done                ExecutionState = "done"
	Reverted            ExecutionState = "reverted"
	Failed              ExecutionState = "failed"
)

// Finished says that nothing more happens in the state by itself.
func (s ExecutionState) Finished() bool {
	return s == Done || s == Reverted || s == Failed
}

// Identity is what never changes of an execution.
type Identity struct {
	Key
	// RunUID tells this run from every other, also of the same key.
	RunUID string
	// Fingerprint is that of the plan which the execution was begun with.
	Fingerprint string
	// Codec is the name of the codec that all its values are encoded with.
	Codec string
	Input []byte
	// InputHash is compared when the same key is asked for again.
	InputHash []byte
	// Generated says that the id was made, not given by the caller.
	Generated bool
	CreatedAt time.Time
	// Deadline is when the execution is cancelled by itself; zero is never.
	Deadline time.Time
	// Parent is the execution that called this one as its child, and the place at
	// which it did; nil for one that was begun by a caller.
	Parent *Parent
}

// Parent names the place that waits for the end of a child.
type Parent struct {
	Key
	RunUID string
	Place  Place
}

// Fence is what every write is checked against.
type Fence struct {
	// Owner is the instance that drives the execution; empty when none does.
	Owner Instance
	// Epoch rises with every new owner.
	Epoch uint64
	// Revision rises with every write.
	Revision uint64
}

// Head is the part of an execution that every write replaces, and that a store
// looks at: it lists and claims by it.
type Head struct {
	State ExecutionState
	// DueAt is when something is to happen by itself, such as the next attempt or
	// the end of a sleep; zero is never. An execution that nobody drives may be
	// claimed from then on.
	DueAt time.Time
	// Unsettled says that the execution has something to do elsewhere, such as locks
	// to give back or a parent to tell: it may be claimed although it has finished.
	Unsettled bool
	// Holding says that the execution has locks by its records. Others wait for them, and
	// they lapse while nobody drives it: a claim returns it before those that have none.
	Holding     bool
	CancelledAt time.Time
	FinishedAt  time.Time
	// ForgetAt is when a finished and settled execution may be deleted, by the store,
	// with whatever is in its inbox; zero is never.
	ForgetAt time.Time
	// Output is set when the execution is done.
	Output []byte
	// Frames is how many frames there have been.
	Frames uint32
}

// Snapshot is everything that is kept of an execution. It belongs to whoever it was
// given to.
type Snapshot struct {
	Identity
	Fence
	Head
	// Cells are in the order of their ids.
	Cells []Cell
	// Inbox has what was delivered and not consumed, in the order in which it came.
	Inbox []Message
	// Tasks are those that have neither been finished nor dropped, in the order of their
	// IDs.
	Tasks []Task
}

// Cell is one encoded record of an execution. A cell whose data is nil is deleted by a
// write, and not there in a new execution.
type Cell struct {
	ID   CellID
	Data []byte
}

// CellID says which record a cell is.
type CellID uint64

// FrameID numbers the frames of an execution in the order in which they were
// opened. Frame 0 is the workflow's own sequence.
type FrameID uint32

// Place is a node of the plan in one of the frames of an execution.
type Place struct {
	Frame FrameID
	Node  int
}

// failureFrame and outboxFrame are frames that no execution opens: the ids under them
// are of records that belong to the execution as a whole.
const (
	failureFrame = 1<<32 - 1
	outboxFrame  = 1<<32 - 2
	// MaxFrames bounds the frames of an execution.
	MaxFrames = 1<<32 - 16
)

func cellID(frame, low uint64) CellID { return CellID(frame<<32 | low) }

// FrameCell is where the [Frame] is kept.
func FrameCell(f FrameID) CellID { return cellID(uint64(f), 0) }

// NodeCell is where the [Node] at the place is kept.
func NodeCell(p Place) CellID { return cellID(uint64(p.Frame), uint64(p.Node)+1) }

// FailureCell is where the i-th [Failure] is kept.
func FailureCell(i int) CellID { return cellID(failureFrame, uint64(i)) }

// OutboxCell is where the n-th [Errand] is kept.
func OutboxCell(n uint32) CellID { return cellID(outboxFrame, uint64(n)) }

// CellKind says what a cell holds.
type CellKind int

// The kinds of cells.
const (
	FrameKind CellKind = iota
	NodeKind
	FailureKind
	OutboxKind
)

// Split tells what the id names: the kind, the place for a frame or a node, and the
// number for a failure or an errand.
func (id CellID) Split() (kind CellKind, at Place, n uint32) {
	frame, low := uint64(id)>>32, uint32(id)
	switch {
	case frame == failureFrame:
		return FailureKind, Place{}, low
	case frame == outboxFrame:
		return OutboxKind, Place{}, low
	case low == 0:
		return FrameKind, Place{Frame: FrameID(frame)}, 0
	}
	return NodeKind, Place{Frame: FrameID(frame), Node: int(low) - 1}, 0
}
