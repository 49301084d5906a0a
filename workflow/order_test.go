package workflow_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/workflow"
)

func TestStepsRunInTheOrderOfTheirDeclaration(t *testing.T) {
	var j journal
	_, out, err := runs(t, inTurn(doing(&j, "a"), doing(&j, "b"), doing(&j, "c")))
	if err != nil || out != "-abc" {
		t.Errorf("result %q, %v", out, err)
	}
	j.want(t, "do a(-)", "do b(-a)", "do c(-ab)")
}

func TestOrderDoesNotNeedDataEdges(t *testing.T) {
	var j journal
	w := workflow.New("w", func(b *workflow.Builder, in workflow.Value[string]) workflow.Value[string] {
		first := workflow.Do(b, doing(&j, "a"), in)
		workflow.Do(b, doing(&j, "b"), in)
		workflow.Do(b, doing(&j, "c"), in)
		return first
	})
	_, out, err := runs(t, w)
	if err != nil || out != "-a" {
		t.Errorf("result %q, %v", out, err)
	}
	j.want(t, "do a(-)", "do b(-)", "do c(-)")
}

func TestI5CompensationIsTheExactReverseOfWhatWasDone(t *testing.T) {
	var j journal
	_, out, err := runs(t, inTurn(doing(&j, "a"), doing(&j, "b"), doing(&j, "c"), failing(&j, "d", errBoom), doing(&j, "e")))
	j.want(t, "do a(-)", "do b(-a)", "do c(-ab)", "do d(-abc)",
		"undo d() failed", "undo c(-abc) succeeded", "undo b(-ab) succeeded", "undo a(-a) succeeded")
	if x := failure(t, err); x.State != store.Reverted || x.Cancelled || out != "" {
		t.Errorf("state %s, cancelled %v, output %q", x.State, x.Cancelled, out)
	}
}

func TestFailedStepIsCompensatedWithTheZeroValue(t *testing.T) {
	var got, seen = 7, steps.Outcome("")
	s := steps.NewReversible("s", func(*steps.Context, string) (string, int, error) {
		return "x", 42, errBoom
	}, func(ctx *steps.Context, undo int) error {
		got, seen = undo, ctx.Outcome()
		return nil
	})
	_, _, err := runs(t, inTurn(s))
	if got != 0 || seen != steps.Failed || !errors.Is(err, errBoom) {
		t.Errorf("undo %d, outcome %q, error %v", got, seen, err)
	}
}

func TestKeepUndoGivesTheUndoDataToTheCompensation(t *testing.T) {
	var got int
	s := steps.NewReversible("s", func(*steps.Context, string) (string, int, error) {
		return "x", 42, steps.KeepUndo(errBoom)
	}, func(_ *steps.Context, undo int) error {
		got = undo
		return nil
	})
	_, _, err := runs(t, inTurn(s))
	if got != 42 || !errors.Is(err, errBoom) {
		t.Errorf("undo %d, error %v", got, err)
	}
}

func TestUndoDataOfASucceededStepReachesItsCompensation(t *testing.T) {
	var j journal
	s := steps.NewReversible("s", func(*steps.Context, string) (string, []byte, error) {
		return "x", []byte("a\xffb"), nil
	}, func(ctx *steps.Context, undo []byte) error {
		j.addf("undo %q %s", undo, ctx.Outcome())
		return nil
	})
	if _, _, err := runs(t, inTurn(s, failing(&journal{}, "f", errBoom))); !errors.Is(err, errBoom) {
		t.Error(err)
	}
	j.want(t, `undo "a\xffb" succeeded`)
}

func TestCompensateOnlyDoneLeavesAFailedStepAlone(t *testing.T) {
	var j journal
	_, _, err := runs(t, inTurn(doing(&j, "a", steps.CompensateOnlyDone()), failing(&j, "b", errBoom, steps.CompensateOnlyDone())))
	j.want(t, "do a(-)", "do b(-a)", "undo a(-a) succeeded")
	if failure(t, err).State != store.Reverted {
		t.Error(err)
	}
}

func TestSkippedStepHasTheZeroOutputAndIsNotCompensated(t *testing.T) {
	var j journal
	skip := body(&j, "s", func(*steps.Context) error { return fmt.Errorf("nothing to do: %w", steps.Skip()) })
	_, _, err := runs(t, inTurn(doing(&j, "a"), skip, failing(&j, "f", errBoom)))
	j.want(t, "do a(-)", "do s(-a)", "do f()", "undo f() failed", "undo a(-a) succeeded")
	if len(failure(t, err).Errs) != 1 {
		t.Error(err)
	}
}

func TestSkippedStepDoesNotFailTheExecution(t *testing.T) {
	var j journal
	skip := body(&j, "s", func(*steps.Context) error { return steps.Skip() })
	r := start(t, workflow.Config{Workflows: workflow.Set{inTurn(skip)}})
	h := begin(t, r, inTurn(skip), "-", workflow.WithExecutionID("x"))
	if out, err := h.Wait(t.Context()); out != "" || err != nil {
		t.Errorf("result %q, %v", out, err)
	}
	s, err := h.Status(t.Context())
	if err != nil || s.Steps[0].Invoke.State != store.StepSkipped || s.State != store.Done {
		t.Errorf("status %+v, %v", s, err)
	}
}

func TestStepWithoutCompensationIsRevertedAtOnce(t *testing.T) {
	var j journal
	plain := steps.New("plain", func(*steps.Context, string) (string, error) {
		j.addf("do plain")
		return "p", nil
	})
	w := inTurn(doing(&j, "a"), plain, failing(&j, "f", errBoom))
	r, _, err := runs(t, w, workflow.WithExecutionID("x"))
	if failure(t, err).State != store.Reverted {
		t.Error(err)
	}
	j.want(t, "do a(-)", "do plain", "do f(p)", "undo f() failed", "undo a(-a) succeeded")
	x, err := r.store.Load(t.Context(), store.Key{Workflow: "w", ID: "x"})
	if err != nil {
		t.Fatal(err)
	}
	if c := node(t, x, 1).Compensate; c.State != store.StepReverted || c.Attempts != 0 {
		t.Errorf("compensation of the plain step: %+v", c)
	}
}

func TestWorkflowWithoutStepsReturnsItsInput(t *testing.T) {
	_, out, err := runs(t, inTurn())
	if out != "-" || err != nil {
		t.Errorf("result %q, %v", out, err)
	}
}

func TestI4NoForwardAttemptStartsOnceCompensating(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		late := body(&j, "late", func(*steps.Context) error { return nil })
		_, _, err := runs(t, inTurn(failing(&j, "f", errBoom), late))
		if !errors.Is(err, errBoom) || j.count("do late(-f)") != 0 || j.count("do late()") != 0 {
			t.Error(j.all(), err)
		}
	})
}

func TestContextKnowsItsAttempt(t *testing.T) {
	var j journal
	s := steps.New("s", func(ctx *steps.Context, in string) (string, error) {
		j.addf("%s/%s/%s attempt %d %q", ctx.Workflow(), ctx.ExecutionID(), ctx.Step(), ctx.Attempt(), ctx.Outcome())
		if ctx.Attempt() == 1 {
			return "", errBoom
		}
		return in, nil
	}, steps.Retry(steps.RetryPolicy{MaxAttempts: 2}))
	_, _, err := runs(t, inTurn(s), workflow.WithExecutionID("x:1"))
	if err != nil {
		t.Fatal(err)
	}
	j.want(t, `w/x:1/s attempt 1 ""`, `w/x:1/s attempt 2 ""`)
}

func TestI1IdempotencyKeyIsStableOverAttemptsAndDiffersByPhase(t *testing.T) {
	keys := map[string][]string{}
	s := steps.New("s", func(ctx *steps.Context, _ string) (string, error) {
		keys["invoke"] = append(keys["invoke"], ctx.IdempotencyKey())
		return "", errBoom
	}, steps.Undo(func(ctx *steps.Context, _ string) error {
		keys["compensate"] = append(keys["compensate"], ctx.IdempotencyKey())
		if ctx.InvokeKey() != keys["invoke"][0] {
			t.Errorf("its compensation takes %q for the key of the invoke, which had %q", ctx.InvokeKey(), keys["invoke"])
		}
		if ctx.Attempt() < 3 {
			return errBoom
		}
		return nil
	}), steps.Retry(steps.RetryPolicy{MaxAttempts: 3}))
	if _, _, err := runs(t, inTurn(s)); !errors.Is(err, errBoom) {
		t.Error(err)
	}
	for phase, list := range keys {
		if len(list) != 3 || list[0] == "" || list[0] != list[1] || list[1] != list[2] {
			t.Errorf("keys of %s: %q", phase, list)
		}
	}
	if keys["invoke"][0] == keys["compensate"][0] {
		t.Error("invoke and compensate have one key:", keys)
	}
}

func TestIdempotencyKeysDoNotRunTogetherWhateverTheIDsHold(t *testing.T) {
	seen := map[string]string{}
	compose := func(flow, step string) *workflow.Workflow[string, string] {
		s := steps.New(step, func(ctx *steps.Context, in string) (string, error) {
			name := fmt.Sprintf("%q %q %q", flow, ctx.ExecutionID(), step)
			if other, taken := seen[ctx.IdempotencyKey()]; taken {
				t.Errorf("%s and %s have the key %q", name, other, ctx.IdempotencyKey())
			}
			seen[ctx.IdempotencyKey()] = name
			return in, nil
		})
		return workflow.New(flow, func(b *workflow.Builder, in workflow.Value[string]) workflow.Value[string] {
			return workflow.Do(b, s, in)
		})
	}
	flows := []*workflow.Workflow[string, string]{
		compose("a", "b"), compose("a:x", "b"), compose("a%3Ax", "b"), compose("a:x:y", "b"), compose("c", "x:b"),
	}
	set := workflow.Set{}
	for _, w := range flows {
		set = append(set, w)
	}
	r := start(t, workflow.Config{Workflows: set})
	for _, w := range flows {
		for _, id := range []string{"x", "x:y", "y", "x%3Ay", "x:y:b", ":", "::", "%"} {
			if _, err := workflow.Run(t.Context(), r.Engine, w, "-", workflow.WithExecutionID(id)); err != nil {
				t.Error(err)
			}
		}
	}
}
