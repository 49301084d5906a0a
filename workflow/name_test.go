package workflow_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/workflow"
)

// paths lists the paths of a workflow in the order of declaration.
func paths(d workflow.Definition) (list []string) {
	for _, n := range workflow.PlanOf(d).Nodes {
		list = append(list, n.Path)
	}
	return list
}

func TestNodesWithoutANameAreCountedByVerbThroughAllBranches(t *testing.T) {
	w := workflow.New("w", func(b builder, in value) value {
		workflow.Map(b, in, strings.ToUpper)
		workflow.Parallel2(b, func(b builder) value {
			workflow.Sleep(b, time.Second)
			return workflow.Map(b, in, strings.ToUpper)
		}, on("s", in))
		workflow.Sleep(b, time.Second)
		return workflow.Map(b, in, strings.ToUpper)
	})
	if got, want := paths(w), []string{"Map#1", "Parallel2#1", "Sleep#1", "Map#2", "s", "Sleep#2", "Map#3"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestWhatStandsInANamedRegionIsCountedAndAddressedBelowIt(t *testing.T) {
	w := workflow.New("w", func(b builder, in value) value {
		workflow.Map(b, in, strings.ToUpper)
		workflow.Parallel2(b, on("s", in), func(b builder) value {
			workflow.When(b, in, yes, on("t", in))
			return workflow.Guard(b, in, func(b builder) value {
				workflow.Map(b, in, strings.ToUpper)
				return workflow.Do(b, doing(&journal{}, "t"), in)
			}, workflow.Name("inner"))
		}, workflow.Name("ship"))
		workflow.Map(b, in, strings.ToUpper, workflow.Name("named"))
		return workflow.Map(b, in, strings.ToUpper)
	})
	want := []string{"Map#1", "ship", "ship/s", "ship/When#1", "ship/t", "ship/inner", "ship/inner/Map#1", "ship/inner/t", "named", "Map#2"}
	if got := paths(w); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestEveryVerbTakesAName(t *testing.T) {
	child := inTurn(doing(&journal{}, "c"))
	w := workflow.New("w", func(b builder, in value) value {
		up := strings.ToUpper
		list := workflow.Map(b, in, many, workflow.Name("list"))
		workflow.Const(b, 1, workflow.Name("const"))
		workflow.Transform(b, in, func(string) (int, error) { return 0, nil }, workflow.Name("1"))
		workflow.Transform2(b, in, in, func(_, _ string) (int, error) { return 0, nil }, workflow.Name("2"))
		workflow.Transform3(b, in, in, in, func(_, _, _ string) (int, error) { return 0, nil }, workflow.Name("3"))
		workflow.Transform4(b, in, in, in, in, func(_, _, _, _ string) (int, error) { return 0, nil }, workflow.Name("4"))
		workflow.Parallel3(b, giving(in), giving(in), giving(in), workflow.Name("p3"))
		workflow.Parallel4(b, giving(in), giving(in), giving(in), giving(in), workflow.Name("p4"))
		workflow.WhenElse(b, in, yes, giving(in), giving(in), workflow.Name("else"))
		workflow.Sleep(b, 1, workflow.Name("sleep"))
		workflow.SleepFor(b, workflow.Const(b, time.Second, workflow.Name("d")), workflow.Name("for"))
		workflow.SleepUntil(b, workflow.Const(b, time.Time{}, workflow.Name("t")), workflow.Name("until"))
		workflow.ForEach(b, list, func(b builder, i value) value { return workflow.Map(b, i, up, workflow.Name("up")) }, workflow.Name("each"))
		return workflow.Call(b, child, in, workflow.Name("call"))
	})
	for _, path := range paths(w) {
		if strings.Contains(path, "#") {
			t.Errorf("%q has no name", path)
		}
	}
}

func TestDefinitionFaultOneNameForTwo(t *testing.T) {
	faulty(t, "w", func(b builder, in value) value {
		workflow.When(b, in, yes, on("s", in), workflow.Name("a"))
		workflow.Do(b, doing(&journal{}, "a/s"), in)
		return workflow.Map(b, in, strings.ToUpper, workflow.Name("a"))
	}, `"a/s" is used twice`, `"a" is used twice`)
}

func TestNamedNodeKeepsItsAddressWhenOthersAreDeclaredBeforeIt(t *testing.T) {
	w := func(more bool) *workflow.Workflow[string, string] {
		return workflow.New("w", func(b builder, in value) value {
			if more {
				workflow.When(b, in, yes, on("other", in))
			}
			workflow.When(b, in, yes, on("s", in), workflow.Name("mine"))
			return in
		})
	}
	if got := paths(w(true)); !slices.Contains(got, "mine/s") || !slices.Contains(paths(w(false)), "mine/s") {
		t.Error(got)
	}
}
