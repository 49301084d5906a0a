package steps

import (
	"errors"
	"fmt"
	"time"

	"github.com/lockstep-dev/lockstep/internal/runctx"
)

// ErrSkipped is matched by the error of [Skip].
var ErrSkipped = errors.New("steps: step skipped")

// Skip returns an error value by which an invoke says that it had nothing to do:
// the step counts as skipped, its output is the zero value, and it is not
// compensated.
func Skip() error { return ErrSkipped }

// PermanentError is an error that no further attempt would mend.
type PermanentError struct{ Err error }

// Permanent marks an error so that the step is not tried again. Permanent(nil)
// is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &PermanentError{err}
}

func (e *PermanentError) Error() string { return e.Err.Error() }
func (e *PermanentError) Unwrap() error { return e.Err }

// RetryAfterError is an error that asks for a pause of its own.
type RetryAfterError struct {
	Err   error
	After time.Duration
}

// RetryAfter asks that the next attempt, if the policy has one left, be made
// after d. RetryAfter(nil, d) is nil.
func RetryAfter(err error, d time.Duration) error {
	if err == nil {
		return nil
	}
	return &RetryAfterError{err, d}
}

func (e *RetryAfterError) Error() string { return e.Err.Error() }
func (e *RetryAfterError) Unwrap() error { return e.Err }

// KeepUndoError is an error beside which the undo data counts.
type KeepUndoError struct{ Err error }

// KeepUndo marks the error of an invoke that has nevertheless done something: the
// undo data returned beside it is given to compensate, in place of the zero
// value. KeepUndo(nil) is nil.
func KeepUndo(err error) error {
	if err == nil {
		return nil
	}
	return &KeepUndoError{err}
}

func (e *KeepUndoError) Error() string { return e.Err.Error() }
func (e *KeepUndoError) Unwrap() error { return e.Err }

// PanicError is the error of a body that panicked.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("steps: panic: %v", e.Value) }

// Unwrap returns the value of the panic when that is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// TimeoutError is the error of an attempt that did not end within its step's
// timeout. It matches [context.DeadlineExceeded].
type TimeoutError = runctx.TimeoutError

// EncodingError is the error of a value that the codec cannot encode or decode.
type EncodingError struct {
	Step string
	What string // "input", "output" or "undo data"
	Type string
	Err  error
}

func (e *EncodingError) Error() string {
	return fmt.Sprintf("steps: %s of step %q (%s): %v", e.What, e.Step, e.Type, e.Err)
}

func (e *EncodingError) Unwrap() error { return e.Err }
