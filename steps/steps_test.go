package steps_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lockstep-dev/lockstep/internal/plan"
	"github.com/lockstep-dev/lockstep/internal/runctx"
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errBoom = errors.New("boom")

func echo(_ *steps.Context, in string) (string, error) { return in, nil }

func forget(*steps.Context, string) error { return nil }

func definition[In, Out any](t *testing.T, s *steps.Step[In, Out]) *plan.Step {
	t.Helper()
	d, err := s.Definition()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// panics wants a panic whose text holds all the words.
func panics(t *testing.T, fn func(), words ...string) {
	t.Helper()
	defer func() {
		t.Helper()
		msg, _ := recover().(string)
		for _, word := range words {
			if !strings.Contains(msg, word) {
				t.Errorf("panic %q, want %q in it", msg, word)
			}
		}
	}()
	fn()
	t.Error("no panic")
}

func TestStepThatCannotBePanicsNamingEveryFault(t *testing.T) {
	panics(t, func() {
		steps.New[string, string]("", nil, nil, steps.Timeout(0), steps.CompensationTimeout(-time.Second),
			steps.Retry(steps.RetryPolicy{Jitter: 2}), steps.Undo[string](nil))
	}, "name is empty", "no invoke", "option 1 is nil", "Timeout 0s", "CompensationTimeout -1s", "Jitter", "Undo needs a function")
	panics(t, func() { steps.NewReversible[string, string, int]("s", nil, nil) }, `"s"`, "no invoke", "no compensate")
	panics(t, func() { steps.With[string, string](nil) }, "nil")
}

func TestPolicyThatCannotBeIsAFault(t *testing.T) {
	for word, p := range map[string]steps.RetryPolicy{
		"negative":         {Backoff: -1},
		"MaxElapsed":       {MaxElapsed: -1},
		"longer":           {Backoff: 2, MaxBackoff: 1},
		"Jitter":           {Jitter: -0.1},
		"less than 1":      {Multiplier: 0.5},
		"cannot be negati": {MaxBackoff: -1},
	} {
		panics(t, func() { steps.New("s", echo, steps.Retry(p)) }, word)
		panics(t, func() { steps.New("s", echo, steps.RetryCompensation(p)) }, word)
	}
}

func TestUndoOfAnotherTypeThanTheUndoDataIsAFault(t *testing.T) {
	wrong := steps.Undo(func(*steps.Context, int) error { return nil })
	panics(t, func() { steps.New("s", echo, wrong) }, "Undo takes int", "string")
	reversible := func(opts ...steps.Option) {
		steps.NewReversible("s", func(*steps.Context, string) (string, int, error) { return "", 0, nil },
			func(*steps.Context, int) error { return nil }, opts...)
	}
	panics(t, func() { reversible(steps.Undo(forget)) }, "Undo takes string", "int")
	panics(t, func() { reversible(wrong) }, "compensation already")
}

func TestUndoOverridesAnEarlierOneForTheOutput(t *testing.T) {
	called := false
	s := steps.New("s", echo, steps.Undo(forget), steps.Undo(func(*steps.Context, string) error { called = true; return nil }))
	definition(t, s).Compensate(context.Background(), store.JSON{}, nil)
	if !called {
		t.Error("the first one was called")
	}
}

func TestWithChangesACopy(t *testing.T) {
	a := steps.New("a", echo, steps.Retry(steps.RetryPolicy{MaxAttempts: 2}))
	b := steps.With(a, steps.Name("b"), steps.Timeout(time.Second), steps.Undo(forget))
	da, db := definition(t, a), definition(t, b)
	if a.Name() != "a" || b.Name() != "b" || da.Policy.Invoke.Timeout != 0 || da.Compensate != nil {
		t.Error("the step was changed")
	}
	if db.Policy.Invoke.Timeout != time.Second || db.Policy.Invoke.Most != 2 || db.Compensate == nil {
		t.Errorf("%+v", db)
	}
}

func TestWithNamesTheStepInItsErrors(t *testing.T) {
	s := steps.With(steps.New("a", func(*steps.Context, string) (string, error) { return "\xff", nil }), steps.Name("b"))
	r := definition(t, s).Invoke(context.Background(), store.JSON{}, []byte(`""`))
	if e, ok := errors.AsType[*steps.EncodingError](r.Err); !ok || e.Step != "b" {
		t.Error(r.Err)
	}
}

func TestRetryHoldsForBothPhasesUnlessTheCompensationHasItsOwn(t *testing.T) {
	two, five := steps.Retry(steps.RetryPolicy{MaxAttempts: 2}), steps.RetryCompensation(steps.RetryPolicy{MaxAttempts: 5})
	for _, c := range []struct {
		opts []steps.Option
		want int
	}{{[]steps.Option{two}, 2}, {[]steps.Option{two, five}, 5}, {[]steps.Option{five, two}, 5}} {
		p := definition(t, steps.New("s", echo, c.opts...)).Policy
		if p.Invoke.Most != 2 || p.Compensate.Most != c.want {
			t.Errorf("%+v", p)
		}
	}
}

func TestMarksOfNilAreNil(t *testing.T) {
	if steps.Permanent(nil) != nil || steps.KeepUndo(nil) != nil || steps.RetryAfter(nil, time.Second) != nil {
		t.Error("a mark made an error of nil")
	}
}

func TestMarkedErrorsReadAsBeforeAndAreFoundThroughOtherMarks(t *testing.T) {
	err := steps.Permanent(steps.KeepUndo(steps.RetryAfter(errBoom, time.Second)))
	if err.Error() != "boom" || !errors.Is(err, errBoom) {
		t.Error(err)
	}
	if r, ok := errors.AsType[*steps.RetryAfterError](err); !ok || r.After != time.Second {
		t.Error(err)
	}
}

func TestMarksReachTheResult(t *testing.T) {
	s := steps.NewReversible("s", func(*steps.Context, string) (string, int, error) {
		return "out", 42, steps.Permanent(steps.KeepUndo(steps.RetryAfter(errBoom, time.Second)))
	}, func(*steps.Context, int) error { return nil })
	r := definition(t, s).Invoke(context.Background(), store.JSON{}, []byte(`""`))
	if !r.Permanent || r.RetryAfter == nil || *r.RetryAfter != time.Second || string(r.Undo) != "42" || r.Output != nil {
		t.Errorf("%+v", r)
	}
}

func TestUndoBesideAnUnmarkedErrorIsDropped(t *testing.T) {
	s := steps.NewReversible("s", func(*steps.Context, string) (string, int, error) { return "out", 42, errBoom },
		func(*steps.Context, int) error { return nil })
	if r := definition(t, s).Invoke(context.Background(), store.JSON{}, []byte(`""`)); r.Undo != nil || r.Permanent {
		t.Errorf("%+v", r)
	}
}

func TestMissingInputIsTheZeroValue(t *testing.T) {
	got := "unset"
	s := steps.New("s", func(_ *steps.Context, in string) (string, error) { got = in; return in, nil })
	if r := definition(t, s).Invoke(context.Background(), store.JSON{}, nil); r.Err != nil || got != "" {
		t.Errorf("%q, %v", got, r.Err)
	}
}

func TestInputThatDoesNotDecodeIsAPermanentEncodingError(t *testing.T) {
	r := definition(t, steps.New("s", echo)).Invoke(context.Background(), store.JSON{}, []byte(`7`))
	if e, ok := errors.AsType[*steps.EncodingError](r.Err); !ok || !r.Permanent || e.What != "input" || e.Type != "string" {
		t.Error(r.Err)
	}
}

func TestContextOutsideAnEngineHasNothingAndDoesNotPanic(t *testing.T) {
	s := steps.New("s", func(ctx *steps.Context, _ string) (string, error) {
		if ctx.Container() != nil || ctx.Workflow()+ctx.ExecutionID()+ctx.Step()+ctx.IdempotencyKey()+string(ctx.Outcome()) != "" || ctx.Attempt() != 0 {
			t.Error("it has something")
		}
		ctx.Logger().Debug("not seen")
		return "", nil
	})
	if r := definition(t, s).Invoke(context.Background(), store.JSON{}, nil); r.Err != nil {
		t.Error(r.Err)
	}
}

func TestLoggerHasTheAttemptsParticulars(t *testing.T) {
	var out bytes.Buffer
	ctx := runctx.WithAttempt(context.Background(), &runctx.Attempt{
		Workflow: "w", ExecutionID: "x", Step: "s", Phase: runctx.Compensate, Number: 3, Outcome: runctx.Unknown,
		Logger: slog.New(slog.NewTextHandler(&out, nil)),
	})
	s := steps.New("s", echo, steps.Undo(func(ctx *steps.Context, _ string) error {
		if ctx.Outcome() != steps.Unknown {
			t.Error(ctx.Outcome())
		}
		ctx.Logger().Info("hello")
		return nil
	}))
	definition(t, s).Compensate(ctx, store.JSON{}, nil)
	for _, word := range []string{"hello", "workflow=w", "execution=x", "step=s", "phase=compensate", "attempt=3"} {
		if !strings.Contains(out.String(), word) {
			t.Errorf("no %q in %s", word, out.String())
		}
	}
}

func TestNilStepHasNoDefinition(t *testing.T) {
	var none *steps.Step[string, string]
	if _, err := none.Definition(); err == nil {
		t.Error("no error")
	}
}

func TestTimeoutErrorMatchesDeadlineExceededAndItsCause(t *testing.T) {
	err := error(&steps.TimeoutError{After: time.Second, Err: errBoom})
	if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, errBoom) || errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if bare := (&steps.TimeoutError{After: time.Second}); !strings.Contains(bare.Error(), "1s") || errors.Unwrap(bare) != nil {
		t.Error(bare)
	}
}
