package workflow_test

import (
	"strings"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/workflow"
)

// Short names for what most of these tests are made of.
type (
	builder = *workflow.Builder
	value   = workflow.Value[string]
)

func yes(string) (bool, error) { return true, nil }

func many(s string) []string { return strings.Split(s, "") }

// on is a branch of one step.
func on(name string, in value) func(b builder) value {
	return func(b builder) value { return workflow.Do(b, doing(&journal{}, name), in) }
}

// giving is a branch that gives a value and has nothing in it.
func giving(v value) func(b builder) value { return func(builder) value { return v } }

func TestValueIsSeenInBranchesDeclaredAfterIt(t *testing.T) {
	workflow.New("w", func(b builder, in value) value {
		a := workflow.Do(b, doing(&journal{}, "a"), in)
		workflow.Parallel2(b, on("b", a), func(b builder) value {
			c := workflow.Do(b, doing(&journal{}, "c"), in)
			return workflow.WhenElse(b, c, yes, on("d", c), giving(a))
		})
		return a
	})
}

func TestDefinitionFaultValueUsedOutsideOfItsBranch(t *testing.T) {
	var leaked value
	leaks := func(name string, in value) func(b builder) value {
		return func(b builder) value {
			leaked = workflow.Do(b, doing(&journal{}, name), in)
			return leaked
		}
	}
	faulty(t, "w", func(b builder, in value) value {
		workflow.Parallel2(b, leaks("a", in), func(b builder) value {
			return workflow.Do(b, doing(&journal{}, "b"), leaked)
		})
		return in
	}, `step "b" in branch 2 of "Parallel2#1" uses the value of step "a", which is seen in branch 1 of "Parallel2#1" alone`)
	faulty(t, "w", func(b builder, in value) value {
		workflow.When(b, in, yes, leaks("a", in))
		workflow.Map(b, leaked, strings.ToUpper)
		return leaked
	}, `Map#1 uses the value of step "a", which is seen in the branch of "When#1" alone`,
		`the result uses the value of step "a", which is seen in the branch of "When#1" alone`)
	faulty(t, "w", func(b builder, in value) value {
		return workflow.WhenElse(b, in, yes, leaks("a", in), func(builder) value { return leaked })
	}, `the result in the other branch of "WhenElse#1" uses the value of step "a", which is seen in the first branch`)
}

func TestDefinitionFaultResultOfABranchThatIsNone(t *testing.T) {
	faulty(t, "w", func(b builder, in value) value {
		workflow.When(b, in, yes, giving(value{}))
		return in
	}, `the result in the branch of "When#1" uses a Value that nothing was declared for`)
}

func TestDefinitionFaultItemUsedOutsideOfItsLoop(t *testing.T) {
	var item value
	faulty(t, "w", func(b builder, in value) value {
		workflow.ForEach(b, workflow.Map(b, in, many), func(_ builder, i value) value { item = i; return i })
		return workflow.Do(b, doing(&journal{}, "a"), item)
	}, `step "a" uses the item of "ForEach#1", which is seen in the body of "ForEach#1" alone`)
}

func TestDefinitionFaultOuterBuilderUsedInABranch(t *testing.T) {
	faulty(t, "w", func(outer builder, in value) value {
		return workflow.Guard(outer, in, func(b builder) value {
			v := workflow.Do(outer, doing(&journal{}, "a"), in) // as if with b
			workflow.Parallel2(b, func(builder) value {
				workflow.Map(outer, v, strings.ToUpper)
				return workflow.Do(b, doing(&journal{}, "b"), v)
			}, giving(in))
			return v
		})
	}, `"a" is declared in the body of "Guard#1" with the builder of the workflow`,
		`a Map is declared in branch 1 of "Parallel2#1" with the builder of the workflow`,
		`"b" is declared in branch 1 of "Parallel2#1" with the builder of the body of "Guard#1"`)
}

func TestBuilderOfABranchUsedAfterItPanics(t *testing.T) {
	for name, late := range map[string]func(b builder, in value){
		`"late"`:      func(b builder, in value) { workflow.Do(b, doing(&journal{}, "late"), in) },
		"a Map":       func(b builder, in value) { workflow.Map(b, in, strings.ToUpper) },
		"a Parallel2": func(b builder, in value) { workflow.Parallel2(b, giving(in), giving(in)) },
		"a Sleep":     func(b builder, _ value) { workflow.Sleep(b, time.Second) },
		`"named"`:     func(b builder, in value) { workflow.When(b, in, yes, giving(in), workflow.Name("named")) },
	} {
		func() {
			defer func() {
				msg, _ := recover().(string)
				if !strings.Contains(msg, name+" is declared after branch 1 of \"Parallel2#1\" was composed") {
					t.Errorf("%s: panic %q", name, msg)
				}
			}()
			workflow.New("w", func(b builder, in value) value {
				var inner builder
				workflow.Parallel2(b, func(b builder) value { inner = b; return in }, giving(in))
				late(inner, in)
				return in
			})
		}()
	}
}

func TestDefinitionFaultNilFunctionOfEveryBranch(t *testing.T) {
	faulty(t, "w", func(b builder, in value) value {
		workflow.Parallel2[string, string](b, nil, giving(in))
		workflow.Parallel3[string, string, string](b, giving(in), nil, nil)
		workflow.Parallel4[string, string, string, string](b, giving(in), giving(in), giving(in), nil)
		workflow.When[string, string](b, in, nil, nil)
		workflow.WhenElse(b, in, nil, giving(in), nil)
		workflow.ForEach[string, string](b, workflow.Map(b, in, many), nil)
		return workflow.Guard[string, string](b, in, nil)
	}, "Parallel2#1 has no function for branch 1",
		"Parallel3#1 has no function for branch 2", "Parallel3#1 has no function for branch 3",
		"Parallel4#1 has no function for branch 4",
		"When#1 has no function", "When#1 has no function for the branch",
		"WhenElse#1 has no function", "WhenElse#1 has no function for the other branch",
		"ForEach#1 has no function for the body", "Guard#1 has no function for the body")
}

func TestDefinitionFaultNilWorkflowOfACall(t *testing.T) {
	faulty(t, "w", func(b builder, in value) value {
		workflow.Call[string, string](b, nil, in)
		return workflow.Call(b, &workflow.Workflow[string, string]{}, in)
	}, "Call#1 has no workflow", "Call#2 has no workflow")
}

func TestDefinitionFaultOptionThatCannotBe(t *testing.T) {
	faulty(t, "w", func(b builder, in value) value {
		workflow.Sleep(b, 0)
		workflow.Sleep(b, -time.Second)
		workflow.Map(b, in, strings.ToUpper, workflow.Name("up"), nil)
		workflow.When(b, in, yes, giving(in), workflow.Name(""))
		workflow.ForEach(b, workflow.Map(b, in, many), func(_ builder, i value) value { return i }, workflow.Concurrency(0))
		return workflow.Guard(b, in, giving(in), workflow.MaxWait(0), workflow.MaxHold(-1), workflow.LockProvider(""), workflow.OnLost(7))
	}, "Sleep#1: the time 0s", "Sleep#2: the time -1s", "up: option 2 is nil", ": its name is empty", "ForEach#1: the concurrency 0",
		"Guard#1: MaxWait 0s", "Guard#1: MaxHold -1ns", "Guard#1: the id of its lock provider", "Guard#1: OnLost(7)")
}

func TestDefinitionFaultGuardWithoutMaxHoldAroundWhatNobodyKnowsTheLengthOf(t *testing.T) {
	child := inTurn(doing(&journal{}, "child"))
	waits := steps.NewAsync[string, string]("async", func(*steps.Context, string) error { return nil })
	for what, body := range map[string]func(b builder, in value) value{
		`"Sleep#1"`:      func(b builder, in value) value { workflow.Sleep(b, time.Second); return in },
		`"SleepFor#1"`:   func(b builder, in value) value { workflow.SleepFor(b, workflow.Const(b, time.Second)); return in },
		`"SleepUntil#1"`: func(b builder, in value) value { workflow.SleepUntil(b, workflow.Const(b, time.Now())); return in },
		`"Call#1"`:       func(b builder, in value) value { return workflow.Call(b, child, in) },
		`"async"`:        func(b builder, in value) value { return workflow.Do(b, waits, in) },
		`"Guard#2"`:      func(b builder, in value) value { return workflow.Guard(b, in, giving(in)) },
		`"n/Sleep#1"`: func(b builder, in value) value {
			first, _ := workflow.Parallel2(b, func(b builder) value { workflow.Sleep(b, time.Second); return in }, giving(in), workflow.Name("n"))
			return first
		},
	} {
		faulty(t, "w", func(b builder, in value) value {
			return workflow.Guard(b, in, func(b builder) value { return body(b, in) })
		}, "Guard#1 holds its locks over "+what)
		_, err := workflow.Build("w", func(b builder, in value) value {
			return workflow.Guard(b, in, func(b builder) value { return body(b, in) }, workflow.MaxHold(time.Minute))
		})
		if err != nil {
			t.Error(err)
		}
	}
	_, err := workflow.Build("w", func(b builder, in value) value {
		workflow.Sleep(b, time.Second)
		v := workflow.Guard(b, in, on("a", in))
		workflow.Sleep(b, time.Second)
		return v
	})
	if err != nil {
		t.Error("what is not in the guard:", err)
	}
}

func TestDefinitionFaultsOfAllBranchesAreReportedAtOnce(t *testing.T) {
	var leaked value
	faulty(t, "", func(outer builder, in value) value {
		workflow.Parallel2(outer, func(b builder) value {
			leaked = workflow.Do(b, doing(&journal{}, "twin"), value{})
			return workflow.Do(outer, doing(&journal{}, "a"), in)
		}, func(b builder) value {
			return workflow.Do(b, doing(&journal{}, "twin"), leaked)
		})
		return value{}
	}, "name is empty", `"twin" in branch 1 of "Parallel2#1" uses a Value`, `"a" is declared in branch 1`, "which is seen in branch 1", "the result", `"twin" is used twice`)
}
