package workflow

import (
	"context"
	"fmt"
	"time"

	"github.com/lockstep-dev/lockstep/internal/engine"
	"github.com/lockstep-dev/lockstep/store"
)

// RunOption is an option of [Run] and [Start]. Options are immutable values.
type RunOption interface{ toRun(o runOptions) runOptions }

type runOptions struct {
	id         string
	idSet      bool
	timeout    time.Duration
	timeoutSet bool
}

// IDOption is made by [WithExecutionID].
type IDOption struct{ id string }

// WithExecutionID names the execution. The same id with the same input is the
// same execution, for as long as it is kept: it is joined, or its result is
// returned. The same id with another input is [ErrIDConflict]. The scope of an id
// is the workflow.
func WithExecutionID(id string) IDOption { return IDOption{id} }

func (i IDOption) toRun(o runOptions) runOptions {
	o.id, o.idSet = i.id, true
	return o
}

// TimeoutOption is made by [WithTimeout].
type TimeoutOption struct{ d time.Duration }

// WithTimeout bounds the time of the execution, counted from its creation: one that
// has not ended by then is undone, with an error that matches
// [context.DeadlineExceeded]. The deadline is recorded with the execution and outlives
// its instance. Joining an execution by its id changes nothing about it.
func WithTimeout(d time.Duration) TimeoutOption { return TimeoutOption{d} }

func (t TimeoutOption) toRun(o runOptions) runOptions {
	o.timeout, o.timeoutSet = t.d, true
	return o
}

// Run starts an execution and waits for its result. When ctx ends first Run
// returns its error, and the execution goes on.
//
// An execution that failed, and was compensated, returns an [*ExecutionError] with
// every [*StepError] in order. Before anything runs it returns
// [*NotRegisteredError], [*ConfigError], [*LimitError], [*InputError],
// [ErrNotRunning] or [ErrIDConflict].
func Run[In, Out any](ctx context.Context, e *Engine, w *Workflow[In, Out], input In, opts ...RunOption) (Out, error) {
	run, err := begin(ctx, e, w, input, opts, true)
	if err != nil {
		var none Out
		return none, err
	}
	defer run.Release()
	h := Handle[Out]{e: e, run: run}
	return h.Wait(ctx)
}

// Start starts an execution and returns a handle on it. The execution is recorded
// when Start returns. Its errors are those of [Run] before anything runs.
func Start[In, Out any](ctx context.Context, e *Engine, w *Workflow[In, Out], input In, opts ...RunOption) (*Handle[Out], error) {
	run, err := begin(ctx, e, w, input, opts, false)
	if err != nil {
		return nil, err
	}
	return &Handle[Out]{e: e, run: run}, nil
}

func begin[In any](ctx context.Context, e *Engine, w Definition, input In, opts []RunOption, awaited bool) (*engine.Run, error) {
	var o runOptions
	for _, opt := range opts {
		o = opt.toRun(o)
	}
	p, err := e.check(w)
	if err != nil {
		return nil, err
	}
	switch {
	case o.idSet && o.id == "":
		return nil, &ConfigError{"execution id", `""`, "an id that is not empty; leave WithExecutionID out to have one made"}
	case o.timeoutSet && o.timeout <= 0:
		return nil, &ConfigError{"WithTimeout", o.timeout.String(), "more than zero"}
	case len(o.id) > e.maxID:
		return nil, &LimitError{What: "execution id", Bytes: len(o.id), Limit: e.maxID, Field: "MaxIDBytes"}
	}
	data, identity, err := encodeInput(e, p.Name, input)
	if err != nil {
		return nil, err
	}
	return e.inner.Begin(ctx, engine.Order{Plan: p, ID: o.id, Input: data, Identity: identity, Timeout: o.timeout, Awaited: awaited})
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
	end, err := h.run.Wait(ctx)
	if err != nil {
		return out, err
	}
	past := ctx
	if ctx.Done() != nil {
		past = context.WithoutCancel(ctx)
	}
	h.e.inner.Forget(past, &end)
	if end.State != store.Done {
		return out, newExecutionError(&end)
	}
	if len(end.Output) == 0 && !isMaybe[Out]() {
		return out, nil
	}
	if out, err = decodeValue[Out](h.e.codec, end.Output); err != nil {
		return out, fmt.Errorf("workflow: result of %s: %w", end.Key, err)
	}
	return out, nil
}

// Cancel asks that the execution be undone, and returns when the request is
// recorded: the attempt in flight is cancelled and waited for, then what was done
// is compensated. [Handle.Wait] tells the end. It is an error when the execution
// has ended, or is being compensated already.
func (h *Handle[Out]) Cancel(ctx context.Context) error {
	if err := h.e.inner.Send(ctx, h.run.Key(), store.Event{Kind: store.Cancel, At: time.Now()}); err != nil {
		return fmt.Errorf("workflow: cancel %s: %w", h.run.Key(), err)
	}
	return nil
}

// Status returns the state of the execution as it is recorded, or
// [store.ErrNotFound] when it is no longer kept.
func (h *Handle[Out]) Status(ctx context.Context) (Status, error) {
	x, err := h.e.inner.Load(ctx, h.run.Key())
	if err != nil {
		return Status{}, fmt.Errorf("workflow: status of %s: %w", h.run.Key(), err)
	}
	return newStatus(x), nil
}
