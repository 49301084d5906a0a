package plan_test

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lockstep-dev/lockstep/internal/plan"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func step(name string, in plan.Ref) plan.Node {
	return plan.Node{
		Path: name, Kind: plan.StepNode, Inputs: []plan.Ref{in}, OutType: "string",
		Step: &plan.Step{
			Name: name, InType: "string", OutType: "string", UndoType: "int",
			Invoke: func(context.Context, plan.Codec, []byte) plan.Result { return plan.Result{} },
		},
	}
}

func decide(plan.Codec, [][]byte) (plan.Decision, error) { return plan.Decision{}, nil }

func gather(plan.Codec, [][]byte) ([]byte, error) { return nil, nil }

func ref(node int) plan.Ref { return plan.Ref{Node: node} }

// base is a plan that each case changes in one respect: two steps, a decision, two
// branches side by side with a step each, and a loop over a step, which is in a guard.
func base() plan.Plan {
	return plan.Plan{
		Name: "w", InType: "string", OutType: "string",
		Nodes: []plan.Node{
			0: step("a", plan.Input),
			1: step("b", ref(0)),
			2: {Path: "d", Kind: plan.DecisionNode, Inputs: []plan.Ref{ref(0), ref(1)}, OutType: "string", Decide: decide},
			3: {Path: "p", Kind: plan.ParallelNode, OutType: "string", Branches: []int{1, 2}},
			4: step("left", ref(2)),
			5: step("right", ref(0)),
			6: {Path: "g", Kind: plan.GuardNode, Inputs: []plan.Ref{ref(2)}, Decide: decide, OutType: "[]string", Branches: []int{3}, Guard: &plan.Guard{}},
			7: {Path: "e", Kind: plan.EachNode, Inputs: []plan.Ref{ref(2)}, Decide: decide, Gather: gather, OutType: "[]string", Branches: []int{4}},
			8: step("item", plan.Ref{Node: 7, Part: plan.Item}),
		},
		Sequences: []plan.Sequence{
			0: {Nodes: []int{0, 1, 2, 3, 6}, Output: plan.Ref{Node: 3, Part: 1}},
			1: {Nodes: []int{4}, Output: ref(4)},
			2: {Nodes: []int{5}, Output: ref(5)},
			3: {Nodes: []int{7}, Output: ref(7)},
			4: {Nodes: []int{8}, Output: ref(8)},
		},
	}
}

func fingerprint(t *testing.T, change func(p *plan.Plan)) string {
	t.Helper()
	p := base()
	change(&p)
	made, err := plan.New(p)
	if err != nil {
		t.Fatal(err)
	}
	return made.Fingerprint
}

func TestFingerprintChangesWithWhatExecutionsDependOn(t *testing.T) {
	seen := map[string]string{fingerprint(t, func(*plan.Plan) {}): "the base"}
	for what, change := range map[string]func(p *plan.Plan){
		"workflow name":      func(p *plan.Plan) { p.Name = "v" },
		"input type":         func(p *plan.Plan) { p.InType = "int" },
		"output type":        func(p *plan.Plan) { p.OutType = "int" },
		"result":             func(p *plan.Plan) { p.Sequences[0].Output = ref(1) },
		"part of the result": func(p *plan.Plan) { p.Sequences[0].Output.Part = 0 },
		"result of a branch": func(p *plan.Plan) { p.Sequences[1].Output = ref(2) },
		"node name":          func(p *plan.Plan) { p.Nodes[1].Path = "c" },
		"node type":          func(p *plan.Plan) { p.Nodes[2].OutType = "int" },
		"kind":               func(p *plan.Plan) { p.Nodes[6].Kind, p.Nodes[6].Guard = plan.WhenNode, nil },
		"order":              func(p *plan.Plan) { p.Nodes[0].Path, p.Nodes[1].Path = "b", "a" },
		"order of branches":  func(p *plan.Plan) { p.Nodes[3].Branches = []int{2, 1} },
		"edge":               func(p *plan.Plan) { p.Nodes[1].Inputs[0] = plan.Input },
		"order of edges":     func(p *plan.Plan) { p.Nodes[2].Inputs = []plan.Ref{ref(1), ref(0)} },
		"fewer edges":        func(p *plan.Plan) { p.Nodes[2].Inputs = []plan.Ref{ref(0)} },
		"fewer nodes":        func(p *plan.Plan) { p.Nodes, p.Sequences[4] = p.Nodes[:8], plan.Sequence{Output: ref(2)} },
		"edge to an item":    func(p *plan.Plan) { p.Nodes[8].Inputs[0] = ref(2) },
		"out of its branch": func(p *plan.Plan) {
			p.Sequences[3], p.Sequences[0].Nodes = plan.Sequence{Output: ref(2)}, []int{0, 1, 2, 3, 6, 7}
		},
		"into the other one":  func(p *plan.Plan) { p.Sequences[1], p.Sequences[2].Nodes = plan.Sequence{Output: ref(2)}, []int{4, 5} },
		"step input":          func(p *plan.Plan) { p.Nodes[0].Step.InType = "int" },
		"step output":         func(p *plan.Plan) { p.Nodes[0].Step.OutType = "int" },
		"undo type":           func(p *plan.Plan) { p.Nodes[0].Step.UndoType = "string" },
		"asynchronous":        func(p *plan.Plan) { p.Nodes[0].Step.Asynchronous = true },
		"shifted border":      func(p *plan.Plan) { p.Name, p.InType = "ws", "tring" },
		"step becomes a call": func(p *plan.Plan) { call(&p.Nodes[0], "x") },
		"call of another":     func(p *plan.Plan) { call(&p.Nodes[0], "y") },
	} {
		f := fingerprint(t, change)
		if other, taken := seen[f]; taken {
			t.Errorf("%s has the fingerprint of %s", what, other)
		}
		seen[f] = what
	}
}

// call makes a node one that calls a workflow.
func call(n *plan.Node, workflow string) {
	n.Kind, n.Step, n.Call = plan.CallNode, nil, &plan.Call{Workflow: workflow}
}

func TestFingerprintDoesNotChangeWithPoliciesLimitsAndBodies(t *testing.T) {
	want := fingerprint(t, func(*plan.Plan) {})
	for what, change := range map[string]func(p *plan.Plan){
		"policy": func(p *plan.Plan) {
			p.Nodes[0].Step.Policy = plan.Policy{
				Invoke: plan.Attempts{Most: 7, Pause: 1, Timeout: 2}, Compensate: plan.Attempts{Most: -1}, CompensateOnlyDone: true,
			}
		},
		"time for a result": func(p *plan.Plan) { p.Nodes[0].Step.Await = time.Hour },
		"body":              func(p *plan.Plan) { p.Nodes[0].Step.Invoke = nil },
		"decision": func(p *plan.Plan) {
			p.Nodes[2].Decide = func(plan.Codec, [][]byte) (plan.Decision, error) { return plan.Decision{Branch: 1}, nil }
		},
		"limit":         func(p *plan.Plan) { p.Nodes[7].Limit = 3 },
		"guard's times": func(p *plan.Plan) { p.Nodes[6].Guard = &plan.Guard{MaxWait: 1, MaxHold: 2} },
		"deadline":      func(p *plan.Plan) { p.Deadline = time.Hour },
	} {
		if got := fingerprint(t, change); got != want {
			t.Errorf("a %s changes it", what)
		}
	}
}

func TestNewKnowsWhereEachNodeStands(t *testing.T) {
	p, err := plan.New(base())
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct{ sequence, position int }{{0, 0}, {0, 1}, {0, 2}, {0, 3}, {1, 0}, {2, 0}, {0, 4}, {3, 0}, {4, 0}} {
		if n := &p.Nodes[i]; n.Sequence != want.sequence || n.Position != want.position {
			t.Errorf("%q is number %d of sequence %d, want number %d of %d", n.Path, n.Position, n.Sequence, want.position, want.sequence)
		}
	}
	for s, want := range []int{-1, 3, 3, 6, 7} {
		if got := p.Sequences[s].Owner; got != want {
			t.Errorf("sequence %d belongs to node %d, want %d", s, got, want)
		}
	}
	for _, c := range []struct {
		outer, inner int
		want         bool
	}{{0, 0, true}, {0, 4, true}, {3, 4, true}, {4, 3, false}, {1, 2, false}, {1, 0, false}} {
		if got := p.Encloses(c.outer, c.inner); got != c.want {
			t.Errorf("sequence %d encloses %d: %v", c.outer, c.inner, got)
		}
	}
}

func TestFaultsOfAPlanAreReportedTogether(t *testing.T) {
	p := base()
	p.Nodes[1].Path = "a"
	p.Nodes[1].Inputs = []plan.Ref{ref(1)}
	p.Sequences[0].Output = ref(99)
	p.Sequences[1].Output = ref(5)
	_, err := plan.New(p)
	for _, word := range []string{`"a" is used twice`, "does not come before", "the result is not", `a branch of "p"`} {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("no %q in %v", word, err)
		}
	}
}

// faulty wants each change to make a plan that cannot be, for the reason given.
func faulty(t *testing.T, reason string, changes map[string]func(p *plan.Plan)) {
	t.Helper()
	for what, change := range changes {
		p := base()
		change(&p)
		made, err := plan.New(p)
		if made != nil || err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%s: %v, want %q", what, err, reason)
		}
	}
}

func TestPlanFaultValueThatCannotBeSeen(t *testing.T) {
	faulty(t, "uses a value that does not come before it, or that belongs to another branch", map[string]func(p *plan.Plan){
		"its own":                    func(p *plan.Plan) { p.Nodes[1].Inputs[0] = ref(1) },
		"a later one's":              func(p *plan.Plan) { p.Nodes[0].Inputs[0] = ref(1) },
		"of the branch beside":       func(p *plan.Plan) { p.Nodes[5].Inputs[0] = ref(4) },
		"from within a branch":       func(p *plan.Plan) { p.Nodes[6].Inputs[0] = ref(4) },
		"of what is around":          func(p *plan.Plan) { p.Nodes[4].Inputs[0] = plan.Ref{Node: 3, Part: 1} },
		"of no node":                 func(p *plan.Plan) { p.Nodes[8].Inputs[0] = ref(-7) },
		"another part of the input":  func(p *plan.Plan) { p.Nodes[0].Inputs[0] = plan.Ref{Node: plan.InputNode, Part: 1} },
		"of a branch that is none":   func(p *plan.Plan) { p.Nodes[6].Inputs[0] = plan.Ref{Node: 3, Part: 2} },
		"a part before the first":    func(p *plan.Plan) { p.Nodes[6].Inputs[0] = plan.Ref{Node: 3, Part: -2} },
		"another part of a step":     func(p *plan.Plan) { p.Nodes[6].Inputs[0] = plan.Ref{Node: 0, Part: 1} },
		"an item outside the loop":   func(p *plan.Plan) { p.Nodes[1].Inputs[0] = plan.Ref{Node: 7, Part: plan.Item} },
		"the item of a guard":        func(p *plan.Plan) { p.Nodes[8].Inputs[0] = plan.Ref{Node: 6, Part: plan.Item} },
		"of a sleep, which has none": func(p *plan.Plan) { p.Nodes[2].Kind = plan.SleepNode },
		"declared behind what uses it from within": func(p *plan.Plan) {
			late := step("late", plan.Input)
			p.Nodes = append(p.Nodes[:8], late, step("item", ref(8)))
			p.Sequences[0].Nodes = append(p.Sequences[0].Nodes, 8)
			p.Sequences[4] = plan.Sequence{Nodes: []int{9}, Output: ref(9)}
		},
	})
}

func TestPlanFaultResultThatCannotBeSeen(t *testing.T) {
	faulty(t, "the result is not a value of this workflow", map[string]func(p *plan.Plan){
		"of a branch": func(p *plan.Plan) { p.Sequences[0].Output = ref(4) },
		"of no node":  func(p *plan.Plan) { p.Sequences[0].Output = ref(9) },
	})
	faulty(t, `the result of a branch of "p" is not a value that it can see`, map[string]func(p *plan.Plan){
		"of the branch beside": func(p *plan.Plan) { p.Sequences[1].Output = ref(5) },
		"of its own node":      func(p *plan.Plan) { p.Sequences[1].Output = ref(3) },
	})
}

func TestPlanFaultStructure(t *testing.T) {
	for reason, changes := range map[string]map[string]func(p *plan.Plan){
		"no sequence": {"none": func(p *plan.Plan) { p.Sequences = nil }},
		"a branch ": {
			"the workflow's own":      func(p *plan.Plan) { p.Nodes[3].Branches[0] = 0 },
			"one that is not there":   func(p *plan.Plan) { p.Nodes[3].Branches[0] = 5 },
			"another's":               func(p *plan.Plan) { p.Nodes[3].Branches[0] = 3 },
			"the same twice":          func(p *plan.Plan) { p.Nodes[3].Branches[1] = 1 },
			"one of a negative index": func(p *plan.Plan) { p.Nodes[3].Branches[1] = -1 },
		},
		"nobody's branch": {"forgotten": func(p *plan.Plan) { p.Nodes[3].Branches = p.Nodes[3].Branches[:1] }},
		"none, another's, or out of order": {
			"twice":                 func(p *plan.Plan) { p.Sequences[1].Nodes = []int{4, 4} },
			"in two sequences":      func(p *plan.Plan) { p.Sequences[2].Nodes = []int{4, 5} },
			"in the wrong order":    func(p *plan.Plan) { p.Sequences[0].Nodes = []int{1, 0, 2, 3, 6} },
			"not there":             func(p *plan.Plan) { p.Sequences[0].Nodes = []int{0, 1, 2, 3, 6, 9} },
			"before what it is in":  func(p *plan.Plan) { p.Sequences[0].Nodes, p.Sequences[1].Nodes = []int{0, 1, 3, 6}, []int{2, 4} },
			"within its own branch": func(p *plan.Plan) { p.Sequences[0].Nodes, p.Sequences[1].Nodes = []int{0, 1, 2, 6}, []int{3, 4} },
		},
		`"b" stands nowhere`: {"forgotten": func(p *plan.Plan) { p.Sequences[0].Nodes = []int{0, 2, 3, 6} }},
	} {
		faulty(t, reason, changes)
	}
}

func TestPlanFaultNodeWithoutWhatItsKindNeeds(t *testing.T) {
	for reason, changes := range map[string]map[string]func(p *plan.Plan){
		"no known kind": {"none": func(p *plan.Plan) { p.Nodes[0].Kind = "" }},
		"one input": {
			"step": func(p *plan.Plan) { p.Nodes[0].Inputs = nil },
			"call": func(p *plan.Plan) { call(&p.Nodes[0], "x"); p.Nodes[0].Inputs = nil },
		},
		"branches": {
			"parallel": func(p *plan.Plan) { p.Nodes[3].Branches = nil },
			"guard":    func(p *plan.Plan) { p.Nodes[6].Branches = nil },
			"loop":     func(p *plan.Plan) { p.Nodes[3].Branches, p.Nodes[7].Branches = []int{1}, []int{2, 4} },
			"when":     func(p *plan.Plan) { p.Nodes[6].Kind, p.Nodes[6].Branches = plan.WhenNode, []int{1, 2, 3} },
			"sleep":    func(p *plan.Plan) { p.Nodes[6].Kind = plan.SleepNode },
			"step":     func(p *plan.Plan) { p.Nodes[0].Branches = []int{1} },
		},
		"a decision": {
			"decision": func(p *plan.Plan) { p.Nodes[2].Decide = nil },
			"guard":    func(p *plan.Plan) { p.Nodes[6].Decide = nil },
			"loop":     func(p *plan.Plan) { p.Nodes[7].Decide = nil },
			"sleep":    func(p *plan.Plan) { p.Nodes[2].Kind, p.Nodes[2].Decide = plan.SleepNode, nil },
			"step":     func(p *plan.Plan) { p.Nodes[0].Decide = decide },
			"parallel": func(p *plan.Plan) { p.Nodes[3].Decide = decide },
		},
		"gather": {
			"loop":     func(p *plan.Plan) { p.Nodes[7].Gather = nil },
			"parallel": func(p *plan.Plan) { p.Nodes[3].Gather = gather },
		},
		"a step":    {"step": func(p *plan.Plan) { p.Nodes[0].Step = nil }, "guard": func(p *plan.Plan) { p.Nodes[6].Step = p.Nodes[0].Step }},
		"a call":    {"call": func(p *plan.Plan) { call(&p.Nodes[0], "x"); p.Nodes[0].Call = nil }, "step": func(p *plan.Plan) { p.Nodes[0].Call = &plan.Call{} }},
		"a guard":   {"guard": func(p *plan.Plan) { p.Nodes[6].Guard = nil }, "step": func(p *plan.Plan) { p.Nodes[0].Guard = &plan.Guard{} }},
		"the limit": {"negative": func(p *plan.Plan) { p.Nodes[7].Limit = -1 }, "parallel": func(p *plan.Plan) { p.Nodes[3].Limit = 1 }},
	} {
		faulty(t, reason, changes)
	}
}

func TestCallMayDecideItsInput(t *testing.T) {
	fingerprint(t, func(p *plan.Plan) {
		call(&p.Nodes[0], "x")
		p.Nodes[0].Decide, p.Nodes[0].Inputs = decide, nil
	})
}

type local struct{}

func TestTypeNameTellsTypesOfDifferentPackagesApart(t *testing.T) {
	for _, c := range []struct {
		typ  reflect.Type
		want string
	}{
		{reflect.TypeFor[local](), "github.com/lockstep-dev/lockstep/internal/plan_test.local"},
		{reflect.TypeFor[string](), "string"},
		{reflect.TypeFor[time.Duration](), "time.Duration"},
		{reflect.TypeFor[[]string](), "[]string"},
		{reflect.TypeFor[any](), "interface {}"},
		{reflect.TypeFor[[]local](), "[]github.com/lockstep-dev/lockstep/internal/plan_test.local"},
		{reflect.TypeFor[map[string]*[2]local](), "map[string]*[2]github.com/lockstep-dev/lockstep/internal/plan_test.local"},
	} {
		if got := plan.TypeName(c.typ); got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
}

func TestPauseGrowsByItsFactorUpToItsMost(t *testing.T) {
	a := plan.Attempts{Pause: time.Second, Factor: 3, PauseMost: 20 * time.Second}
	for i, want := range []time.Duration{1 * time.Second, 3 * time.Second, 9 * time.Second, 20 * time.Second, 20 * time.Second} {
		if got := a.PauseAfter(i+1, "s"); got != want {
			t.Errorf("after %d: %s", i+1, got)
		}
	}
}

func TestPauseWithoutAFactorStaysAndWithoutAPauseIsNone(t *testing.T) {
	for _, done := range []int{1, 2, 1000} {
		if got := (&plan.Attempts{Pause: time.Second}).PauseAfter(done, "s"); got != time.Second {
			t.Errorf("after %d: %s", done, got)
		}
		if got := (&plan.Attempts{Factor: 2, Jitter: 1}).PauseAfter(done, "s"); got != 0 {
			t.Errorf("after %d: %s", done, got)
		}
	}
}

func TestPauseNeverOverflows(t *testing.T) {
	a := plan.Attempts{Pause: time.Hour, Factor: 10}
	last := time.Duration(0)
	for done := 1; done < 2000; done++ {
		got := a.PauseAfter(done, "s")
		if got < last {
			t.Fatalf("after %d: %s, before %s", done, got, last)
		}
		last = got
	}
}

func TestPauseJitterKeepsItsBoundsAndVaries(t *testing.T) {
	a := plan.Attempts{Pause: time.Second, Jitter: 0.25}
	lowest, highest := time.Hour, time.Duration(0)
	for i := range 10_000 {
		got := a.PauseAfter(1, fmt.Sprint(i))
		lowest, highest = min(lowest, got), max(highest, got)
	}
	if lowest < 750*time.Millisecond || highest > time.Second || lowest > 760*time.Millisecond || highest < 990*time.Millisecond {
		t.Errorf("from %s to %s", lowest, highest)
	}
}

func TestPauseIsTheSameForTheSameSeed(t *testing.T) {
	a := plan.Attempts{Pause: time.Second, Jitter: 1}
	if first, second := a.PauseAfter(1, "s"), a.PauseAfter(1, "s"); first != second {
		t.Error("it differs")
	}
	if a.PauseAfter(1, "s") == a.PauseAfter(1, "t") || a.PauseAfter(1, "s") == a.PauseAfter(2, "s") {
		t.Error("it does not depend on seed and attempt")
	}
}

func TestAnotherAttemptIsBoundedByNumberAndTime(t *testing.T) {
	zero := time.Unix(0, 0)
	for _, c := range []struct {
		a    plan.Attempts
		done int
		at   time.Duration
		want bool
	}{
		{plan.Attempts{}, 1, 0, false},
		{plan.Attempts{Most: 1}, 1, 0, false},
		{plan.Attempts{Most: 2}, 1, time.Hour, true},
		{plan.Attempts{Most: 2}, 2, 0, false},
		{plan.Attempts{Most: -1}, 1 << 40, time.Hour, true},
		{plan.Attempts{Most: -1, Elapsed: time.Minute}, 1, time.Minute, true},
		{plan.Attempts{Most: -1, Elapsed: time.Minute}, 1, time.Minute + 1, false},
	} {
		if got := c.a.Another(c.done, zero, zero.Add(c.at)); got != c.want {
			t.Errorf("%+v after %d at %s: %v", c.a, c.done, c.at, got)
		}
	}
}
