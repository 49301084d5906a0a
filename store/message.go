package store

import "time"

// Message is something that comes to an execution from outside: it is stored first,
// and consumed by the owner's next checkpoint.
type Message struct {
	// ID tells the message from every other of its execution: one that is delivered
	// twice is stored once, as long as it was not consumed. After that it is a new one.
	ID string
	// Data is an encoded [Event].
	Data []byte
}

// Event is what a message says.
type Event struct {
	Kind EventKind
	// Path names the step that the event is for, where it is for one.
	Path string
	// Items say in which frame of each loop around the step, from the outermost on.
	Items []int
	// Place is what a [ChildEnded] is for.
	Place Place
	// State is how a child has ended.
	State ExecutionState
	// Output is a value in the encoding of the execution's codec.
	Output []byte
	// Failures are those of a step or of a child.
	Failures []Failure
	// Revision is that of the child when it recorded that it has ended: what it tells
	// again, or after it has told something later, changes nothing.
	Revision uint64
	// Permanent says that no further attempt is worth making.
	Permanent bool
	// Task is what a [TaskEnded] tells beside its output and its failure.
	Task TaskResult
	At   time.Time
}

// EventKind says what an event asks for.
type EventKind string

// The kinds of events.
const (
	CompleteStep EventKind = "complete" // an asynchronous step has come to its result
	FailStep     EventKind = "fail"     // an asynchronous step has failed
	Cancel       EventKind = "cancel"   // undo what was done
	Revert       EventKind = "revert"   // undo what was done, also when all is done: from a parent
	Resume       EventKind = "resume"   // try failed compensations again
	ChildEnded   EventKind = "child"    // a child has finished
	TaskEnded    EventKind = "task"     // an attempt that was made from a queue has ended
)
