package steps

import (
	"context"
	"log/slog"

	"github.com/lockstep-dev/lockstep/container"
	"github.com/lockstep-dev/lockstep/internal/runctx"
)

// Context is what a step's bodies are given: a [context.Context] that ends with
// the attempt, and what the attempt has to know. It may be used concurrently, and
// not beyond the body's return.
type Context struct {
	context.Context //nolint:containedctx // a Context is one

	attempt   *runctx.Attempt
	container *container.Container
}

var (
	_ context.Context    = (*Context)(nil)
	_ container.Resolver = (*Context)(nil)
)

func newContext(ctx context.Context) *Context {
	c := &Context{Context: ctx, attempt: runctx.AttemptFrom(ctx)}
	if c.attempt == nil {
		c.attempt = &runctx.Attempt{}
	}
	c.container, _ = container.FromContext(ctx)
	return c
}

// Container returns the container of the engine that runs the step, so that
// container.Resolve(ctx, key) finds what was registered there.
func (c *Context) Container() *container.Container { return c.container }

// Workflow is the name of the workflow.
func (c *Context) Workflow() string { return c.attempt.Workflow }

// ExecutionID is the id of the execution; Medusa calls it the transaction id.
func (c *Context) ExecutionID() string { return c.attempt.ExecutionID }

// Step is the name of the step in its workflow, behind those of the named regions
// that it stands in.
func (c *Context) Step() string { return c.attempt.Step }

// Attempt counts the attempts of this body from 1.
func (c *Context) Attempt() int { return c.attempt.Number }

// IdempotencyKey is equal for all attempts of this body in this execution, and
// differs from that of every other. A side effect carries it, since a body runs at
// least once.
func (c *Context) IdempotencyKey() string { return c.attempt.IdempotencyKey() }

// InvokeKey is the idempotency key of the step's invoke, in its compensation too. A
// compensation whose outcome is [Unknown] has no undo data: what its invoke may have done
// is known by this key alone.
func (c *Context) InvokeKey() string { return c.attempt.KeyOf(runctx.Invoke) }

// Outcome says in a compensation how the invoke ended. In an invoke it is empty.
func (c *Context) Outcome() Outcome { return Outcome(c.attempt.Outcome) }

// Logger has the attempt's particulars as attributes.
func (c *Context) Logger() *slog.Logger {
	log := c.attempt.Logger
	if log == nil {
		log = slog.Default()
	}
	if items := c.attempt.Items; len(items) > 0 {
		log = log.With("items", items)
	}
	return log.With("workflow", c.attempt.Workflow, "execution", c.attempt.ExecutionID,
		"step", c.attempt.Step, "phase", string(c.attempt.Phase), "attempt", c.attempt.Number)
}

// Outcome is how an invoke ended.
type Outcome string

// The outcomes that a compensation can meet. Unknown is that of an attempt which
// could not be awaited, or whose process died: its effect may be there or not, and its
// undo data is that of an attempt before, or the zero value: see [Context.InvokeKey].
const (
	Succeeded = Outcome(runctx.Succeeded)
	Failed    = Outcome(runctx.Failed)
	Unknown   = Outcome(runctx.Unknown)
)
