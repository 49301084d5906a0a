package store

import "time"

// Frame is one run of a sequence of the plan: the workflow's own, a branch, or an
// item of a loop.
type Frame struct {
	Sequence int // of the plan
	// Parent is the place of the node that opened the frame; it means nothing for
	// frame 0.
	Parent Place
	// Branch is which of the node's frames this is.
	Branch int
	State  FrameState
	// Item is what the frame of a loop is about.
	Item []byte
	// Holds are the locks that steps have left to the sequence.
	Holds []Hold
}

// FrameState says how far a frame is.
type FrameState uint8

// The states of a frame.
const (
	FrameWaiting   FrameState = iota // it has not begun
	FrameRunning                     // its nodes run, one after the other
	FrameDone                        // it came to its end
	FrameUnwinding                   // its nodes are being compensated, in reverse
	FrameUndone                      // nothing of it is left
)

// Node is the state of one node of the plan in one frame. Which fields are used
// depends on the node's kind.
type Node struct {
	Invoke     Progress
	Compensate Progress
	// Attempts counts those of both phases; it is the attempt in a lock's
	// generation.
	Attempts uint64
	// Unknown says that an attempt of invoke ended without anybody knowing how.
	Unknown bool
	Output  []byte
	// Undo is the input of compensate; nil is the zero value.
	Undo []byte

	// First and Count are the frames that the node has opened: Count of them, from
	// First on.
	First FrameID
	Count int
	// Keys are what a guard locks, Ticket its place in their queues, and Holds what it
	// has.
	Keys   []string
	Ticket string
	Holds  []Hold
	// Child is the execution that the node has called, Heard the revision under which it
	// has told last how it has ended.
	Child string
	Heard uint64
}

// Progress is the state of one phase of a node.
type Progress struct {
	State StepState
	// Waits says what is waited for, and DueAt when that ends by itself; zero is
	// never.
	Waits WaitReason
	// Suspect marks an attempt that may have killed its process, Deaths counts the
	// processes that ended uncleanly while it was marked.
	Suspect  bool
	Attempts int
	Deaths   int
	// FirstAt is when the first attempt was enabled.
	FirstAt time.Time
	DueAt   time.Time
}

// Failure is an error that an execution came to.
type Failure struct {
	Path    string
	Phase   string
	Attempt int
	Message string
	// Chain lists the error and those it wraps.
	Chain []ErrorRecord
	Stack string
}

// ErrorRecord is what is kept of one error of a chain.
type ErrorRecord struct {
	Type    string
	Message string
}

// Hold is a lock that an execution has.
type Hold struct {
	Provider, Key, Owner string
	Epoch, Attempt       uint64
	Token                uint64
}

// Errand is something that an execution has to do elsewhere: it is recorded in the
// write that it follows from, carried out at least once, and deleted when that is done.
type Errand struct {
	Kind ErrandKind
	// Place is the node that it is for.
	Place Place
	// Target is the execution that it concerns.
	Target Key
	// Fingerprint of the target's plan, and Input, are for [StartChild].
	Fingerprint string
	Input       []byte
	// Holds are for [ReleaseLocks].
	Holds []Hold
	// Ticket and Provider are for [CancelTicket].
	Ticket, Provider string
	// Revision is that of the execution when it was recorded.
	Revision uint64
}

// ErrandKind says what is to be done.
type ErrandKind string

// The kinds of errands.
const (
	StartChild   ErrandKind = "start"   // create the target, unless it is there
	RevertChild  ErrandKind = "revert"  // undo the target, finished or not
	ForgetChild  ErrandKind = "forget"  // let the target go: its parent has ended
	AnswerParent ErrandKind = "answer"  // tell the parent how this execution has ended
	ReleaseLocks ErrandKind = "release" // give locks back
	CancelTicket ErrandKind = "cancel"  // leave the queues of a guard's keys
)
