package runctx

import (
	"context"
	"sync"
	"time"
)

// AttemptContext is the context of an attempt, with all that it carries in one: one is
// made for each attempt of each step. Its exported fields are set before it is used.
//
// It ends with the context that it is made from, or when [AttemptContext.Cancel] says
// so. Most bodies are through before they ask for the end: the context that can tell it
// to others is made when it is asked for.
type AttemptContext struct {
	// Base is what the context is made from. It has all the values that this one does
	// not have itself.
	Base context.Context //nolint:containedctx // a context is made of it

	Attempt Attempt
	Locks   Attempts
	// End is the deadline that the context tells those who ask; whoever made it sees to its
	// end. Zero is the deadline of the context it is made from.
	End time.Time

	mu     sync.Mutex
	over   bool // Cancel was called
	cause  error
	inner  context.Context //nolint:containedctx // made of Base when somebody asks
	cancel context.CancelCauseFunc
}

var _ context.Context = (*AttemptContext)(nil)

// Cancel ends the context. The first cause counts.
func (c *AttemptContext) Cancel(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end(cause)
}

// Finish ends the context, and returns why it had ended before, if it had.
func (c *AttemptContext) Finish() (before error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before = c.ended()
	c.end(context.Canceled)
	return before
}

// end requires mu.
func (c *AttemptContext) end(cause error) {
	if !c.over {
		c.over, c.cause = true, baseCause(c.Base)
	}
	if c.cause == nil {
		c.cause = cause
	}
	if c.cancel != nil {
		c.cancel(cause)
	}
}

// baseCause is [context.Cause], which takes longer to tell that there is none.
func baseCause(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}
	return context.Cause(ctx)
}

// Cause is [context.Cause] of the context.
func (c *AttemptContext) Cause() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended()
}

// ended requires mu.
func (c *AttemptContext) ended() error {
	switch {
	case c.inner != nil:
		return context.Cause(c.inner)
	case c.over:
		return c.cause
	}
	return baseCause(c.Base)
}

// asked returns the context that tells others of the end.
func (c *AttemptContext) asked() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner == nil {
		base := c.Base
		if c.over {
			base = context.WithoutCancel(base) // which may have ended since
		}
		if c.inner, c.cancel = context.WithCancelCause(base); c.over {
			c.cancel(c.cause)
		}
	}
	return c.inner
}

// Done implements [context.Context].
func (c *AttemptContext) Done() <-chan struct{} { return c.asked().Done() }

// Err implements [context.Context].
func (c *AttemptContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.inner != nil:
		return c.inner.Err()
	case c.over:
		return context.Canceled
	}
	return c.Base.Err()
}

// Value implements [context.Context].
func (c *AttemptContext) Value(key any) any {
	switch key.(type) {
	case attemptKey:
		return &c.Attempt
	case scopeKey:
		return c.Locks.Scope()
	}
	v := c.Base.Value(key)
	if _, ok := v.(context.Context); ok {
		// Package context looks for the context that ends: that is this one.
		return c.asked().Value(key)
	}
	return v
}

// Deadline implements [context.Context].
func (c *AttemptContext) Deadline() (time.Time, bool) {
	if c.End.IsZero() {
		return c.Base.Deadline()
	}
	return c.End, true
}
