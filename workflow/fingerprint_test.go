package workflow_test

import (
	"strings"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/workflow"
)

// composed is the fingerprint of a workflow that the function composes.
func composed(t *testing.T, compose func(b builder, in value) value) string {
	t.Helper()
	w, err := workflow.Build("w", compose)
	if err != nil {
		t.Fatal(err)
	}
	return w.Fingerprint()
}

func TestFingerprintChangesWithNestingOrderAndBranches(t *testing.T) {
	child := func(name string) *workflow.Workflow[string, string] {
		return workflow.New(name, func(_ builder, in value) value { return in })
	}
	starts := func(*steps.Context, string) error { return nil }
	seen := map[string]string{}
	for what, compose := range map[string]func(b builder, in value) value{
		"nothing":            func(_ builder, in value) value { return in },
		"two steps":          func(b builder, in value) value { on("a", in)(b); on("b", in)(b); return in },
		"in another order":   func(b builder, in value) value { on("b", in)(b); on("a", in)(b); return in },
		"side by side":       func(b builder, in value) value { workflow.Parallel2(b, on("a", in), on("b", in)); return in },
		"swapped":            func(b builder, in value) value { workflow.Parallel2(b, on("b", in), on("a", in)); return in },
		"the first's value":  func(b builder, in value) value { v, _ := workflow.Parallel2(b, on("a", in), on("b", in)); return v },
		"the second's value": func(b builder, in value) value { _, v := workflow.Parallel2(b, on("a", in), on("b", in)); return v },
		"both in one": func(b builder, in value) value {
			workflow.Parallel2(b, func(b builder) value { on("a", in)(b); return on("b", in)(b) }, giving(in))
			return in
		},
		"one outside": func(b builder, in value) value { workflow.When(b, in, yes, on("a", in)); on("b", in)(b); return in },
		"both inside": func(b builder, in value) value {
			workflow.When(b, in, yes, func(b builder) value { on("a", in)(b); return on("b", in)(b) })
			return in
		},
		"guarded": func(b builder, in value) value { workflow.Guard(b, in, on("a", in)); return in },
		"decided": func(b builder, in value) value { workflow.When(b, in, yes, on("a", in)); return in },
		"either":  func(b builder, in value) value { return workflow.WhenElse(b, in, yes, on("a", in), giving(in)) },
		"or":      func(b builder, in value) value { return workflow.WhenElse(b, in, yes, giving(in), on("a", in)) },
		"named":   func(b builder, in value) value { workflow.Guard(b, in, on("a", in), workflow.Name("g")); return in },
		"each item": func(b builder, in value) value {
			workflow.ForEach(b, workflow.Map(b, in, many), func(b builder, i value) value { return on("a", i)(b) })
			return in
		},
		"each, not item": func(b builder, in value) value {
			workflow.ForEach(b, workflow.Map(b, in, many), func(b builder, _ value) value { return on("a", in)(b) })
			return in
		},
		"sleep":            func(b builder, in value) value { workflow.Sleep(b, time.Second); return in },
		"sleep for":        func(b builder, in value) value { workflow.SleepFor(b, workflow.Const(b, time.Second)); return in },
		"call":             func(b builder, in value) value { return workflow.Call(b, child("x"), in) },
		"call of another":  func(b builder, in value) value { return workflow.Call(b, child("y"), in) },
		"call and discard": func(b builder, in value) value { workflow.Call(b, child("x"), in); return in },
		"step":             func(b builder, in value) value { return on("a", in)(b) },
		"async step": func(b builder, in value) value {
			return workflow.Do(b, steps.NewAsync[string, string]("a", starts), in)
		},
		"type of a branch": func(b builder, in value) value {
			workflow.Parallel2(b, on("a", in), func(b builder) workflow.Value[int] { return workflow.Const(b, 1) })
			return in
		},
	} {
		f := composed(t, compose)
		if other, taken := seen[f]; taken {
			t.Errorf("%q has the fingerprint of %q", what, other)
		}
		seen[f] = what
	}
}

func TestFingerprintDoesNotChangeWithPoliciesLimitsTimesAndFunctions(t *testing.T) {
	with := func(pred func(string) (bool, error), sleep time.Duration, wait time.Duration, limit int, up func(string) string) string {
		return composed(t, func(b builder, in value) value {
			workflow.When(b, in, pred, on("a", in))
			workflow.Sleep(b, sleep)
			workflow.Guard(b, in, giving(in), workflow.MaxWait(wait), workflow.MaxHold(wait), workflow.LockProvider(wait.String()),
				workflow.OnLost(workflow.Loss(wait%2)))
			starts := func(*steps.Context, string) error { return nil }
			workflow.Do(b, steps.NewAsync[string, string]("s", starts, steps.Await(wait), steps.Timeout(sleep)), in)
			workflow.ForEach(b, workflow.Map(b, in, many), func(_ builder, i value) value { return i }, workflow.Concurrency(limit))
			return workflow.Map(b, in, up)
		})
	}
	never := func(string) (bool, error) { return false, nil }
	if with(yes, 1, 2, 3, strings.ToUpper) != with(never, 4, 5, 6, strings.ToLower) {
		t.Error("it changed")
	}
}
