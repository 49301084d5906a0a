package workflow

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/lockstep-dev/lockstep/internal/engine"
	"github.com/lockstep-dev/lockstep/internal/plan"
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store"
)

// ErrUnfit is the error of who sends an execution something that it has no use for: it
// has ended, or is being compensated, or has had that step's result already.
var ErrUnfit = engine.ErrUnfit

// ErrNoAsyncStep is the error for a reference that names no asynchronous step, or one
// with another output.
var ErrNoAsyncStep = errors.New("workflow: the reference names no such asynchronous step")

// CompleteStep gives an asynchronous step its output. The reference is what
// [steps.Context.Ref] gave to the step's start; any engine that has the workflow and
// the store can be told. The output is stored before CompleteStep returns: whoever
// drives the execution goes on with it, and a result that comes before its step waits.
//
// It returns [store.ErrNotFound] when there is no such execution, [ErrNoAsyncStep],
// [*InputError] when the output cannot be encoded, and [ErrUnfit] when it is of no use, as
// far as this engine comes to know that: what another one drives, or has taken up after a
// rest, tells it nothing. It may be called again after any other error.
func CompleteStep[Out any](ctx context.Context, e *Engine, ref steps.Ref, output Out) error {
	if _, err := e.checkRef(ref, typeName[Out]()); err != nil {
		return err
	}
	data, err := encode(e.codec, output)
	if err != nil {
		return &InputError{Workflow: ref.Workflow, Type: typeName[Out](), Err: err}
	}
	return e.send(ctx, keyOf(ref), store.Event{Kind: store.CompleteStep, Path: ref.Step, Items: ref.Items, Output: data})
}

// FailStep tells an asynchronous step that it has failed. It is tried again by its
// policy, unless the error is marked by [steps.Permanent] or refused by the policy's
// filter, which is asked here. Its errors are those of
// [CompleteStep].
func FailStep(ctx context.Context, e *Engine, ref steps.Ref, cause error) error {
	if cause == nil {
		return &ConfigError{"FailStep's error", "nil", "an error; CompleteStep tells of success"}
	}
	step, err := e.checkRef(ref, "")
	if err != nil {
		return err
	}
	var permanent *steps.PermanentError
	final := errors.As(cause, &permanent) || !e.inner.WorthRetrying(keyOf(ref), &step.Policy.Invoke, cause)
	return e.send(ctx, keyOf(ref), store.Event{
		Kind: store.FailStep, Path: ref.Step, Items: ref.Items, Permanent: final,
		Failures: []store.Failure{engine.FailureOf(cause)},
	})
}

// Cancel asks that an execution be undone, whoever drives it: see [Handle.Cancel].
func (e *Engine) Cancel(ctx context.Context, ref Ref) error {
	return e.send(ctx, store.Key(ref), store.Event{Kind: store.Cancel})
}

// Resume has the failed compensations of an execution tried again that has ended as
// failed. It returns when that is recorded; those that were successful are not made
// again. It returns [ErrUnfit] for an execution that has not failed.
func (e *Engine) Resume(ctx context.Context, ref Ref) error {
	return e.send(ctx, store.Key(ref), store.Event{Kind: store.Resume})
}

func (e *Engine) send(ctx context.Context, key store.Key, ev store.Event) error {
	ev.At = time.Now()
	return e.inner.Send(ctx, key, ev)
}

func keyOf(ref steps.Ref) store.Key { return store.Key{Workflow: ref.Workflow, ID: ref.ExecutionID} }

// checkRef finds out what can be wrong with a reference before anything is stored.
func (e *Engine) checkRef(ref steps.Ref, out string) (*plan.Step, error) {
	p := e.plans[ref.Workflow]
	if p == nil {
		return nil, &NotRegisteredError{Workflow: ref.Workflow, Known: e.names()}
	}
	for i := range p.Nodes {
		n := &p.Nodes[i]
		if n.Path != ref.Step || n.Kind != plan.StepNode {
			continue
		}
		switch {
		case !n.Asynchronous():
			return nil, fmt.Errorf("%w: %s of %s is not asynchronous", ErrNoAsyncStep, strconv.Quote(ref.Step), strconv.Quote(ref.Workflow))
		case out != "" && n.Step.OutType != out:
			return nil, fmt.Errorf("%w: %s of %s gives %s, not %s", ErrNoAsyncStep, strconv.Quote(ref.Step), strconv.Quote(ref.Workflow), n.Step.OutType, out)
		}
		return n.Step, nil
	}
	return nil, fmt.Errorf("%w: %s has no step %s", ErrNoAsyncStep, strconv.Quote(ref.Workflow), strconv.Quote(ref.Step))
}
