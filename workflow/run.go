package workflow

import (
	"context"
	"fmt"

	"github.com/lockstep-dev/lockstep/internal/engine"
	"github.com/lockstep-dev/lockstep/store"
)

// RunOption is an option of [Run] and [Start]. Options are immutable values.
type RunOption interface{ toRun(o *runOptions) }

type runOptions struct {
	id    string
	idSet bool
}

// IDOption is made by [WithExecutionID].
type IDOption struct{ id string }

// WithExecutionID names the execution. The same id with the same input is the
// same execution, for as long as it is kept: it is joined, or its result is
// returned. The same id with another input is [ErrIDConflict]. The scope of an id
// is the workflow.
func WithExecutionID(id string) IDOption { return IDOption{id} }

func (i IDOption) toRun(o *runOptions) { o.id, o.idSet = i.id, true }

// Run starts an execution and waits for its result. When ctx ends first Run
// returns its error, and the execution goes on.
//
// An execution that failed, and was compensated, returns an [*ExecutionError] with
// every [*StepError] in order. Before anything runs it returns
// [*NotRegisteredError], [*ConfigError], [*LimitError], [*InputError],
// [ErrNotRunning] or [ErrIDConflict].
func Run[In, Out any](ctx context.Context, e *Engine, w *Workflow[In, Out], input In, opts ...RunOption) (Out, error) {
	h, err := Start(ctx, e, w, input, opts...)
	if err != nil {
		var none Out
		return none, err
	}
	return h.Wait(ctx)
}

// Start starts an execution and returns a handle on it. The execution is recorded
// when Start returns. Its errors are those of [Run] before anything runs.
func Start[In, Out any](ctx context.Context, e *Engine, w *Workflow[In, Out], input In, opts ...RunOption) (*Handle[Out], error) {
	var o runOptions
	for _, opt := range opts {
		opt.toRun(&o)
	}
	p, err := e.check(w)
	if err != nil {
		return nil, err
	}
	switch {
	case o.idSet && o.id == "":
		return nil, &ConfigError{"execution id", `""`, "an id that is not empty; leave WithExecutionID out to have one made"}
	case len(o.id) > e.maxID:
		return nil, &LimitError{What: "execution id", Bytes: len(o.id), Limit: e.maxID, Field: "MaxIDBytes"}
	}
	data, err := e.encodeInput(p.Name, input)
	if err != nil {
		return nil, err
	}
	run, err := e.inner.Begin(ctx, p, o.id, data)
	if err != nil {
		return nil, err
	}
	return &Handle[Out]{e: e, run: run}, nil
}

// Handle stands for an execution. It may be used concurrently.
type Handle[Out any] struct {
	e   *Engine
	run *engine.Run
}

// ID is the id of the execution.
func (h *Handle[Out]) ID() string { return h.run.Key().ID }

// Wait returns what [Run] does. It may be called any number of times.
func (h *Handle[Out]) Wait(ctx context.Context) (Out, error) {
	var out Out
	x, errs, err := h.run.Wait(ctx)
	if err != nil {
		return out, err
	}
	h.e.inner.Forget(context.WithoutCancel(ctx), x)
	if x.State != store.Done {
		return out, newExecutionError(x, errs)
	}
	if x.Output == nil {
		return out, nil
	}
	if err := h.e.codec.Decode(x.Output, &out); err != nil {
		return out, fmt.Errorf("workflow: result of %s: %w", x.Key, err)
	}
	return out, nil
}

// Cancel asks that the execution be undone, and returns when the request is
// recorded: the attempt in flight is cancelled and waited for, then what was done
// is compensated. [Handle.Wait] tells the end. It is an error when the execution
// has ended, or is being compensated already.
func (h *Handle[Out]) Cancel(ctx context.Context) error {
	return h.run.Cancel(ctx)
}

// Status returns the state of the execution as it is recorded, or
// [store.ErrNotFound] when it is no longer kept.
func (h *Handle[Out]) Status(ctx context.Context) (Status, error) {
	x, err := h.e.inner.Load(ctx, h.run.Key())
	if err != nil {
		return Status{}, fmt.Errorf("workflow: status of %s: %w", h.run.Key(), err)
	}
	return newStatus(x, h.e.plans[x.Workflow]), nil
}
