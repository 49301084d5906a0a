package steps

import (
	"context"
	"errors"

	"github.com/lockstep-dev/lockstep/internal/plan"
)

// NewAsync makes an asynchronous step: start sets something going, elsewhere, and
// the step's output comes from outside, by package workflow's CompleteStep or FailStep
// with the [Context.Ref] that start has given to whoever will know. Until then the
// execution costs nothing but its record.
//
// The result may come before start has returned: it waits, and counts once start has
// succeeded. An error of start, or one that comes from outside, is treated alike: by
// the step's retry policy, under which start is called again. [Skip] as start's error
// says that there is nothing to wait for. [Timeout] bounds each call of start, [Await]
// the time that the result may take.
//
// Undo data is the output; [Undo] gives the step a compensation. One that is
// cancelled while it waits has an unknown outcome. NewAsync panics like [New].
func NewAsync[In, Out any](name string, start func(ctx *Context, in In) error, opts ...Option) *Step[In, Out] {
	d := definition{name: name, outType: typeName[Out](), asynchronous: true}
	if start == nil {
		d.fault("it has no start")
	} else {
		d.invoke = startBody(func(ctx *Context, in In) (none, error) { return none{}, start(ctx, in) }, nil)
	}
	return finish[In, Out](d, opts)
}

// NewReversibleAsync makes an asynchronous step whose start returns undo data, which
// compensate gets whatever comes from outside: also after an error from there, and
// when nothing came. Beside an error of start itself it counts only under [KeepUndo].
// It panics like [New].
func NewReversibleAsync[In, Out, U any](name string,
	start func(ctx *Context, in In) (U, error),
	compensate func(ctx *Context, undo U) error,
	opts ...Option,
) *Step[In, Out] {
	d := definition{name: name, outType: typeName[Out](), undoType: typeName[U](), asynchronous: true}
	if start == nil {
		d.fault("it has no start")
	} else {
		d.invoke = startBody(start, encode[U])
	}
	if compensate == nil {
		d.fault("it has no compensate")
	} else {
		d.compensate = compensateBody(compensate)
	}
	return finish[In, Out](d, opts)
}

// none is the undo data of a start that gives none.
type none struct{}

// startBody erases a start. Keep encodes its undo data; where it is nil there is
// none.
func startBody[In, U any](fn func(*Context, In) (U, error), keep func(c plan.Codec, step, what string, undo U) ([]byte, error)) invokeFunc {
	return func(ctx context.Context, c plan.Codec, step string, input []byte) plan.Result {
		in, err := decodeInput[In](c, step, input)
		if err != nil {
			return judged(plan.Result{Err: err})
		}
		undo, _, err := protect(func() (U, struct{}, error) {
			undo, err := fn(newContext(ctx), in)
			return undo, struct{}{}, err
		})
		if errors.Is(err, ErrSkipped) {
			return plan.Result{Skipped: true}
		}
		r := plan.Result{Err: err}
		if _, kept := errors.AsType[*KeepUndoError](err); keep != nil && (err == nil || kept) {
			var undoErr error
			r.Undo, undoErr = keep(c, step, "undo data", undo)
			r.Err = errors.Join(err, undoErr)
			if r.Undo == nil {
				r.Undo = []byte{} // nil stands for the output
			}
		}
		return judged(r)
	}
}
