package plan

import (
	"context"
	"time"
)

// Pause is how long a sleep is: for some time, or until a moment.
type Pause struct {
	For   time.Duration
	Until time.Time // counts where it is not zero
}

// Guard says how a GuardNode takes its locks.
type Guard struct {
	// Provider is the id of the lock provider; empty is the default one.
	Provider string
	// MaxWait bounds the waiting; zero is without a bound.
	MaxWait time.Duration
	// MaxHold bounds how long the locks are held; zero is without a bound.
	MaxHold time.Duration
	// Reacquire has the locks taken again when one is lost, in place of failing.
	Reacquire bool
}

// Step is a step without its types.
type Step struct {
	Name                      string
	InType, OutType, UndoType string
	Invoke                    func(ctx context.Context, c Codec, input []byte) Result
	// Compensate is nil for a step that has nothing to undo. Nil undo data stands
	// for the zero value.
	Compensate func(ctx context.Context, c Codec, undo []byte) Result
	// Asynchronous says that the result is not what the body returns, which has only
	// set something going, but comes from outside.
	Asynchronous bool
	// Await bounds the time that the result of an asynchronous step may take; zero is
	// without a bound.
	Await  time.Duration
	Policy Policy
	// Queue has the bodies be called by whichever instance serves it; nil is the one that
	// drives the execution.
	Queue *Queue
}

// Queue says where a step's attempts are made.
type Queue struct {
	Name string
	// Priority says which of the queue's go first: those with a higher one.
	Priority int
}

// Result is what an attempt came to.
type Result struct {
	Output []byte // of an invoke
	// Undo is what compensate gets. Beside an error it is nil unless the step
	// asked for it to be kept.
	Undo    []byte
	Skipped bool
	Err     error
	// Permanent says that no other attempt would mend the error.
	Permanent bool
	// RetryAfter, when it is not nil, is the pause the body asked for.
	RetryAfter *time.Duration
}
