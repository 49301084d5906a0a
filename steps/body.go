package steps

import (
	"context"
	"errors"
	"runtime/debug"

	"github.com/lockstep-dev/lockstep/internal/plan"
)

// invokeFunc and compensateFunc are bodies without their types. They get the
// step's name late, since [With] may change it.
type (
	invokeFunc     func(ctx context.Context, c plan.Codec, step string, input []byte) plan.Result
	compensateFunc func(ctx context.Context, c plan.Codec, step string, undo []byte) plan.Result
)

func (f invokeFunc) named(step string) func(context.Context, plan.Codec, []byte) plan.Result {
	return func(ctx context.Context, c plan.Codec, input []byte) plan.Result {
		return f(ctx, c, step, input)
	}
}

func (f compensateFunc) named(step string) func(context.Context, plan.Codec, []byte) plan.Result {
	if f == nil {
		return nil
	}
	return func(ctx context.Context, c plan.Codec, undo []byte) plan.Result {
		return f(ctx, c, step, undo)
	}
}

// invokeBody erases an invoke. Where undo data and output are the same value it
// is encoded once.
func invokeBody[In, Out, U any](fn func(*Context, In) (Out, U, error), same bool) invokeFunc {
	return func(ctx context.Context, c plan.Codec, step string, input []byte) plan.Result {
		in, err := decodeInput[In](c, step, input)
		if err != nil {
			return judged(plan.Result{Err: err})
		}
		out, undo, err := protect(func() (Out, U, error) { return fn(newContext(ctx), in) })
		if err != nil {
			return failed(c, step, undo, err)
		}
		var r plan.Result
		r.Output, r.Err = encode(c, step, "output", out)
		if same {
			r.Undo = r.Output
			return judged(r)
		}
		// Undo data that can be kept is kept, also when the output cannot.
		var undoErr error
		r.Undo, undoErr = encode(c, step, "undo data", undo)
		r.Err = errors.Join(r.Err, undoErr)
		return judged(r)
	}
}

func decodeInput[In any](c plan.Codec, step string, input []byte) (in In, err error) {
	if input == nil { // the output of a skipped step is the zero value
		return in, nil
	}
	if err := decode(c, input, &in); err != nil {
		return in, Permanent(&EncodingError{step, "input", typeName[In](), err})
	}
	return in, nil
}

// failed is the result of an invoke that returned an error.
func failed[U any](c plan.Codec, step string, undo U, err error) plan.Result {
	if errors.Is(err, ErrSkipped) {
		return plan.Result{Skipped: true}
	}
	r := plan.Result{Err: err}
	if _, ok := errors.AsType[*KeepUndoError](err); ok {
		var e error
		if r.Undo, e = encode(c, step, "undo data", undo); e != nil {
			r.Err = errors.Join(err, e)
		}
	}
	return judged(r)
}

// judged reads off an error what its marks ask for.
func judged(r plan.Result) plan.Result {
	if r.Err == nil {
		return r
	}
	var permanent *PermanentError
	r.Permanent = errors.As(r.Err, &permanent)
	if later, ok := errors.AsType[*RetryAfterError](r.Err); ok {
		r.RetryAfter = &later.After
	}
	return r
}

func compensateBody[U any](fn func(*Context, U) error) compensateFunc {
	return func(ctx context.Context, c plan.Codec, step string, data []byte) plan.Result {
		var undo U
		if data != nil {
			if err := decode(c, data, &undo); err != nil {
				return judged(plan.Result{Err: Permanent(&EncodingError{step, "undo data", typeName[U](), err})})
			}
		}
		_, _, err := protect(func() (struct{}, struct{}, error) {
			return struct{}{}, struct{}{}, fn(newContext(ctx), undo)
		})
		return judged(plan.Result{Err: err})
	}
}

// encode makes an error that no other attempt is made for: the side effect is
// there, and would only be made again.
func encode[T any](c plan.Codec, step, what string, v T) ([]byte, error) {
	data, _, err := protect(func() ([]byte, struct{}, error) {
		data, err := c.Encode(v)
		return data, struct{}{}, err
	})
	if err != nil {
		return nil, Permanent(&EncodingError{step, what, typeName[T](), err})
	}
	return data, nil
}

// decode is guarded like a body: a type may bring its own decoding.
func decode(c plan.Codec, data []byte, into any) error {
	_, _, err := protect(func() (struct{}, struct{}, error) { return struct{}{}, struct{}{}, c.Decode(data, into) })
	return err
}

// protect turns a panic into an error.
func protect[A, B any](fn func() (A, B, error)) (a A, b B, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return fn()
}
