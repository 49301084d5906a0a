package workflow

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/lockstep-dev/lockstep/internal/engine"
	"github.com/lockstep-dev/lockstep/store"
)

var (
	// ErrNotRunning means that the engine was not started, or is being stopped.
	ErrNotRunning = engine.ErrNotRunning
	// ErrInterrupted is what those get who wait for an execution that the engine's
	// stop interrupted, and the cause that ends the contexts of its steps.
	ErrInterrupted = engine.ErrInterrupted
	// ErrCancelled is matched by the error of an execution that was cancelled, and
	// is the cause that ends the contexts of its steps.
	ErrCancelled = engine.ErrCancelled
	// ErrTurned is the cause that ends the contexts of steps beside which another
	// branch of their execution has failed.
	ErrTurned = engine.ErrTurned
	// ErrDeadline is the cause that ends the contexts of steps whose execution has not
	// ended by its deadline, and is matched by the execution's error.
	ErrDeadline = engine.ErrDeadline
	// ErrLostLease is the cause that ends the contexts of steps when nothing was heard
	// of the store for the engine's lease: another instance may go on with them. It is
	// matched by the error of whoever starts an execution when the store has refused it for
	// that reason; the engine then stops as if it had found it out by itself.
	ErrLostLease = engine.ErrLostLease
	// ErrIDConflict means that an execution id is in use with another input.
	ErrIDConflict = engine.ErrIDConflict
	// ErrNotRegistered is matched by [*NotRegisteredError].
	ErrNotRegistered = errors.New("workflow: not registered")
	// ErrTooLarge is matched by [*LimitError].
	ErrTooLarge = errors.New("workflow: too large")
)

// StepError is an error that a step, or another node of a workflow, came to when
// its attempts were spent.
type StepError struct {
	Workflow    string
	ExecutionID string
	Step        string
	Phase       string // "invoke" or "compensate"
	Attempt     int    // the last one, counted from 1
	Err         error
}

func (e *StepError) Error() string {
	return fmt.Sprintf("workflow: %s of step %q (%s/%s, attempt %d): %v", e.Phase, e.Step, e.Workflow, e.ExecutionID, e.Attempt, e.Err)
}

// Unwrap returns the step's own error. After it was read back from a store that
// is a [*StoredError].
func (e *StepError) Unwrap() error { return e.Err }

// ExecutionError is the error of an execution that did not come to its result.
type ExecutionError struct {
	Workflow    string
	ExecutionID string
	// State is Reverted when all that was done was undone, and Failed when a
	// compensation failed.
	State     store.ExecutionState
	Cancelled bool
	Errs      []error // each a *StepError, in the order in which they came
}

func (e *ExecutionError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "workflow: %s/%s is %s", e.Workflow, e.ExecutionID, e.State)
	if e.Cancelled {
		b.WriteString(" after it was cancelled")
	}
	for _, err := range e.Errs {
		b.WriteString("\n\t" + err.Error())
	}
	return b.String()
}

// Unwrap returns the errors in order.
func (e *ExecutionError) Unwrap() []error { return e.Errs }

// Is makes the error of a cancelled execution match [ErrCancelled].
func (e *ExecutionError) Is(target error) bool { return e.Cancelled && target == ErrCancelled }

func newExecutionError(x *engine.End) *ExecutionError {
	e := &ExecutionError{Workflow: x.Workflow, ExecutionID: x.ID, State: x.State, Cancelled: !x.CancelledAt.IsZero()}
	for i, f := range x.Failures {
		var err error = &StoredError{Record: f}
		if live := x.Errs[i]; live != nil {
			err = live
		}
		e.Errs = append(e.Errs, &StepError{
			Workflow: x.Workflow, ExecutionID: x.ID, Step: f.Path, Phase: f.Phase, Attempt: f.Attempt, Err: err,
		})
	}
	return e
}

// StoredError is an error as a store has kept it. It matches every sentinel that
// the error it stands for wrapped, by type and message.
type StoredError struct{ Record store.Failure }

func (e *StoredError) Error() string { return e.Record.Message }

// Is compares the target with each error of the chain that was stored.
func (e *StoredError) Is(target error) bool {
	typ, message := fmt.Sprintf("%T", target), target.Error()
	for _, r := range e.Record.Chain {
		if r.Type == typ && r.Message == message {
			return true
		}
	}
	return false
}

// NotRegisteredError names a workflow that the engine does not run.
type NotRegisteredError struct {
	Workflow string
	Known    []string
	// Differs says that the engine runs another workflow of this name.
	Differs bool
}

func (e *NotRegisteredError) Error() string {
	known := "it runs none"
	if len(e.Known) > 0 {
		known = "it runs " + strings.Join(e.Known, ", ")
	}
	if e.Differs {
		return fmt.Sprintf("workflow: the engine runs another workflow %q, of a different definition", e.Workflow)
	}
	return fmt.Sprintf("workflow: %q is not among the engine's Workflows; %s", e.Workflow, known)
}

// Is makes the error match [ErrNotRegistered].
func (e *NotRegisteredError) Is(target error) bool { return target == ErrNotRegistered }

// LimitError is the error of something that is larger than the engine takes.
type LimitError struct {
	What         string
	Bytes, Limit int
	Field        string // of Config
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("workflow: %s has %d bytes, at most %d are taken (Config.%s)", e.What, e.Bytes, e.Limit, e.Field)
}

// Is makes the error match [ErrTooLarge].
func (e *LimitError) Is(target error) bool { return target == ErrTooLarge }

// InputError is the error of an input that the codec cannot encode.
type InputError struct {
	Workflow string
	Type     string
	Err      error
}

func (e *InputError) Error() string {
	return fmt.Sprintf("workflow: input of %q (%s): %v", e.Workflow, e.Type, e.Err)
}

// Unwrap returns the codec's error.
func (e *InputError) Unwrap() error { return e.Err }

// ConfigError names a setting that cannot be, its value, and what was expected.
type ConfigError struct{ Field, Value, Expected string }

func (e *ConfigError) Error() string {
	return fmt.Sprintf("workflow: %s is %s: expected %s", e.Field, e.Value, e.Expected)
}

// Ref names an execution.
type Ref struct{ Workflow, ID string }

// UnfinishedError lists the executions that an engine's stop interrupted.
type UnfinishedError struct{ Executions []Ref }

func (e *UnfinishedError) Error() string {
	const most = 10
	var b strings.Builder
	fmt.Fprintf(&b, "workflow: %d executions were not finished:", len(e.Executions))
	for i, x := range e.Executions {
		if i == most {
			fmt.Fprintf(&b, " and %d more", len(e.Executions)-most)
			break
		}
		b.WriteString(" " + x.Workflow + "/" + strconv.Quote(x.ID))
	}
	return b.String()
}

// Is makes the error match [ErrInterrupted].
func (e *UnfinishedError) Is(target error) bool { return target == ErrInterrupted }
