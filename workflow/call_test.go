package workflow_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/store/storemem"
	"github.com/lockstep-dev/lockstep/workflow"
)

// childOf is a workflow of steps under a name of its own.
func childOf(name string, list ...text) *workflow.Workflow[string, string] {
	return workflow.New(name, func(b builder, in value) value { return chain(in, list...)(b) })
}

// family starts an engine that runs these workflows.
func family(t *testing.T, list ...*workflow.Workflow[string, string]) *rig {
	t.Helper()
	var set workflow.Set
	for _, w := range list {
		set = append(set, w)
	}
	return start(t, workflow.Config{Workflows: set})
}

func TestCallGivesTheResultOfTheChild(t *testing.T) {
	var j journal
	child := childOf("child", doing(&j, "a"), doing(&j, "b"))
	w := flow(func(b builder, in value) value {
		return workflow.Do(b, doing(&j, "last"), workflow.Call(b, child, workflow.Do(b, doing(&j, "first"), in)))
	})
	out, err := workflow.Run(t.Context(), family(t, w, child).Engine, w, "-")
	if out != "-firstablast" || err != nil {
		t.Error(out, err)
	}
	j.want(t, "do first(-)", "do a(-first)", "do b(-firsta)", "do last(-firstab)")
}

func TestChildIsAnExecutionOfItsOwn(t *testing.T) {
	ids := make(chan string, 2)
	tells := steps.New("s", func(ctx *steps.Context, in string) (string, error) {
		ids <- ctx.Workflow() + "/" + ctx.ExecutionID()
		return in, nil
	})
	child := childOf("child", tells)
	w := flow(func(b builder, in value) value { return workflow.Call(b, child, workflow.Do(b, tells, in)) })
	if _, err := workflow.Run(t.Context(), family(t, w, child).Engine, w, "-", workflow.WithExecutionID("x")); err != nil {
		t.Fatal(err)
	}
	parents, childs := <-ids, <-ids
	if parents != "w/x" || !strings.HasPrefix(childs, "child/") || childs == "child/x" {
		t.Error(parents, childs)
	}
}

func TestChildTakesAMaybeAndGivesOne(t *testing.T) {
	child := workflow.New("child", func(b builder, in workflow.Value[maybe]) workflow.Value[maybe] {
		return workflow.Map(b, in, func(m maybe) maybe { return maybe{Taken: !m.Taken, Value: m.Or("made")} })
	})
	w := flow(func(b builder, in value) value {
		m := workflow.When(b, in, is("some"), giving(in))
		return workflow.Map(b, workflow.Call(b, child, m), shown)
	})
	r := start(t, workflow.Config{Workflows: workflow.Set{w, child}})
	for in, want := range map[string]string{"some": "false:", "none": "true:made"} {
		if out, err := workflow.Run(t.Context(), r.Engine, w, in); out != want || err != nil {
			t.Errorf("%q, %v", out, err)
		}
	}
}

func TestChildThatFailsHasCompensatedItselfAndFailsItsCaller(t *testing.T) {
	var j journal
	child := childOf("child", doing(&j, "a"), failing(&j, "b", errBoom))
	w := flow(func(b builder, in value) value {
		workflow.Do(b, doing(&j, "first"), in)
		workflow.Call(b, child, in)
		return workflow.Do(b, doing(&j, "never"), in)
	})
	_, err := workflow.Run(t.Context(), family(t, w, child).Engine, w, "-")
	j.want(t, "do first(-)", "do a(-)", "do b(-a)", "undo b() failed", "undo a(-a) succeeded", "undo first(-first) succeeded")
	if s, ok := errors.AsType[*workflow.StepError](err); !ok || s.Step != "Call#1" || !errors.Is(err, errBoom) || !strings.Contains(err.Error(), "b: boom") {
		t.Error(err)
	}
}

func TestI5ChildThatIsDoneIsCompensatedWithItsCaller(t *testing.T) {
	var j journal
	child := childOf("child", doing(&j, "a"), doing(&j, "b"))
	w := flow(func(b builder, in value) value {
		workflow.Do(b, doing(&j, "first"), in)
		v := workflow.Call(b, child, in)
		return workflow.Do(b, failing(&j, "last", errBoom), v)
	})
	_, err := workflow.Run(t.Context(), family(t, w, child).Engine, w, "-")
	j.want(t, "do first(-)", "do a(-)", "do b(-a)", "do last(-ab)", "undo last() failed",
		"undo b(-ab) succeeded", "undo a(-a) succeeded", "undo first(-first) succeeded")
	if !errors.Is(err, errBoom) || failure(t, err).State != store.Reverted {
		t.Error(err)
	}
}

func TestI6ChildWhoseCompensationFailsFailsItsCallersCompensation(t *testing.T) {
	var j journal
	stuck := steps.New("stuck", func(_ *steps.Context, in string) (string, error) { return in, nil },
		steps.Undo(func(*steps.Context, string) error { return errors.New("cannot undo") }))
	child := childOf("child", stuck)
	w := flow(func(b builder, in value) value {
		workflow.Do(b, doing(&j, "first"), in)
		v := workflow.Call(b, child, in)
		return workflow.Do(b, failing(&j, "last", errBoom), v)
	})
	_, err := workflow.Run(t.Context(), family(t, w, child).Engine, w, "-")
	j.want(t, "do first(-)", "do last(-)", "undo last() failed", "undo first(-first) succeeded")
	if failure(t, err).State != store.Failed || !strings.Contains(err.Error(), "cannot undo") || !errors.Is(err, errBoom) {
		t.Error(err)
	}
}

func TestCancelOfTheCallerCancelsTheChildAndWaitsForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		child := childOf("child", doing(&j, "a"), body(&j, "b", func(ctx *steps.Context) error {
			err := untilEnd(ctx)
			time.Sleep(time.Second)
			return err
		}))
		w := flow(func(b builder, in value) value {
			return workflow.Call(b, child, workflow.Do(b, doing(&j, "first"), in))
		})
		r := family(t, w, child)
		h := begin(t, r, w, "-")
		synctest.Wait()
		if err := h.Cancel(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, err := h.Wait(t.Context())
		j.want(t, "do first(-)", "do a(-first)", "do b(-firsta)", "undo b() failed", "undo a(-firsta) succeeded", "undo first(-first) succeeded")
		if !errors.Is(err, workflow.ErrCancelled) || failure(t, err).State != store.Reverted {
			t.Error(err)
		}
	})
}

func TestFailureInABranchCancelsTheChildOfTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		child := childOf("child", body(&j, "slow", untilEnd))
		w := flow(func(b builder, in value) value {
			workflow.Parallel2(b, func(b builder) value { return workflow.Call(b, child, in) }, func(b builder) value {
				workflow.Sleep(b, time.Second)
				return workflow.Do(b, failing(&j, "bad", errBoom), in)
			})
			return in
		})
		_, err := workflow.Run(t.Context(), family(t, w, child).Engine, w, "-")
		if !errors.Is(err, errBoom) || failure(t, err).State != store.Reverted || j.count("undo slow() failed") != 1 {
			t.Error(err, j.all())
		}
	})
}

func TestEachItemHasAChildOfItsOwn(t *testing.T) {
	var j journal
	child := childOf("child", doing(&j, "a"))
	w := flow(func(b builder, in value) value {
		all := workflow.ForEach(b, words(b, in), func(b builder, i value) value { return workflow.Call(b, child, i) })
		return workflow.Do(b, failing(&j, "last", errBoom), joined(b, all))
	})
	_, err := workflow.Run(t.Context(), family(t, w, child).Engine, w, "1 2 3")
	if !errors.Is(err, errBoom) || j.count(`do last(["1a" "2a" "3a"])`) != 1 {
		t.Error(err, j.all())
	}
	for i := 1; i <= 3; i++ {
		if j.count(fmt.Sprintf("undo a(%da) succeeded", i)) != 1 {
			t.Error(j.all())
		}
	}
}

func TestGrandchildrenAreCompensatedToo(t *testing.T) {
	var j journal
	grandchild := childOf("grandchild", doing(&j, "g"))
	child := workflow.New("child", func(b builder, in value) value {
		return workflow.Do(b, doing(&j, "c"), workflow.Call(b, grandchild, in))
	})
	w := flow(func(b builder, in value) value {
		return workflow.Do(b, failing(&j, "last", errBoom), workflow.Call(b, child, in))
	})
	_, err := workflow.Run(t.Context(), family(t, w, child, grandchild).Engine, w, "-")
	j.want(t, "do g(-)", "do c(-g)", "do last(-gc)", "undo last() failed", "undo c(-gc) succeeded", "undo g(-g) succeeded")
	if !errors.Is(err, errBoom) || failure(t, err).State != store.Reverted {
		t.Error(err)
	}
}

func TestChildGoesOnAfterARestartAndItsCallerWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		child := childOf("child", doing(&j, "a"), body(&j, "b", func(ctx *steps.Context) error {
			if j.count("do b(-a)") == 1 {
				return untilEnd(ctx)
			}
			return nil
		}))
		w := flow(func(b builder, in value) value { return workflow.Do(b, doing(&j, "last"), workflow.Call(b, child, in)) })
		st := storemem.New()
		r := start(t, workflow.Config{Workflows: workflow.Set{w, child}, Store: st})
		begin(t, r, w, "-", workflow.WithExecutionID("x"))
		synctest.Wait()
		interrupt(t, r)
		r = start(t, workflow.Config{Workflows: workflow.Set{w, child}, Store: st})
		out, err := begin(t, r, w, "-", workflow.WithExecutionID("x")).Wait(t.Context())
		if out != "-ablast" || err != nil {
			t.Error(out, err)
		}
		j.want(t, "do a(-)", "do b(-a)", "do b(-a)", "do last(-ab)")
	})
}

func TestCallerThatWaitsForItsChildIsNotForgottenBeforeIt(t *testing.T) {
	child := childOf("child", doing(&journal{}, "a"))
	w := flow(func(b builder, in value) value { return workflow.Call(b, child, in) })
	r := family(t, w, child)
	for range 20 {
		if _, err := workflow.Run(t.Context(), r.Engine, w, "-"); err != nil {
			t.Fatal(err)
		}
	}
	if n := r.store.Len(); n != 0 {
		t.Errorf("%d executions are kept", n)
	}
}

func TestEngineWithoutTheChildOfAWorkflowCannotBe(t *testing.T) {
	child := childOf("child", doing(&journal{}, "a"))
	w := flow(func(b builder, in value) value {
		return workflow.WhenElse(b, in, yes, giving(in), func(b builder) value { return workflow.Call(b, child, in) })
	})
	for what, set := range map[string]workflow.Set{
		"none":    {w},
		"another": {w, childOf("child", doing(&journal{}, "b"))},
	} {
		_, err := workflow.NewEngine(workflow.Config{Store: storemem.New(), Workflows: set})
		if e, ok := errors.AsType[*workflow.ConfigError](err); !ok || e.Field != "Workflows[0]" || !strings.Contains(err.Error(), `"child"`) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := workflow.NewEngine(workflow.Config{Store: storemem.New(), Workflows: workflow.Set{child, w}}); err != nil {
		t.Error(err)
	}
}
