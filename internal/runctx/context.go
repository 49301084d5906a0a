package runctx

import (
	"context"
	"time"
)

// AttemptContext is the context of an attempt, with all that it carries in one: one is
// made for each attempt of each step. Its fields are set before it is used.
type AttemptContext struct {
	context.Context //nolint:containedctx // it is one

	Attempt Attempt
	Locks   Attempts
	// End is the deadline that the context tells those who ask; whoever made it sees to its
	// end. Zero is the deadline of the context it is made from.
	End time.Time
}

// Value implements [context.Context].
func (c *AttemptContext) Value(key any) any {
	switch key.(type) {
	case attemptKey:
		return &c.Attempt
	case scopeKey:
		return c.Locks.Scope()
	}
	return c.Context.Value(key)
}

// Deadline implements [context.Context].
func (c *AttemptContext) Deadline() (time.Time, bool) {
	if c.End.IsZero() {
		return c.Context.Deadline()
	}
	return c.End, true
}
