package workflow_test

import (
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/workflow"
)

func TestTransformsComputeFromTheirValuesInOrder(t *testing.T) {
	w := workflow.New("w", func(b *workflow.Builder, in workflow.Value[string]) workflow.Value[string] {
		one := workflow.Const(b, 1)
		two := workflow.Transform(b, one, func(a int) (float64, error) { return float64(a) * 2, nil })
		three := workflow.Transform2(b, one, two, func(a int, b float64) (string, error) { return strconv.Itoa(a + int(b)), nil })
		four := workflow.Transform3(b, one, two, three, func(a int, b float64, c string) ([]string, error) {
			return []string{strconv.Itoa(a), strconv.Itoa(int(b)), c}, nil
		})
		all := workflow.Transform4(b, in, two, three, four, func(a string, _ float64, _ string, d []string) (string, error) {
			return a + strings.Join(d, ","), nil
		})
		return workflow.Map(b, all, func(s string) string { return "<" + s + ">" })
	})
	_, out, err := runs(t, w)
	if out != "<-1,2,3>" || err != nil {
		t.Error(out, err)
	}
}

func TestTransformSeesTheZeroValueOfASkippedStep(t *testing.T) {
	skip := steps.New("skip", func(*steps.Context, string) (int, error) { return 7, steps.Skip() })
	w := workflow.New("w", func(b *workflow.Builder, in workflow.Value[string]) workflow.Value[string] {
		return workflow.Map(b, workflow.Do(b, skip, in), strconv.Itoa)
	})
	_, out, err := runs(t, w)
	if out != "0" || err != nil {
		t.Error(out, err)
	}
}

func TestDecisionIsEvaluatedOnceHoweverOftenTheNextStepIsTried(t *testing.T) {
	var j journal
	s := body(&j, "s", func(ctx *steps.Context) error {
		if ctx.Attempt() < 3 {
			return errBoom
		}
		return nil
	}, steps.Retry(steps.RetryPolicy{MaxAttempts: 3}))
	w := workflow.New("w", func(b *workflow.Builder, in workflow.Value[string]) workflow.Value[string] {
		return workflow.Do(b, s, workflow.Map(b, in, func(v string) string { j.addf("map"); return v + "m" }))
	})
	_, _, err := runs(t, w)
	if err != nil || j.count("map") != 1 || j.count("do s(-m)") != 3 {
		t.Error(err, j.all())
	}
}

// between is a workflow with a transform between two steps.
func between(j *journal, fn func(string) (string, error)) *workflow.Workflow[string, string] {
	return workflow.New("w", func(b *workflow.Builder, in workflow.Value[string]) workflow.Value[string] {
		return workflow.Do(b, doing(j, "b"), workflow.Transform(b, workflow.Do(b, doing(j, "a"), in), fn))
	})
}

func TestTransformThatFailsCompensatesWhatCameBefore(t *testing.T) {
	var j journal
	_, _, err := runs(t, between(&j, func(string) (string, error) { return "", errBoom }))
	j.want(t, "do a(-)", "undo a(-a) succeeded")
	s, ok := errors.AsType[*workflow.StepError](err)
	if !ok || s.Step != "Transform#1" || !errors.Is(err, errBoom) || failure(t, err).State != store.Reverted {
		t.Error(err)
	}
}

func TestI11TransformThatPanicsCompensatesWhatCameBefore(t *testing.T) {
	var j journal
	_, _, err := runs(t, between(&j, func(string) (string, error) { panic(io.ErrUnexpectedEOF) }))
	j.want(t, "do a(-)", "undo a(-a) succeeded")
	if s, ok := errors.AsType[*workflow.StepError](err); !ok || s.Step != "Transform#1" || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
}

func TestTransformWhoseResultDoesNotEncodeCompensatesWhatCameBefore(t *testing.T) {
	var j journal
	_, _, err := runs(t, between(&j, func(string) (string, error) { return "\xff", nil }))
	j.want(t, "do a(-)", "undo a(-a) succeeded")
	if s, ok := errors.AsType[*workflow.StepError](err); !ok || s.Step != "Transform#1" {
		t.Error(err)
	}
}

func TestTransformThatBlocksForASecondIsAnErrorNamingIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		_, _, err := runs(t, between(&j, func(s string) (string, error) {
			time.Sleep(1001 * time.Millisecond) // virtual
			return s, nil
		}))
		j.want(t, "do a(-)", "undo a(-a) succeeded")
		if err == nil || !strings.Contains(err.Error(), "Transform#1") || !strings.Contains(err.Error(), "pure and quick") {
			t.Error(err)
		}
	})
}

func TestTransformThatFailsBeforeTheFirstStepRunsNothing(t *testing.T) {
	var j journal
	w := workflow.New("w", func(b *workflow.Builder, in workflow.Value[string]) workflow.Value[string] {
		return workflow.Do(b, doing(&j, "a"), workflow.Transform(b, in, func(string) (string, error) { return "", errBoom }))
	})
	_, _, err := runs(t, w)
	j.want(t)
	if !errors.Is(err, errBoom) || failure(t, err).State != store.Reverted {
		t.Error(err)
	}
}

func TestStatusTellsTheStateOfEveryStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		let := make(chan struct{})
		w := inTurn(doing(&journal{}, "a"), body(&journal{}, "b", func(ctx *steps.Context) error {
			if ctx.Attempt() == 1 {
				return errBoom
			}
			<-let
			return nil
		}, steps.Retry(steps.RetryPolicy{MaxAttempts: 2})), doing(&journal{}, "c"))
		r := start(t, workflow.Config{Workflows: workflow.Set{w}})
		h := begin(t, r, w, "-", workflow.WithExecutionID("x"))
		synctest.Wait()
		s, err := h.Status(t.Context())
		if err != nil || s.Workflow != "w" || s.ID != "x" || s.State != store.Invoking || !s.FinishedAt.IsZero() || len(s.Steps) != 3 {
			t.Fatalf("%+v, %v", s, err)
		}
		want := []store.StepState{store.StepDone, store.StepInvoking, store.StepNotStarted}
		for i, name := range []string{"a", "b", "c"} {
			if got := s.Steps[i]; got.Name != name || got.Invoke.State != want[i] || got.Compensate.State != store.StepDormant {
				t.Errorf("%+v", got)
			}
		}
		if s.Steps[1].Invoke.Attempts != 2 {
			t.Errorf("%+v", s.Steps[1])
		}
		time.Sleep(time.Minute)
		close(let)
		if _, err := h.Wait(t.Context()); err != nil {
			t.Error(err)
		}
		s, err = h.Status(t.Context())
		if err != nil || s.State != store.Done || s.FinishedAt.Sub(s.CreatedAt) != time.Minute {
			t.Errorf("%+v, %v", s, err)
		}
	})
}

func TestStatusTellsOfACancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		let := make(chan struct{})
		w := inTurn(body(&journal{}, "a", func(ctx *steps.Context) error { <-ctx.Done(); <-let; return ctx.Err() }))
		r := start(t, workflow.Config{Workflows: workflow.Set{w}})
		h := begin(t, r, w, "-", workflow.WithExecutionID("x"))
		synctest.Wait()
		if err := h.Cancel(t.Context()); err != nil {
			t.Fatal(err)
		}
		s, err := h.Status(t.Context())
		if err != nil || s.State != store.WaitingToCompensate || s.CancelledAt.IsZero() {
			t.Errorf("%+v, %v", s, err)
		}
		close(let)
		_, _ = h.Wait(t.Context())
		if s, _ = h.Status(t.Context()); s.State != store.Reverted || s.Steps[0].Compensate.State != store.StepReverted {
			t.Errorf("%+v", s)
		}
	})
}
