package workflow

import (
	"time"

	"github.com/lockstep-dev/lockstep/internal/machine"
	"github.com/lockstep-dev/lockstep/store"
)

// Status tells how far an execution is.
type Status struct {
	Workflow    string
	ID          string
	State       store.ExecutionState
	CreatedAt   time.Time
	CancelledAt time.Time // zero unless it was cancelled
	FinishedAt  time.Time // zero while it is not finished
	Steps       []StepStatus
	// Locks are what the execution holds beyond the attempt in flight.
	Locks []store.Hold
}

// StepStatus tells how far a step is.
type StepStatus struct {
	// Name is the step's name in its workflow, with its item where it is in a loop.
	Name       string
	Invoke     store.Progress
	Compensate store.Progress
}

func newStatus(x *machine.State) Status {
	s := Status{
		Workflow: x.Workflow, ID: x.ID, State: x.State,
		CreatedAt: x.CreatedAt, CancelledAt: x.CancelledAt, FinishedAt: x.FinishedAt, Locks: x.Holds(),
	}
	for name, n := range x.Steps {
		s.Steps = append(s.Steps, StepStatus{Name: name, Invoke: n.Invoke, Compensate: n.Compensate})
	}
	return s
}
