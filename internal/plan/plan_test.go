package plan_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lockstep-dev/lockstep/internal/plan"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// base is a plan that each case changes in one respect.
func base() plan.Plan {
	step := func(name string, in plan.Ref) plan.Node {
		return plan.Node{
			Path: name, Kind: plan.StepNode, Inputs: []plan.Ref{in}, OutType: "string",
			Step: &plan.Step{Name: name, InType: "string", OutType: "string", UndoType: "int"},
		}
	}
	return plan.Plan{
		Name: "w", InType: "string", OutType: "string",
		Nodes:  []plan.Node{step("a", plan.Input), step("b", 0), {Path: "d", Kind: plan.DecisionNode, Inputs: []plan.Ref{0, 1}, OutType: "string"}},
		Output: 2,
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
		"workflow name":  func(p *plan.Plan) { p.Name = "v" },
		"input type":     func(p *plan.Plan) { p.InType = "int" },
		"output type":    func(p *plan.Plan) { p.OutType = "int" },
		"result":         func(p *plan.Plan) { p.Output = 1 },
		"node name":      func(p *plan.Plan) { p.Nodes[1].Path = "c" },
		"node type":      func(p *plan.Plan) { p.Nodes[2].OutType = "int" },
		"kind":           func(p *plan.Plan) { p.Nodes[2].Kind = plan.StepNode },
		"order":          func(p *plan.Plan) { p.Nodes[0].Path, p.Nodes[1].Path = "b", "a" },
		"edge":           func(p *plan.Plan) { p.Nodes[1].Inputs[0] = plan.Input },
		"order of edges": func(p *plan.Plan) { p.Nodes[2].Inputs = []plan.Ref{1, 0} },
		"fewer edges":    func(p *plan.Plan) { p.Nodes[2].Inputs = []plan.Ref{0} },
		"fewer nodes":    func(p *plan.Plan) { p.Nodes, p.Output = p.Nodes[:2], 1 },
		"step input":     func(p *plan.Plan) { p.Nodes[0].Step.InType = "int" },
		"step output":    func(p *plan.Plan) { p.Nodes[0].Step.OutType = "int" },
		"undo type":      func(p *plan.Plan) { p.Nodes[0].Step.UndoType = "string" },
		"shifted border": func(p *plan.Plan) { p.Name, p.InType = "ws", "tring" },
	} {
		f := fingerprint(t, change)
		if other, taken := seen[f]; taken {
			t.Errorf("%s has the fingerprint of %s", what, other)
		}
		seen[f] = what
	}
}

func TestFingerprintDoesNotChangeWithPolicies(t *testing.T) {
	want := fingerprint(t, func(*plan.Plan) {})
	got := fingerprint(t, func(p *plan.Plan) {
		p.Nodes[0].Step.Policy = plan.Policy{
			Invoke: plan.Attempts{Most: 7, Pause: 1, Timeout: 2}, Compensate: plan.Attempts{Most: -1}, CompensateOnlyDone: true,
		}
	})
	if got != want {
		t.Error("it changed")
	}
}

func TestFaultsOfAPlanAreReportedTogether(t *testing.T) {
	p := base()
	p.Nodes[1].Path = "a"
	p.Nodes[1].Inputs = []plan.Ref{1}
	p.Output = 9
	_, err := plan.New(p)
	for _, word := range []string{`"a" is used twice`, "does not come before", "the result"} {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("no %q in %v", word, err)
		}
	}
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
