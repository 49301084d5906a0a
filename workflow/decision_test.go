package workflow_test

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/internal/plan"
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/workflow"
)

// nodeAt finds a node of a workflow by its path.
func nodeAt(t *testing.T, d workflow.Definition, path string) *plan.Node {
	t.Helper()
	nodes := workflow.PlanOf(d).Nodes
	i := slices.IndexFunc(nodes, func(n plan.Node) bool { return n.Path == path })
	if i < 0 {
		t.Fatalf("no node %q among %q", path, paths(d))
	}
	return &nodes[i]
}

// decision is what a node decides on inputs in JSON.
func decision(t *testing.T, d workflow.Definition, path string, inputs ...string) (plan.Decision, error) {
	t.Helper()
	in := make([][]byte, len(inputs))
	for i, text := range inputs {
		if text != "" {
			in[i] = []byte(text)
		}
	}
	return nodeAt(t, d, path).Decide(store.JSON{}, in)
}

// made composes a workflow of whatever the function declares.
func made(t *testing.T, compose func(b builder, in value)) workflow.Definition {
	t.Helper()
	w, err := workflow.Build("w", func(b builder, in value) value { compose(b, in); return in })
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func isYes(s string) (bool, error) {
	if s == "" {
		return true, errBoom
	}
	return s == "yes", nil
}

func TestWhenDecidesForItsBranchOrNone(t *testing.T) {
	w := made(t, func(b builder, in value) {
		workflow.When(b, in, isYes, giving(in))
		workflow.WhenElse(b, in, isYes, giving(in), giving(in))
	})
	for _, c := range []struct {
		path, in string
		want     int
	}{{"When#1", `"yes"`, 1}, {"When#1", `"no"`, 0}, {"WhenElse#1", `"yes"`, 1}, {"WhenElse#1", `"no"`, 2}} {
		if d, err := decision(t, w, c.path, c.in); d.Branch != c.want || err != nil {
			t.Errorf("%s of %s: branch %d, %v", c.path, c.in, d.Branch, err)
		}
	}
}

func TestDecisionFailsWithItsFunctionsErrorAndOnAnInputThatDoesNotDecode(t *testing.T) {
	w := made(t, func(b builder, in value) {
		workflow.When(b, in, isYes, giving(in))
		workflow.SleepFor(b, workflow.Const(b, time.Second))
		workflow.Guard(b, in, giving(in))
		workflow.ForEach(b, workflow.Map(b, in, many), func(_ builder, i value) value { return i })
	})
	if _, err := decision(t, w, "When#1", ""); !errors.Is(err, errBoom) {
		t.Error(err)
	}
	for _, path := range []string{"When#1", "SleepFor#1", "Guard#1", "ForEach#1"} {
		if _, err := decision(t, w, path, `{}`); err == nil || !strings.Contains(err.Error(), "decode JSON") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestSleepDecidesForItsTime(t *testing.T) {
	noon := time.Date(2026, 1, 2, 12, 0, 0, 5, time.UTC)
	w := made(t, func(b builder, _ value) {
		workflow.Sleep(b, time.Minute)
		workflow.SleepFor(b, workflow.Const(b, time.Second))
		workflow.SleepUntil(b, workflow.Const(b, noon))
	})
	for _, c := range []struct {
		path string
		in   []string
		want plan.Pause
	}{
		{"Sleep#1", nil, plan.Pause{For: time.Minute}},
		{"SleepFor#1", []string{"5"}, plan.Pause{For: 5}},
		{"SleepFor#1", []string{"-5"}, plan.Pause{}},
		{"SleepFor#1", []string{""}, plan.Pause{}},
		{"SleepUntil#1", []string{`"2026-01-02T12:00:00.000000005Z"`}, plan.Pause{Until: noon}},
		{"SleepUntil#1", []string{""}, plan.Pause{}},
	} {
		if d, err := decision(t, w, c.path, c.in...); d.Pause != c.want || err != nil {
			t.Errorf("%s of %q: %+v, %v", c.path, c.in, d.Pause, err)
		}
	}
}

func TestGuardSortsItsKeysAndTakesEachOnce(t *testing.T) {
	w := made(t, func(b builder, in value) {
		workflow.Guard(b, in, giving(in), workflow.Name("one"))
		workflow.Guard(b, workflow.Map(b, in, many), giving(in), workflow.Name("many"))
	})
	if d, err := decision(t, w, "one", `"b,a"`); !slices.Equal(d.Keys, []string{"b,a"}) || err != nil {
		t.Error(d, err)
	}
	if d, err := decision(t, w, "many", `["b","a","c","a"]`); !slices.Equal(d.Keys, []string{"a", "b", "c"}) || err != nil {
		t.Error(d, err)
	}
}

func TestGuardWithoutKeysOrWithAnEmptyOneIsAnErrorOfItsDecision(t *testing.T) {
	w := made(t, func(b builder, in value) {
		workflow.Guard(b, in, giving(in), workflow.Name("one"))
		workflow.Guard(b, workflow.Map(b, in, many), giving(in), workflow.Name("many"))
	})
	for path, inputs := range map[string][]string{"one": {`""`, ""}, "many": {`[]`, `null`, "", `["a",""]`}} {
		for _, in := range inputs {
			if d, err := decision(t, w, path, in); !errors.Is(err, workflow.ErrNoKeys) || !strings.Contains(err.Error(), path) {
				t.Errorf("%s of %s: %+v, %v", path, in, d, err)
			}
		}
	}
}

func TestGuardTakesItsOptions(t *testing.T) {
	w := made(t, func(b builder, in value) {
		workflow.Guard(b, in, giving(in))
		workflow.Guard(b, in, giving(in), workflow.MaxWait(1), workflow.MaxHold(2), workflow.LockProvider("lp_x"), workflow.OnLost(workflow.Reacquire))
	})
	if got := *nodeAt(t, w, "Guard#1").Guard; got != (plan.Guard{}) {
		t.Errorf("%+v", got)
	}
	if got := *nodeAt(t, w, "Guard#2").Guard; got != (plan.Guard{MaxWait: 1, MaxHold: 2, Provider: "lp_x", Reacquire: true}) {
		t.Errorf("%+v", got)
	}
}

func TestForEachDecidesForItsItemsInOrderAndGathersWhatTheyGave(t *testing.T) {
	w := made(t, func(b builder, in value) {
		workflow.ForEach(b, workflow.Map(b, in, many), func(b builder, i value) workflow.Value[int] {
			return workflow.Transform(b, i, strconv.Atoi)
		})
	})
	d, err := decision(t, w, "ForEach#1", `["1","2","1"]`)
	if want := [][]byte{[]byte(`"1"`), []byte(`"2"`), []byte(`"1"`)}; !reflect.DeepEqual(d.Items, want) || err != nil {
		t.Errorf("%q, %v", d.Items, err)
	}
	if d, err := decision(t, w, "ForEach#1", ""); len(d.Items) > 0 || err != nil {
		t.Errorf("%q, %v", d.Items, err)
	}
	gather := nodeAt(t, w, "ForEach#1").Gather
	for _, c := range []struct {
		outputs [][]byte
		want    string
	}{{nil, "[]"}, {[][]byte{[]byte("7"), nil, []byte("-1")}, "[7,0,-1]"}} {
		if got, err := gather(store.JSON{}, c.outputs); string(got) != c.want || err != nil {
			t.Errorf("%s, %v", got, err)
		}
	}
	if got, err := gather(store.JSON{}, [][]byte{[]byte("7"), []byte(`"x"`)}); got != nil || err == nil || !strings.Contains(err.Error(), "item 1 of ForEach#1") {
		t.Errorf("%s, %v", got, err)
	}
}

func TestForEachWorksOnSixteenItemsAtOnceUnlessToldOtherwise(t *testing.T) {
	w := made(t, func(b builder, in value) {
		same := func(_ builder, i value) value { return i }
		workflow.ForEach(b, workflow.Map(b, in, many), same)
		workflow.ForEach(b, workflow.Map(b, in, many), same, workflow.Concurrency(1))
	})
	if a, b := nodeAt(t, w, "ForEach#1").Limit, nodeAt(t, w, "ForEach#2").Limit; a != 16 || b != 1 {
		t.Error(a, b)
	}
}

func TestCallNamesTheChildAsItIsNow(t *testing.T) {
	child := inTurn(doing(&journal{}, "a"))
	w := made(t, func(b builder, in value) { workflow.Call(b, child, in) })
	if c := nodeAt(t, w, "Call#1").Call; c.Workflow != "w" || c.Fingerprint != child.Fingerprint() {
		t.Errorf("%+v", c)
	}
}

func TestMaybeGivesItsValueOrAnother(t *testing.T) {
	none, some := workflow.Maybe[int]{}, workflow.Maybe[int]{Taken: true}
	if v, ok := none.Get(); v != 0 || ok || none.Or(7) != 7 {
		t.Error(v, ok, none.Or(7))
	}
	if v, ok := some.Get(); v != 0 || !ok || some.Or(7) != 0 {
		t.Error(v, ok, some.Or(7))
	}
}

// maybes are the encodings of a Maybe[int] on its way between nodes.
var maybes = []struct {
	data []byte
	want workflow.Maybe[int]
}{
	{nil, workflow.Maybe[int]{}},
	{[]byte{}, workflow.Maybe[int]{Taken: true}},
	{[]byte("7"), workflow.Maybe[int]{Taken: true, Value: 7}},
}

func TestMaybeIsReadFromTheValueOfABranch(t *testing.T) {
	var got workflow.Maybe[int]
	note := func(m workflow.Maybe[int]) bool { got = m; return true }
	s := steps.New("s", func(_ *steps.Context, m workflow.Maybe[int]) (bool, error) { return note(m), nil })
	w := made(t, func(b builder, in value) {
		m := workflow.When(b, in, yes, func(b builder) workflow.Value[int] { return workflow.Const(b, 1) })
		workflow.Map(b, m, note)
		workflow.Do(b, s, m)
		workflow.When(b, m, func(m workflow.Maybe[int]) (bool, error) { return note(m), nil }, giving(in))
	})
	for _, c := range maybes {
		for who, reads := range map[string]func() error{
			"a transform": func() error { _, err := nodeAt(t, w, "Map#1").Decide(store.JSON{}, [][]byte{c.data}); return err },
			"a predicate": func() error { _, err := nodeAt(t, w, "When#2").Decide(store.JSON{}, [][]byte{c.data}); return err },
			"a step":      func() error { return nodeAt(t, w, "s").Step.Invoke(context.Background(), store.JSON{}, c.data).Err },
		} {
			got = workflow.Maybe[int]{Taken: true, Value: -1}
			if err := reads(); err != nil || got != c.want {
				t.Errorf("%s reads %+v of %q, want %+v, %v", who, got, c.data, c.want, err)
			}
		}
	}
}

func TestMaybeThatANodeGivesIsWrittenAsABranchGivesIt(t *testing.T) {
	var give workflow.Maybe[int]
	s := steps.New("s", func(*steps.Context, string) (workflow.Maybe[int], error) { return give, nil },
		steps.Undo(func(_ *steps.Context, undo workflow.Maybe[int]) error {
			if undo != give {
				return errBoom
			}
			return nil
		}))
	w := made(t, func(b builder, in value) {
		workflow.Map(b, in, func(string) workflow.Maybe[int] { return give })
		workflow.Do(b, s, in)
		list := workflow.Map(b, in, func(string) []workflow.Maybe[int] { return nil })
		workflow.ForEach(b, list, func(_ builder, i workflow.Value[workflow.Maybe[int]]) workflow.Value[workflow.Maybe[int]] { return i })
	})
	for _, c := range []struct {
		give workflow.Maybe[int]
		want []byte
	}{{workflow.Maybe[int]{}, nil}, {workflow.Maybe[int]{Taken: true}, []byte("0")}, {workflow.Maybe[int]{Taken: true, Value: 7}, []byte("7")}} {
		give = c.give
		d, err := decision(t, w, "Map#1", `""`)
		if !reflect.DeepEqual(d.Output, c.want) || err != nil {
			t.Errorf("%q, %v", d.Output, err)
		}
		step := nodeAt(t, w, "s").Step
		r := step.Invoke(context.Background(), store.JSON{}, []byte(`""`))
		if !reflect.DeepEqual(r.Output, c.want) || r.Err != nil {
			t.Errorf("%q, %v", r.Output, r.Err)
		}
		if r := step.Compensate(context.Background(), store.JSON{}, r.Undo); r.Err != nil {
			t.Error(r.Err)
		}
		all, err := nodeAt(t, w, "ForEach#1").Gather(store.JSON{}, [][]byte{c.want})
		if err != nil {
			t.Error(err)
		}
		if d, err = decision(t, w, "ForEach#1", string(all)); len(d.Items) != 1 || !reflect.DeepEqual(d.Items[0], c.want) || err != nil {
			t.Errorf("%q of %s, %v", d.Items, all, err)
		}
	}
}

// zeroless writes every zero value as no bytes, as some codecs do.
type zeroless struct{ store.JSON }

func (c zeroless) Encode(v any) ([]byte, error) {
	if reflect.ValueOf(v).IsZero() {
		return nil, nil
	}
	return c.JSON.Encode(v)
}

func TestMaybeWithAZeroValueIsNeverNoneWhateverTheCodec(t *testing.T) {
	w := made(t, func(b builder, in value) {
		workflow.Map(b, in, func(string) workflow.Maybe[int] { return workflow.Maybe[int]{Taken: true} })
	})
	if d, err := nodeAt(t, w, "Map#1").Decide(zeroless{}, [][]byte{nil}); d.Output == nil || err != nil {
		t.Errorf("%q, %v", d.Output, err)
	}
}

func TestMaybeOfAMaybeTellsWhichOfThemIsNone(t *testing.T) {
	type inner = workflow.Maybe[int]
	var got workflow.Maybe[inner]
	w := made(t, func(b builder, in value) {
		m := workflow.When(b, in, yes, func(b builder) workflow.Value[inner] {
			return workflow.When(b, in, yes, func(b builder) workflow.Value[int] { return workflow.Const(b, 1) })
		})
		workflow.Map(b, m, func(m workflow.Maybe[inner]) bool { got = m; return true })
	})
	read := func(data []byte) workflow.Maybe[inner] {
		t.Helper()
		got = workflow.Maybe[inner]{}
		if _, err := nodeAt(t, w, "Map#1").Decide(store.JSON{}, [][]byte{data}); err != nil {
			t.Error(err)
		}
		return got
	}
	if m := read(nil); m.Taken {
		t.Errorf("%+v", m)
	}
	for _, c := range maybes {
		d, err := nodeAt(t, w, "Maybe#1").Decide(store.JSON{}, [][]byte{c.data})
		if m := read(d.Output); !m.Taken || m.Value != c.want || err != nil {
			t.Errorf("%q became %q, which is %+v, want %+v, %v", c.data, d.Output, m, c.want, err)
		}
	}
}
