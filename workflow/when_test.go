package workflow_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/store/storemem"
	"github.com/lockstep-dev/lockstep/workflow"
)

type maybe = workflow.Maybe[string]

func is(want string) func(string) (bool, error) {
	return func(s string) (bool, error) { return s == want, nil }
}

// shown tells of a Maybe in the way that its reader sees it.
func shown(m maybe) string { return fmt.Sprintf("%v:%s", m.Taken, m.Value) }

// interrupt stops an engine in the middle of what it does.
func interrupt(t *testing.T, r *rig) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Stop(ctx); !errors.Is(err, workflow.ErrInterrupted) {
		t.Fatal("there was nothing to interrupt:", err)
	}
}

func TestWhenRunsItsBranchIfThePredicateSaysSo(t *testing.T) {
	for want, out := range map[string]string{"-": "true:-a", "other": "false:"} {
		var j journal
		_, got, err := runs(t, flow(func(b builder, in value) value {
			return workflow.Map(b, workflow.When(b, in, is(want), chain(in, doing(&j, "a"))), shown)
		}))
		if got != out || err != nil || (j.count("do a(-)") == 1) != (want == "-") {
			t.Errorf("%q, %v, %q", got, err, j.all())
		}
	}
}

func TestWhenElseRunsOneOfItsBranches(t *testing.T) {
	for want, out := range map[string]string{"-": "-ab", "other": "-c"} {
		var j journal
		_, got, err := runs(t, flow(func(b builder, in value) value {
			return workflow.WhenElse(b, in, is(want), chain(in, doing(&j, "a"), doing(&j, "b")), chain(in, doing(&j, "c")))
		}))
		if got != out || err != nil || len(j.all()) != len(out)-1 {
			t.Errorf("%q, %v, %q", got, err, j.all())
		}
	}
}

func TestWhenGivesAStepWhatItsBranchGaveOrNothing(t *testing.T) {
	for want, out := range map[string]string{"-": "true:-a", "other": "false:"} {
		_, got, err := runs(t, flow(func(b builder, in value) value {
			m := workflow.When(b, in, is(want), chain(in, doing(&journal{}, "a")))
			return workflow.Do(b, steps.New("s", func(_ *steps.Context, m maybe) (string, error) { return shown(m), nil }), m)
		}))
		if got != out || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	}
}

func TestBranchWhoseStepWasSkippedWasTakenAllTheSame(t *testing.T) {
	skip := steps.New("skip", func(*steps.Context, string) (string, error) { return "lost", steps.Skip() })
	_, out, err := runs(t, flow(func(b builder, in value) value {
		return workflow.Map(b, workflow.When(b, in, yes, chain(in, skip)), shown)
	}))
	if out != "true:" || err != nil {
		t.Error(out, err)
	}
	_, out, err = runs(t, flow(func(b builder, in value) value {
		return workflow.WhenElse(b, in, yes, chain(in, skip), giving(in))
	}))
	if out != "" || err != nil {
		t.Errorf("%q, %v", out, err)
	}
}

func TestMaybeIsInputAndResultOfAWorkflow(t *testing.T) {
	w := workflow.New("w", func(b builder, in workflow.Value[maybe]) workflow.Value[maybe] {
		v := workflow.Map(b, in, func(m maybe) string { return m.Or("none") })
		return workflow.When(b, v, func(s string) (bool, error) { return s != "none", nil }, chain(v, steps.New("s", func(_ *steps.Context, in string) (string, error) {
			if in == "" {
				return "", steps.Skip()
			}
			return in + "!", nil
		})))
	})
	r := start(t, workflow.Config{Workflows: workflow.Set{w}})
	for i, c := range []struct{ in, want maybe }{
		{maybe{}, maybe{}},
		{maybe{Taken: true}, maybe{Taken: true}},
		{maybe{Taken: true, Value: "v"}, maybe{Taken: true, Value: "v!"}},
	} {
		for range 2 { // the second time it is read back
			out, err := workflow.Run(t.Context(), r.Engine, w, c.in, workflow.WithExecutionID(strconv.Itoa(i)))
			if out != c.want || err != nil {
				t.Errorf("%+v gives %+v, want %+v, %v", c.in, out, c.want, err)
			}
		}
	}
	if _, err := workflow.Run(t.Context(), r.Engine, w, maybe{}, workflow.WithExecutionID("1")); !errors.Is(err, workflow.ErrIDConflict) {
		t.Error("nothing and the zero value are one input:", err)
	}
}

func TestWhenInAWhenTellsWhichOfThemWasNotTaken(t *testing.T) {
	for in, want := range map[string]string{"none": "false,false", "outer": "true,false", "both": "true,true"} {
		w := flow(func(b builder, in value) value {
			m := workflow.When(b, in, func(s string) (bool, error) { return s != "none", nil }, func(b builder) workflow.Value[maybe] {
				return workflow.When(b, in, is("both"), giving(in))
			})
			return workflow.Map(b, m, func(m workflow.Maybe[maybe]) string { return fmt.Sprint(m.Taken, ",", m.Value.Taken) })
		})
		r := start(t, workflow.Config{Workflows: workflow.Set{w}})
		if out, err := workflow.Run(t.Context(), r.Engine, w, in); out != want || err != nil {
			t.Errorf("%s: %q, %v", in, out, err)
		}
	}
}

func TestI5BranchThatWasTakenIsCompensatedInReverse(t *testing.T) {
	for want, lines := range map[string][]string{
		"-":     {"do first(-)", "do a(-)", "do b(-a)", "do last(-)", "undo last() failed", "undo b(-ab) succeeded", "undo a(-a) succeeded", "undo first(-first) succeeded"},
		"other": {"do first(-)", "do c(-)", "do last(-)", "undo last() failed", "undo c(-c) succeeded", "undo first(-first) succeeded"},
	} {
		var j journal
		_, _, err := runs(t, flow(func(b builder, in value) value {
			workflow.Do(b, doing(&j, "first"), in)
			workflow.WhenElse(b, in, is(want), chain(in, doing(&j, "a"), doing(&j, "b")), chain(in, doing(&j, "c")))
			return workflow.Do(b, failing(&j, "last", errBoom), in)
		}))
		if j.want(t, lines...); !errors.Is(err, errBoom) {
			t.Error(err)
		}
	}
}

func TestFailureInABranchThatWasTakenFailsTheExecution(t *testing.T) {
	var j journal
	_, _, err := runs(t, flow(func(b builder, in value) value {
		workflow.When(b, in, yes, chain(in, doing(&j, "a"), failing(&j, "b", errBoom)), workflow.Name("region"))
		return workflow.Do(b, doing(&j, "never"), in)
	}))
	j.want(t, "do a(-)", "do b(-a)", "undo b() failed", "undo a(-a) succeeded")
	if s, ok := errors.AsType[*workflow.StepError](err); !ok || s.Step != "region/b" || !errors.Is(err, errBoom) {
		t.Error(err)
	}
}

func TestPredicateThatFailsCompensatesWhatCameBefore(t *testing.T) {
	for what, pred := range map[string]func(string) (bool, error){
		"an error": func(string) (bool, error) { return true, io.ErrUnexpectedEOF },
		"a panic":  func(string) (bool, error) { panic(io.ErrUnexpectedEOF) },
	} {
		var j journal
		_, _, err := runs(t, flow(func(b builder, in value) value {
			workflow.Do(b, doing(&j, "a"), in)
			workflow.When(b, in, pred, chain(in, doing(&j, "never")))
			return in
		}))
		j.want(t, "do a(-)", "undo a(-a) succeeded")
		if s, ok := errors.AsType[*workflow.StepError](err); !ok || s.Step != "When#1" || !errors.Is(err, io.ErrUnexpectedEOF) || failure(t, err).State != store.Reverted {
			t.Error(what, err)
		}
	}
}

func TestPredicateIsRecordedOnceAndAnotherAnswerAfterARestartChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		var asked atomic.Int32
		first := func(string) (bool, error) { return asked.Add(1) == 1, nil }
		w := flow(func(b builder, in value) value {
			m := workflow.When(b, in, first, chain(in, doing(&j, "a"), body(&j, "b", func(ctx *steps.Context) error {
				if j.count("do b(-a)") == 1 {
					return untilEnd(ctx) // until the first engine stops
				}
				return nil
			})))
			v := workflow.Map(b, m, shown)
			return workflow.Do(b, failing(&j, "last", errBoom), v)
		})
		st := storemem.New()
		r := start(t, workflow.Config{Workflows: workflow.Set{w}, Store: st})
		begin(t, r, w, "-", workflow.WithExecutionID("x"))
		synctest.Wait()
		interrupt(t, r)
		r = start(t, workflow.Config{Workflows: workflow.Set{w}, Store: st})
		_, err := begin(t, r, w, "-", workflow.WithExecutionID("x")).Wait(t.Context())
		j.want(t, "do a(-)", "do b(-a)", "do b(-a)", "do last(true:-ab)", "undo last() failed", "undo b(-ab) succeeded", "undo a(-a) succeeded")
		if asked.Load() != 1 || !errors.Is(err, errBoom) {
			t.Error(asked.Load(), err)
		}
	})
}
