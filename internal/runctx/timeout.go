package runctx

import (
	"context"
	"fmt"
	"time"
)

// TimeoutError is the error of an attempt that did not end within its step's
// timeout.
type TimeoutError struct {
	After time.Duration
	// Err is what the body returned when its context had ended; nil when it
	// returned nothing in time.
	Err error
}

func (e *TimeoutError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("steps: attempt timed out after %s", e.After)
	}
	return fmt.Sprintf("steps: attempt timed out after %s: %v", e.After, e.Err)
}

// Is makes the error match [context.DeadlineExceeded].
func (e *TimeoutError) Is(target error) bool { return target == context.DeadlineExceeded }

// Unwrap returns what the body returned.
func (e *TimeoutError) Unwrap() error { return e.Err }
