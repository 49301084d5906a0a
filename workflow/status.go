package workflow

import (
	"time"

	"github.com/lockstep-dev/lockstep/internal/plan"
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
	Name       string
	Invoke     store.Progress
	Compensate store.Progress
}

func newStatus(x *store.Execution, p *plan.Plan) Status {
	s := Status{
		Workflow: x.Workflow, ID: x.ID, State: x.State,
		CreatedAt: x.CreatedAt, CancelledAt: x.CancelledAt, FinishedAt: x.FinishedAt, Locks: x.Holds,
	}
	for i, n := range p.Nodes {
		if n.Kind == plan.StepNode {
			s.Steps = append(s.Steps, StepStatus{Name: n.Path, Invoke: x.Nodes[i].Invoke, Compensate: x.Nodes[i].Compensate})
		}
	}
	return s
}
