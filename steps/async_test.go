package steps_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/internal/plan"
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store"
)

func starts(*steps.Context, string) error { return nil }

func invoke[In, Out any](t *testing.T, s *steps.Step[In, Out], input string) plan.Result {
	t.Helper()
	return definition(t, s).Invoke(context.Background(), store.JSON{}, []byte(input))
}

func TestAsyncStepGetsItsInputAndGivesNoOutput(t *testing.T) {
	var got string
	s := steps.NewAsync[string, int]("s", func(_ *steps.Context, in string) error { got = in; return nil }, steps.Await(time.Hour))
	if r := invoke(t, s, `"in"`); got != "in" || r.Output != nil || r.Undo != nil || r.Err != nil || r.Skipped {
		t.Errorf("%q, %+v", got, r)
	}
	d := definition(t, s)
	if !d.Asynchronous || d.Await != time.Hour || d.InType != "string" || d.OutType != "int" || d.UndoType != "" || d.Compensate != nil {
		t.Errorf("%+v", d)
	}
	if other := definition(t, steps.New("s", echo)); other.Asynchronous {
		t.Error("every step is asynchronous")
	}
}

func TestAsyncStepThatFailsOrSkipsSaysSo(t *testing.T) {
	result := func(err error) plan.Result {
		return invoke(t, steps.NewAsync[string, int]("s", func(*steps.Context, string) error { return err }), `""`)
	}
	if r := result(steps.RetryAfter(errBoom, time.Second)); !errors.Is(r.Err, errBoom) || r.RetryAfter == nil || r.Permanent {
		t.Errorf("%+v", r)
	}
	if r := result(steps.Permanent(errBoom)); !errors.Is(r.Err, errBoom) || !r.Permanent {
		t.Errorf("%+v", r)
	}
	if r := result(steps.Skip()); !r.Skipped || r.Err != nil {
		t.Errorf("%+v", r)
	}
	if r := result(steps.KeepUndo(errBoom)); r.Undo != nil {
		t.Errorf("it keeps undo data that it does not have: %+v", r)
	}
}

func TestAsyncStepThatPanicsFails(t *testing.T) {
	r := invoke(t, steps.NewAsync[string, int]("s", func(*steps.Context, string) error { panic("ouch") }), `""`)
	if _, ok := errors.AsType[*steps.PanicError](r.Err); !ok {
		t.Error(r.Err)
	}
}

func TestAsyncStepRefusesAnInputThatDoesNotDecode(t *testing.T) {
	r := invoke(t, steps.NewAsync[string, int]("s", starts), `7`)
	if e, ok := errors.AsType[*steps.EncodingError](r.Err); !ok || e.What != "input" || !r.Permanent {
		t.Error(r.Err)
	}
}

func TestUndoOfAnAsyncStepTakesItsOutput(t *testing.T) {
	var got int
	s := steps.NewAsync[string, int]("s", starts, steps.Undo(func(_ *steps.Context, out int) error { got = out; return nil }))
	if r := definition(t, s).Compensate(context.Background(), store.JSON{}, []byte(`7`)); r.Err != nil || got != 7 {
		t.Error(got, r.Err)
	}
	panics(t, func() { steps.NewAsync[string, int]("s", starts, steps.Undo(forget)) }, "Undo takes string", "int")
}

func TestReversibleAsyncStepKeepsItsUndoData(t *testing.T) {
	var fails error
	var got int
	s := steps.NewReversibleAsync[string, string]("s", func(*steps.Context, string) (int, error) { return 42, fails },
		func(_ *steps.Context, undo int) error { got = undo; return nil })
	d := definition(t, s)
	if r := invoke(t, s, `""`); string(r.Undo) != "42" || r.Output != nil || r.Err != nil || !d.Asynchronous || d.UndoType != "int" {
		t.Errorf("%+v", r)
	}
	if fails = errBoom; invoke(t, s, `""`).Undo != nil {
		t.Error("it is kept beside an error that does not ask for it")
	}
	if fails = steps.KeepUndo(errBoom); string(invoke(t, s, `""`).Undo) != "42" {
		t.Error("KeepUndo does not keep it")
	}
	if d.Compensate(context.Background(), store.JSON{}, []byte(`42`)); got != 42 {
		t.Error(got)
	}
}

// blank encodes everything to nothing, as some codecs do with zero values.
type blank struct{ store.JSON }

func (blank) Encode(any) ([]byte, error) { return nil, nil }

func TestUndoDataOfAReversibleAsyncStepIsNeverTakenForNone(t *testing.T) {
	s := steps.NewReversibleAsync[string, string]("s", func(*steps.Context, string) (int, error) { return 0, nil },
		func(*steps.Context, int) error { return nil })
	if r := definition(t, s).Invoke(context.Background(), blank{}, nil); r.Undo == nil || r.Err != nil {
		t.Errorf("%+v", r)
	}
}

func TestAsyncStepThatCannotBePanicsNamingEveryFault(t *testing.T) {
	panics(t, func() { steps.NewAsync[string, int]("", nil, steps.Await(0), nil) }, "name is empty", "no start", "Await 0s", "option 2 is nil")
	panics(t, func() { steps.NewReversibleAsync[string, int, int]("s", nil, nil) }, "no start", "no compensate")
	panics(t, func() { steps.New("s", echo, steps.Await(time.Second)) }, "Await is for asynchronous steps")
	panics(t, func() { steps.With(steps.New("s", echo), steps.Await(time.Second)) }, "Await is for asynchronous steps")
}

func TestWithGivesAnAsyncStepAnotherTime(t *testing.T) {
	s := steps.With(steps.NewAsync[string, int]("s", starts, steps.Await(time.Hour)), steps.Await(time.Second))
	if d := definition(t, s); d.Await != time.Second || !d.Asynchronous {
		t.Errorf("%+v", d)
	}
}
