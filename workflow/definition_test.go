package workflow_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/workflow"
)

// faulty wants a definition that fails with faults that hold these words.
func faulty(t *testing.T, name string, compose func(b *workflow.Builder, in workflow.Value[string]) workflow.Value[string], words ...string) {
	t.Helper()
	w, err := workflow.Build(name, compose)
	e, ok := errors.AsType[*workflow.DefinitionError](err)
	if !ok || w != nil || len(e.Faults) != len(words) {
		t.Fatalf("%v, want %d faults", err, len(words))
	}
	for i, word := range words {
		if !strings.Contains(e.Faults[i].Error(), word) || !strings.Contains(err.Error(), word) {
			t.Errorf("fault %d is %q, want %q in it", i+1, e.Faults[i], word)
		}
	}
}

func TestDefinitionFaultEmptyName(t *testing.T) {
	faulty(t, "", func(_ *workflow.Builder, in workflow.Value[string]) workflow.Value[string] { return in }, "name is empty")
}

func TestDefinitionFaultNoCompose(t *testing.T) {
	faulty(t, "w", nil, "no function")
}

func TestDefinitionFaultNilStep(t *testing.T) {
	faulty(t, "w", func(b *workflow.Builder, in workflow.Value[string]) workflow.Value[string] {
		var none text
		return workflow.Do(b, none, in)
	}, "step 1: the step is nil")
}

func TestDefinitionFaultNameUsedTwice(t *testing.T) {
	faulty(t, "w", func(b *workflow.Builder, in workflow.Value[string]) workflow.Value[string] {
		workflow.Do(b, doing(&journal{}, "twin"), in)
		return workflow.Do(b, doing(&journal{}, "twin"), in)
	}, `"twin" is used twice`)
}

func TestDefinitionFaultValueOfAnotherWorkflow(t *testing.T) {
	var leaked workflow.Value[string]
	workflow.New("other", func(_ *workflow.Builder, in workflow.Value[string]) workflow.Value[string] {
		leaked = in
		return in
	})
	faulty(t, "w", func(b *workflow.Builder, _ workflow.Value[string]) workflow.Value[string] {
		return workflow.Do(b, doing(&journal{}, "a"), leaked)
	}, `step "a" uses a value of another workflow`)
	faulty(t, "w", func(*workflow.Builder, workflow.Value[string]) workflow.Value[string] { return leaked },
		"the result uses a value of another workflow")
}

func TestDefinitionFaultZeroValue(t *testing.T) {
	faulty(t, "w", func(b *workflow.Builder, _ workflow.Value[string]) workflow.Value[string] {
		return workflow.Do(b, doing(&journal{}, "a"), workflow.Value[string]{})
	}, "nothing was declared for")
	faulty(t, "w", func(*workflow.Builder, workflow.Value[string]) workflow.Value[string] {
		return workflow.Value[string]{}
	}, "nothing was declared for")
}

func TestDefinitionFaultNilFunctionOfEveryVerb(t *testing.T) {
	faulty(t, "w", func(b *workflow.Builder, in workflow.Value[string]) workflow.Value[string] {
		workflow.Transform[string, string](b, in, nil)
		workflow.Transform2[string, string, string](b, in, in, nil)
		workflow.Transform3[string, string, string, string](b, in, in, in, nil)
		workflow.Transform4[string, string, string, string, string](b, in, in, in, in, nil)
		return workflow.Map[string, string](b, in, nil)
	}, "Transform#1", "Transform2#1", "Transform3#1", "Transform4#1", "Map#1")
}

func TestDefinitionFaultsAreReportedAllAtOnce(t *testing.T) {
	faulty(t, "", func(b *workflow.Builder, in workflow.Value[string]) workflow.Value[string] {
		var none text
		workflow.Do(b, none, in)
		workflow.Do(b, doing(&journal{}, "twin"), workflow.Value[string]{})
		workflow.Do(b, doing(&journal{}, "twin"), in)
		workflow.Map[string, string](b, in, nil)
		return workflow.Value[string]{}
	}, "name is empty", "nil", `"twin" uses`, "Map#1", "the result", "used twice")
}

func TestNewPanicsWithTheDefinitionError(t *testing.T) {
	defer func() {
		if _, ok := recover().(*workflow.DefinitionError); !ok {
			t.Error("no DefinitionError")
		}
	}()
	workflow.New[string, string]("w", nil)
}

func TestBuilderUsedAfterComposePanics(t *testing.T) {
	var leaked *workflow.Builder
	var value workflow.Value[string]
	w := workflow.New("w", func(b *workflow.Builder, in workflow.Value[string]) workflow.Value[string] {
		leaked, value = b, in
		return in
	})
	before := w.Fingerprint()
	defer func() {
		if msg, _ := recover().(string); !strings.Contains(msg, `"late"`) || w.Fingerprint() != before {
			t.Errorf("panic %q", msg)
		}
	}()
	workflow.Do(leaked, doing(&journal{}, "late"), value)
}

func TestOneStepIsUsedTwiceUnderAnotherName(t *testing.T) {
	var j journal
	a := doing(&j, "a")
	_, out, err := runs(t, inTurn(a, steps.With(a, steps.Name("again"))))
	if out != "-aa" || err != nil {
		t.Error(out, err)
	}
}

func TestNothingRunsAtDefinition(t *testing.T) {
	var j journal
	inTurn(doing(&j, "a"))
	j.want(t)
}

func TestFingerprintChangesWithTheDefinitionAndNotWithPolicies(t *testing.T) {
	j := &journal{}
	a, b := doing(j, "a"), doing(j, "b")
	base := inTurn(a, b).Fingerprint()
	if same := inTurn(a, steps.With(b, steps.Retry(steps.RetryPolicy{MaxAttempts: 7}), steps.CompensateOnlyDone())).Fingerprint(); same != base {
		t.Error("a policy changed it")
	}
	for what, w := range map[string]*workflow.Workflow[string, string]{
		"order": inTurn(b, a), "name": inTurn(a, steps.With(b, steps.Name("c"))), "length": inTurn(a),
	} {
		if w.Fingerprint() == base {
			t.Error(what, "did not change it")
		}
	}
}
