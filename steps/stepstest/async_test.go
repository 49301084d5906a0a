package stepstest_test

import (
	"errors"
	"testing"

	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/steps/stepstest"
)

// undone is what a compensation saw.
type undone struct {
	undo    int
	outcome steps.Outcome
}

// async is an asynchronous step whose undo data is its output.
func async(log *[]undone, err error, opts ...steps.Option) *steps.Step[string, int] {
	return steps.NewAsync[string, int]("s", func(*steps.Context, string) error { return err },
		append([]steps.Option{steps.Undo(func(ctx *steps.Context, out int) error {
			*log = append(*log, undone{out, ctx.Outcome()})
			return nil
		})}, opts...)...)
}

// keeping is an asynchronous step whose start gives the undo data.
func keeping(log *[]undone) *steps.Step[string, int] {
	return steps.NewReversibleAsync[string, int]("s", func(*steps.Context, string) (int, error) { return 42, nil },
		func(ctx *steps.Context, undo int) error {
			*log = append(*log, undone{undo, ctx.Outcome()})
			return nil
		})
}

func TestAsyncStepAwaitsItsResultOnceItHasStarted(t *testing.T) {
	var ref steps.Ref
	s := steps.NewAsync[string, int]("s", func(ctx *steps.Context, _ string) error { ref = ctx.Ref(); return nil })
	res, err := stepstest.Run(t.Context(), nil, s, "in", stepstest.ExecutionID("x"))
	if err != nil || !res.Awaits || res.Skipped || res.Output != 0 {
		t.Errorf("%+v, %v", res, err)
	}
	if ref.Workflow != stepstest.Workflow || ref.ExecutionID != "x" || ref.Step != "s" || ref.Items != nil {
		t.Errorf("%+v", ref)
	}
}

func TestAsyncStepThatFailedOrSkippedAwaitsNothing(t *testing.T) {
	var log []undone
	res, err := stepstest.Run(t.Context(), nil, async(&log, errBoom), "in")
	if !errors.Is(err, errBoom) || res.Awaits {
		t.Errorf("%+v, %v", res, err)
	}
	if _, err := res.Completed(7); !errors.Is(err, stepstest.ErrNotAwaited) {
		t.Error(err)
	}
	if err := res.Compensate(t.Context()); err != nil || log[0] != (undone{0, steps.Failed}) {
		t.Errorf("%+v, %v", log, err)
	}
	if res, err := stepstest.Run(t.Context(), nil, async(&log, steps.Skip()), "in"); err != nil || res.Awaits || !res.Skipped {
		t.Errorf("%+v, %v", res, err)
	}
	if _, err := (stepstest.Result[int]{}).Completed(7); !errors.Is(err, stepstest.ErrNotAwaited) {
		t.Error(err)
	}
}

func TestCompletedAsyncStepIsCompensatedWithItsOutput(t *testing.T) {
	var log []undone
	res, _ := stepstest.Run(t.Context(), nil, async(&log, nil), "in")
	done, err := res.Completed(7)
	if err != nil || done.Output != 7 || done.Awaits {
		t.Fatalf("%+v, %v", done, err)
	}
	if err := done.Compensate(t.Context()); err != nil || log[0] != (undone{7, steps.Succeeded}) {
		t.Errorf("%+v, %v", log, err)
	}
	if _, err := done.Completed(8); !errors.Is(err, stepstest.ErrNotAwaited) {
		t.Error("it completes twice:", err)
	}
}

func TestAsyncStepThatStillAwaitsIsCompensatedAsUnknown(t *testing.T) {
	var log []undone
	res, _ := stepstest.Run(t.Context(), nil, async(&log, nil, steps.CompensateOnlyDone()), "in")
	if err := res.Compensate(t.Context()); err != nil || log[0] != (undone{0, steps.Unknown}) {
		t.Errorf("%+v, %v", log, err)
	}
}

func TestUndoDataOfStartIsThereHoweverAnAsyncStepEnds(t *testing.T) {
	var log []undone
	res, _ := stepstest.Run(t.Context(), nil, keeping(&log), "in")
	done, err := res.Completed(7)
	if e := errors.Join(err, done.Compensate(t.Context()), res.Compensate(t.Context()), res.CompensateFailed(t.Context())); e != nil {
		t.Fatal(e)
	}
	for i, want := range []undone{{42, steps.Succeeded}, {42, steps.Unknown}, {42, steps.Failed}} {
		if log[i] != want {
			t.Errorf("%+v, want %+v", log[i], want)
		}
	}
}

func TestOutputFromOutsideThatDoesNotEncodeIsRefused(t *testing.T) {
	s := steps.NewAsync[string, string]("s", func(*steps.Context, string) error { return nil })
	res, _ := stepstest.Run(t.Context(), nil, s, "in")
	if done, err := res.Completed("\xff"); err == nil || done.Output != "" {
		t.Errorf("%+v, %v", done, err)
	}
}
