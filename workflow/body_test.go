package workflow_test

import (
	"context"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/workflow"
)

func TestI4BodyThatIgnoresItsTimeoutIsLeftBehindAsUnknownAndChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		let := make(chan struct{})
		s := body(&j, "s", func(*steps.Context) error {
			<-let
			j.addf("late")
			return nil
		}, steps.Timeout(time.Second), steps.CompensateOnlyDone())
		w := inTurn(doing(&j, "a"), s)
		r := start(t, workflow.Config{Workflows: workflow.Set{w}, CancelGrace: 4 * time.Second})
		zero := time.Now()
		h := begin(t, r, w, "-", workflow.WithExecutionID("x"))
		_, err := h.Wait(t.Context())
		if took := time.Since(zero); took != 5*time.Second {
			t.Errorf("left behind after %s, want timeout and grace, 5s", took)
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		key := store.Key{Workflow: "w", ID: "x"}
		before, _ := r.store.Load(t.Context(), key)
		close(let)
		synctest.Wait()
		after, _ := r.store.Load(t.Context(), key)
		if after.Revision != before.Revision || after.State != store.Reverted || !node(t, after, 1).Unknown {
			t.Errorf("revision %d, then %d, state %s", before.Revision, after.Revision, after.State)
		}
		j.want(t, "do a(-)", "do s(-a)", "undo s() unknown", "undo a(-a) succeeded", "late")
	})
}

func TestI4BodyLeftBehindDoesNotDisturbTheNextAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		let := make(chan struct{})
		s := steps.New("s", func(ctx *steps.Context, _ string) (string, error) {
			if ctx.Attempt() == 1 {
				<-let
				return "of the first", nil
			}
			close(let)
			synctest.Wait() // the first attempt returns before the second does
			return "of the second", nil
		}, steps.Timeout(time.Second), steps.Retry(steps.RetryPolicy{MaxAttempts: 2}))
		_, out, err := runs(t, inTurn(s))
		if out != "of the second" || err != nil {
			t.Error(out, err)
		}
	})
}

func TestI11PanicIsTheStepsError(t *testing.T) {
	var j journal
	_, _, err := runs(t, inTurn(doing(&j, "a"), body(&j, "s", func(*steps.Context) error { panic("ouch") })))
	p, ok := errors.AsType[*steps.PanicError](err)
	if !ok || p.Value != "ouch" || !strings.Contains(string(p.Stack), "body_test.go") {
		t.Errorf("%v", err)
	}
	j.want(t, "do a(-)", "do s(-a)", "undo s() failed", "undo a(-a) succeeded")
}

func TestI11PanicWithAnErrorIsFoundByIs(t *testing.T) {
	_, _, err := runs(t, inTurn(body(&journal{}, "s", func(*steps.Context) error { panic(io.ErrUnexpectedEOF) })))
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
}

func TestI11PanicIsTriedAgainByThePolicy(t *testing.T) {
	_, out, err := runs(t, inTurn(body(&journal{}, "s", func(ctx *steps.Context) error {
		if ctx.Attempt() == 1 {
			panic("once")
		}
		return nil
	}, steps.Retry(steps.RetryPolicy{MaxAttempts: 2}))))
	if out != "-s" || err != nil {
		t.Error(out, err)
	}
}

func TestI11PanicInACompensationIsItsError(t *testing.T) {
	s := failing(&journal{}, "s", errBoom, steps.Undo(func(*steps.Context, string) error { panic("undo") }))
	_, _, err := runs(t, inTurn(s))
	if p, ok := errors.AsType[*steps.PanicError](err); !ok || p.Value != "undo" || failure(t, err).State != store.Failed {
		t.Error(err)
	}
}

// touchy panics when it is encoded, or decoded.
type touchy struct{ Encode, Decode bool }

func (v touchy) MarshalJSON() ([]byte, error) {
	if v.Encode {
		panic("marshal")
	}
	return []byte("{}"), nil
}

func (v *touchy) UnmarshalJSON([]byte) error { panic("unmarshal") }

func TestI11PanicWhileAValueIsEncodedIsTheStepsError(t *testing.T) {
	s := steps.New("s", func(*steps.Context, string) (touchy, error) { return touchy{Encode: true}, nil })
	w := workflow.New("w", func(b *workflow.Builder, in workflow.Value[string]) workflow.Value[touchy] {
		return workflow.Do(b, s, in)
	})
	r := start(t, workflow.Config{Workflows: workflow.Set{w}})
	_, err := workflow.Run(t.Context(), r.Engine, w, "-")
	if p, ok := errors.AsType[*steps.PanicError](err); !ok || p.Value != "marshal" {
		t.Error(err)
	}
}

func TestI11PanicWhileAValueIsDecodedIsTheStepsError(t *testing.T) {
	produce := steps.New("make", func(*steps.Context, string) (touchy, error) { return touchy{}, nil },
		steps.Undo(func(*steps.Context, touchy) error { return nil }))
	use := steps.New("use", func(*steps.Context, touchy) (string, error) { return "", nil })
	w := workflow.New("w", func(b *workflow.Builder, in workflow.Value[string]) workflow.Value[string] {
		return workflow.Do(b, use, workflow.Do(b, produce, in))
	})
	r := start(t, workflow.Config{Workflows: workflow.Set{w}})
	_, err := workflow.Run(t.Context(), r.Engine, w, "-")
	x := failure(t, err)
	if p, ok := errors.AsType[*steps.PanicError](err); !ok || p.Value != "unmarshal" || len(x.Errs) != 2 {
		t.Error(err) // the second is that of the compensation
	}
}

func TestGoexitInABodyDoesNotHangTheExecution(t *testing.T) {
	var j journal
	_, _, err := runs(t, inTurn(doing(&j, "a"), body(&j, "s", func(*steps.Context) error {
		runtime.Goexit()
		return nil
	})))
	if x := failure(t, err); x.State != store.Reverted || !strings.Contains(err.Error(), "Goexit") {
		t.Error(err)
	}
	j.want(t, "do a(-)", "do s(-a)", "undo s() failed", "undo a(-a) succeeded")
}

func TestOutputThatDoesNotEncodeFailsTheStepAndIsNotTriedAgain(t *testing.T) {
	calls := 0
	s := steps.New("s", func(*steps.Context, string) (string, error) {
		calls++
		return "a\xffb", nil
	}, steps.Retry(steps.RetryPolicy{MaxAttempts: 5}))
	_, _, err := runs(t, inTurn(s))
	e, ok := errors.AsType[*steps.EncodingError](err)
	if !ok || calls != 1 || e.Step != "s" || e.What != "output" {
		t.Error(calls, err)
	}
}

func TestUndoDataIsKeptWhenOnlyTheOutputDoesNotEncode(t *testing.T) {
	var got int
	s := steps.NewReversible("s", func(*steps.Context, string) (string, int, error) { return "\xff", 42, nil },
		func(_ *steps.Context, undo int) error { got = undo; return nil })
	_, _, err := runs(t, inTurn(s))
	if _, ok := errors.AsType[*steps.EncodingError](err); !ok || got != 42 {
		t.Error(got, err)
	}
}

// typedError is an error that is looked for by its type.
type typedError struct{ code int }

func (e *typedError) Error() string { return "typed" }

func TestIsAndAsReachTheOriginalErrorThroughExecutionAndStepError(t *testing.T) {
	original := &typedError{7}
	_, _, err := runs(t, inTurn(failing(&journal{}, "s", errors.Join(errBoom, original))), workflow.WithExecutionID("x"))
	s, ok := errors.AsType[*workflow.StepError](err)
	if !ok || s.Workflow != "w" || s.ExecutionID != "x" || s.Step != "s" || s.Phase != "invoke" || s.Attempt != 1 {
		t.Errorf("%+v", s)
	}
	if e, ok := errors.AsType[*typedError](err); !ok || e != original || !errors.Is(err, errBoom) {
		t.Error(err)
	}
}

func TestErrorReadBackFromTheStoreMatchesItsSentinel(t *testing.T) {
	w := inTurn(failing(&journal{}, "s", steps.Permanent(errors.Join(io.EOF, errBoom))))
	r, _, _ := runs(t, w, workflow.WithExecutionID("x"))
	_, err := workflow.Run(t.Context(), r.Engine, w, "-", workflow.WithExecutionID("x"))
	stored, ok := errors.AsType[*workflow.StoredError](err)
	if !ok || !errors.Is(err, errBoom) || !errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe) {
		t.Error(stored, err)
	}
	if s, ok := errors.AsType[*workflow.StepError](err); !ok || s.Step != "s" {
		t.Error(err)
	}
}
