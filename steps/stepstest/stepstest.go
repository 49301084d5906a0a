// Package stepstest runs one step with its compensation, without a workflow or an
// engine, so that a step can be tested alone.
//
//	res, err := stepstest.Run(ctx, c, reserve, order)
//	...
//	err = res.Compensate(ctx)
//
// Input, output and undo data go through JSON, as they would in an engine: what
// cannot be encoded fails here, too. Locks that a body takes through package
// locking belong to the run, exclude everybody else, and are given back when the
// call returns. A call is one attempt, bounded by the step's timeout: retry
// policies are the engine's, and are not applied.
//
// Of an asynchronous step Run calls the start, and the result says that it awaits
// what comes from outside; [Result.Completed] says what came.
package stepstest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/lockstep-dev/lockstep/container"
	"github.com/lockstep-dev/lockstep/internal/plan"
	"github.com/lockstep-dev/lockstep/internal/runctx"
	"github.com/lockstep-dev/lockstep/steps"
)

// Workflow is the name of the workflow that the step's context tells of.
const Workflow = "stepstest"

// lease is that of an engine which is told of no other.
const lease = 30 * time.Second

// giveBackTime bounds the release of what a body left locked.
const giveBackTime = 5 * time.Second

var (
	// ErrNothingRan is returned for the compensation of a [Result] that is not one of
	// [Run].
	ErrNothingRan = errors.New("stepstest: there is no run to compensate")
	// ErrNotAwaited is returned for a result from outside that nothing waits for.
	ErrNotAwaited = errors.New("stepstest: the step does not await a result")
)

// Option is an option of [Run]. Options are immutable values.
type Option interface{ toRun(r *run) }

type optionFunc func(r *run)

func (f optionFunc) toRun(r *run) { f(r) }

// ExecutionID is the execution id that the step's context tells of, and its
// idempotency key is made of. Without it each run has one of its own.
func ExecutionID(id string) Option { return optionFunc(func(r *run) { r.executionID = id }) }

// Attempt is the number of the attempt that the invoke's context tells of, from
// 1; without it, 1.
func Attempt(number int) Option { return optionFunc(func(r *run) { r.invokes = number - 1 }) }

// Result is what [Run] came to.
type Result[Out any] struct {
	// Output is the step's output; the zero value when it failed, or was skipped.
	Output Out
	// Skipped says that the step returned [steps.Skip].
	Skipped bool
	// Awaits says that an asynchronous step has started, and that its result is to
	// come from outside.
	Awaits bool

	run *run
}

// run is a step as it runs here. Its methods must not be called concurrently.
type run struct {
	container   *container.Container
	step        *plan.Step
	id          string // of the locks' owner
	executionID string

	ordinal              uint64
	invokes, compensates int

	skipped, failed, awaits bool
	undo                    []byte
}

// Run calls the step's invoke once. The error is the step's own; the result
// beside it can be compensated. A nil container is an empty one.
func Run[In, Out any](ctx context.Context, c *container.Container, step *steps.Step[In, Out], input In, opts ...Option) (Result[Out], error) {
	var out Result[Out]
	def, err := step.Definition()
	if err != nil {
		return out, fmt.Errorf("stepstest: %w", err)
	}
	if c == nil {
		c = container.New()
	}
	r := &run{container: c, step: def, id: rand.Text()}
	r.executionID = r.id
	for _, opt := range opts {
		opt.toRun(r)
	}
	data, err := codec{}.Encode(input)
	if err != nil {
		return out, fmt.Errorf("stepstest: input of step %q: %w", def.Name, err)
	}
	out.run = r
	r.invokes++
	res, err := r.call(ctx, runctx.Invoke, r.invokes, "", def.Policy.Invoke.Timeout, func(ctx context.Context) plan.Result {
		return def.Invoke(ctx, codec{}, data)
	})
	r.skipped, r.failed, r.undo = res.Skipped, res.Err != nil, res.Undo
	out.Skipped = res.Skipped
	if err != nil || res.Skipped {
		return out, err
	}
	if def.Asynchronous {
		out.Awaits, r.awaits = true, true
		return out, nil
	}
	if err := (codec{}).Decode(res.Output, &out.Output); err != nil {
		return out, fmt.Errorf("stepstest: output of step %q: %w", def.Name, err)
	}
	return out, nil
}

// Completed is the result after the output of an asynchronous step has come from
// outside. It returns [ErrNotAwaited] when the step does not wait for it.
func (r Result[Out]) Completed(output Out) (Result[Out], error) {
	if r.run == nil || !r.run.awaits {
		return r, ErrNotAwaited
	}
	data, err := codec{}.Encode(output)
	if err != nil {
		return r, fmt.Errorf("stepstest: output of step %q: %w", r.run.step.Name, err)
	}
	done := *r.run
	if done.awaits = false; done.undo == nil {
		done.undo = data
	}
	return Result[Out]{Output: output, run: &done}, nil
}

// Compensate calls the step's compensation as an engine would after this run:
// with the run's undo data and [steps.Succeeded], or, if the run returned an error,
// with the zero value, unless [steps.KeepUndo] kept another, and [steps.Failed]. For
// an asynchronous step that awaits its result it is [Result.CompensateUnknown].
//
// Nothing is called, and the answer is nil, where an engine calls nothing: for a
// step that was skipped or has no compensation, and after a failure under
// [steps.CompensateOnlyDone].
//
// It may be called again, as the next attempt.
func (r Result[Out]) Compensate(ctx context.Context) error {
	switch {
	case r.run != nil && r.run.awaits:
		return r.CompensateUnknown(ctx)
	case r.run != nil && !r.run.failed:
		return r.run.compensate(ctx, runctx.Succeeded, r.run.undo)
	}
	return r.CompensateFailed(ctx)
}

// CompensateFailed is [Result.Compensate] as after an invoke that failed, also if
// this one did not: a step must be able to undo an effect it has not heard of. For
// an asynchronous step that awaits its result, it is as after a failure from outside.
func (r Result[Out]) CompensateFailed(ctx context.Context) error {
	if r.run == nil {
		return ErrNothingRan
	}
	if r.run.step.Policy.CompensateOnlyDone {
		return nil
	}
	return r.run.compensate(ctx, runctx.Failed, r.run.kept())
}

// CompensateUnknown is [Result.Compensate] as after an invoke that nobody knows
// the end of, because its process died or it did not heed its context.
func (r Result[Out]) CompensateUnknown(ctx context.Context) error {
	if r.run == nil {
		return ErrNothingRan
	}
	return r.run.compensate(ctx, runctx.Unknown, r.run.kept())
}

// kept is the undo data that is left of an invoke that did not come to its end.
func (r *run) kept() []byte {
	if r.failed || r.awaits {
		return r.undo
	}
	return nil
}

func (r *run) compensate(ctx context.Context, outcome runctx.Outcome, undo []byte) error {
	if r.skipped || r.step.Compensate == nil {
		return nil
	}
	r.compensates++
	_, err := r.call(ctx, runctx.Compensate, r.compensates, outcome, r.step.Policy.Compensate.Timeout, func(ctx context.Context) plan.Result {
		return r.step.Compensate(ctx, codec{}, undo)
	})
	return err
}

// call runs a body in a scope of its own, and gives back what it left locked.
func (r *run) call(ctx context.Context, phase runctx.Phase, number int, outcome runctx.Outcome, timeout time.Duration,
	body func(ctx context.Context) plan.Result,
) (res plan.Result, err error) {
	r.ordinal++
	root := runctx.NewRoot(Workflow, r.id, 1, lease)
	scope := root.Attempt(r.step.Name, r.ordinal)
	defer func() {
		scope.End()
		if e := free(ctx, root.Surrender()); e != nil {
			err = errors.Join(err, e)
		}
	}()
	ctx = container.WithContext(ctx, r.container)
	ctx = runctx.WithScope(ctx, scope)
	ctx = runctx.WithAttempt(ctx, &runctx.Attempt{
		Workflow: Workflow, ExecutionID: r.executionID, Step: r.step.Name, Place: r.step.Name,
		Phase: phase, Number: number, Outcome: outcome,
	})
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if timeout > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeoutCause(ctx, timeout, &runctx.TimeoutError{After: timeout})
		defer stop()
	}
	res = body(ctx)
	if late, ok := errors.AsType[*runctx.TimeoutError](context.Cause(ctx)); ok && res.Err != nil {
		res.Err = &runctx.TimeoutError{After: late.After, Err: res.Err}
	}
	return res, res.Err
}

// free gives holds back, also when the caller's context has ended.
func free(ctx context.Context, list []runctx.Hold) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveBackTime)
	defer cancel()
	var errs []error
	for _, h := range list {
		if _, err := h.Free(ctx); err != nil {
			errs = append(errs, fmt.Errorf("stepstest: give back lock %q: %w", h.Record().Key, err))
		}
	}
	return errors.Join(errs...)
}
