package machine_test

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lockstep-dev/lockstep/internal/machine"
	"github.com/lockstep-dev/lockstep/internal/plan"
	"github.com/lockstep-dev/lockstep/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var now = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

// stepNode is a step with a compensation; the machine never calls it.
func stepNode(path string, p plan.Policy) plan.Node {
	s := &plan.Step{Name: path, Policy: p}
	s.Compensate = noBody
	return plan.Node{Path: path, Kind: plan.StepNode, Inputs: []plan.Ref{plan.Input}, Step: s}
}

func decisionNode(path string) plan.Node {
	return plan.Node{Path: path, Kind: plan.DecisionNode, Inputs: []plan.Ref{plan.Input}}
}

func makePlan(t testing.TB, nodes ...plan.Node) *plan.Plan {
	t.Helper()
	p, err := plan.New(plan.Plan{Name: "w", Nodes: nodes, Output: plan.Ref(len(nodes) - 1)})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func newExecution(p *plan.Plan) *store.Execution {
	x := &store.Execution{
		Key: store.Key{Workflow: "w", ID: "x"}, RunUID: "run", Input: []byte("in"),
		Head: store.Head{State: store.NotStarted}, Nodes: make([]store.Node, len(p.Nodes)),
	}
	for i := range x.Nodes {
		x.Nodes[i].Invoke.State, x.Nodes[i].Compensate.State = store.StepNotStarted, store.StepDormant
	}
	return x
}

// after feeds events in turn, and returns what the last one led to.
func after(t *testing.T, p *plan.Plan, events ...machine.Event) (*store.Execution, machine.Decision) {
	t.Helper()
	x := newExecution(p)
	var d machine.Decision
	for i, ev := range events {
		var err error
		if d, err = machine.Decide(p, x, ev, now); err != nil {
			t.Fatalf("event %d: %v", i+1, err)
		}
		x.Apply(d.Change)
	}
	return x, d
}

func failed(node int, phase machine.Phase) machine.AttemptFailed {
	return machine.AttemptFailed{Node: node, Phase: phase, Failure: store.Failure{Message: fmt.Sprint("of ", node)}}
}

func done(node int) machine.Succeeded {
	return machine.Succeeded{Node: node, Phase: machine.Invoke, Output: []byte("out"), Undo: []byte("undo")}
}

func undone(node int) machine.Succeeded {
	return machine.Succeeded{Node: node, Phase: machine.Compensate}
}

var (
	retryTwice = plan.Policy{Invoke: plan.Attempts{Most: 2}, Compensate: plan.Attempts{Most: 2}}
	retryLater = plan.Policy{Invoke: plan.Attempts{Most: 2, Pause: time.Minute}}
)

func attempt(node int, phase machine.Phase, number int, ordinal uint64) machine.StartAttempt {
	return machine.StartAttempt{Node: node, Phase: phase, Number: number, Ordinal: ordinal}
}

func TestDecide(t *testing.T) {
	soon := 7 * time.Second
	inv, comp := machine.Invoke, machine.Compensate
	two := makePlan(t, stepNode("a", plan.Policy{}), stepNode("b", plan.Policy{}))
	mixed := makePlan(t, stepNode("a", plan.Policy{}), decisionNode("d"), stepNode("b", plan.Policy{}))
	first := makePlan(t, decisionNode("d"), stepNode("b", plan.Policy{}))
	retried := makePlan(t, stepNode("a", retryTwice))
	later := makePlan(t, stepNode("a", retryLater))
	onlyDone := makePlan(t, stepNode("a", plan.Policy{CompensateOnlyDone: true}))
	bare := makePlan(t, stepNode("a", plan.Policy{}), stepNode("b", plan.Policy{}))
	bare.Nodes[0].Step.Compensate = nil
	permanent, asked, unknown := failed(0, inv), failed(0, inv), failed(0, inv)
	permanent.Permanent, asked.RetryAfter, unknown.Unknown = true, &soon, true
	none := failed(0, inv)
	none.RetryAfter = new(time.Duration)
	begun := machine.Begun{}

	for _, c := range []struct {
		rule     string
		plan     *plan.Plan
		events   []machine.Event
		state    store.ExecutionState
		commands []machine.Command
	}{
		{"begin starts the first step", two, []machine.Event{begun}, store.Invoking, []machine.Command{attempt(0, inv, 1, 1)}},
		{"begin asks for the first decision", first, []machine.Event{begun}, store.Invoking, []machine.Command{machine.Evaluate{Node: 0}}},
		{"success starts the next step", two, []machine.Event{begun, done(0)}, store.Invoking, []machine.Command{attempt(1, inv, 1, 1)}},
		{"the last success finishes", two, []machine.Event{begun, done(0), done(1)}, store.Done, []machine.Command{machine.Finish{}}},
		{"success asks for the decision that follows", mixed, []machine.Event{begun, done(0)}, store.Invoking, []machine.Command{machine.Evaluate{Node: 1}}},
		{"a decision enables what follows", mixed, []machine.Event{begun, done(0), machine.Evaluated{Node: 1}}, store.Invoking, []machine.Command{attempt(2, inv, 1, 1)}},
		{
			"a failed decision compensates what came before", mixed,
			[]machine.Event{begun, done(0), machine.Evaluated{Node: 1, Failure: &store.Failure{}}},
			store.Compensating,
			[]machine.Command{attempt(0, comp, 1, 2)},
		},
		{"a failed first decision is reverted", first, []machine.Event{begun, machine.Evaluated{Node: 0, Failure: &store.Failure{}}}, store.Reverted, []machine.Command{machine.Finish{}}},
		{"a failed step is compensated first", two, []machine.Event{begun, done(0), failed(1, inv)}, store.Compensating, []machine.Command{attempt(1, comp, 1, 2)}},
		{"then the one before", two, []machine.Event{begun, done(0), failed(1, inv), undone(1)}, store.Compensating, []machine.Command{attempt(0, comp, 1, 2)}},
		{"then it is reverted", two, []machine.Event{begun, done(0), failed(1, inv), undone(1), undone(0)}, store.Reverted, []machine.Command{machine.Finish{}}},
		{"a failed compensation lets the rest compensate", two, []machine.Event{begun, done(0), failed(1, inv), failed(1, comp)}, store.Compensating, []machine.Command{attempt(0, comp, 1, 2)}},
		{"and makes the execution failed", two, []machine.Event{begun, done(0), failed(1, inv), failed(1, comp), undone(0)}, store.Failed, []machine.Command{machine.Finish{}}},
		{"a step without compensation is passed over", bare, []machine.Event{begun, done(0), failed(1, inv), undone(1)}, store.Reverted, []machine.Command{machine.Finish{}}},
		{"CompensateOnlyDone leaves a failed step alone", onlyDone, []machine.Event{begun, failed(0, inv)}, store.Reverted, []machine.Command{machine.Finish{}}},
		{"CompensateOnlyDone never leaves an unknown outcome alone", onlyDone, []machine.Event{begun, unknown}, store.Compensating, []machine.Command{attempt(0, comp, 1, 2)}},
		{"a retry at once starts the next attempt", retried, []machine.Event{begun, failed(0, inv)}, store.Invoking, []machine.Command{attempt(0, inv, 2, 2)}},
		{"spent attempts compensate", retried, []machine.Event{begun, failed(0, inv), failed(0, inv)}, store.Compensating, []machine.Command{attempt(0, comp, 1, 3)}},
		{"a permanent error is not retried", retried, []machine.Event{begun, permanent}, store.Compensating, []machine.Command{attempt(0, comp, 1, 2)}},
		{"a compensation is retried", retried, []machine.Event{begun, permanent, failed(0, comp)}, store.Compensating, []machine.Command{attempt(0, comp, 2, 3)}},
		{"a delayed retry asks to be woken", later, []machine.Event{begun, failed(0, inv)}, store.Invoking, []machine.Command{machine.WakeAt{At: now.Add(time.Minute)}}},
		{"RetryAfter replaces the pause", later, []machine.Event{begun, asked}, store.Invoking, []machine.Command{machine.WakeAt{At: now.Add(soon)}}},
		{"RetryAfter of zero is at once", later, []machine.Event{begun, none}, store.Invoking, []machine.Command{attempt(0, inv, 2, 2)}},
		{"waking too soon does nothing", later, []machine.Event{begun, failed(0, inv), machine.Woken{}}, store.Invoking, nil},
		{"cancel ends the attempt in flight", two, []machine.Event{begun, machine.CancelRequested{}}, store.WaitingToCompensate, []machine.Command{machine.CancelAttempt{Node: 0}}},
		{"a cancelled attempt that failed is compensated", two, []machine.Event{begun, machine.CancelRequested{}, failed(0, inv)}, store.Compensating, []machine.Command{attempt(0, comp, 1, 2)}},
		{"a cancelled attempt is not retried", retried, []machine.Event{begun, machine.CancelRequested{}, failed(0, inv)}, store.Compensating, []machine.Command{attempt(0, comp, 1, 2)}},
		{"a cancelled attempt that succeeded is compensated", two, []machine.Event{begun, machine.CancelRequested{}, done(0)}, store.Compensating, []machine.Command{attempt(0, comp, 1, 2)}},
		{"cancel of a retry that is due later compensates at once", later, []machine.Event{begun, failed(0, inv), machine.CancelRequested{}}, store.Compensating, []machine.Command{attempt(0, comp, 1, 2)}},
		{"skip goes on", two, []machine.Event{begun, machine.Succeeded{Node: 0, Phase: inv, Skipped: true}}, store.Invoking, []machine.Command{attempt(1, inv, 1, 1)}},
		{
			"a skipped step is not compensated", two,
			[]machine.Event{begun, machine.Succeeded{Node: 0, Phase: inv, Skipped: true}, failed(1, inv), undone(1)},
			store.Reverted,
			[]machine.Command{machine.Finish{}},
		},
	} {
		t.Run(c.rule, func(t *testing.T) {
			x, d := after(t, c.plan, c.events...)
			if x.State != c.state || !reflect.DeepEqual(d.Commands, c.commands) {
				t.Errorf("state %s, commands %+v\nwant %s, %+v", x.State, d.Commands, c.state, c.commands)
			}
			if x.State.Finished() != !x.FinishedAt.IsZero() {
				t.Error("FinishedAt", x.FinishedAt)
			}
		})
	}
}

func TestWokenStartsTheRetryThatIsDue(t *testing.T) {
	p := makePlan(t, stepNode("a", retryLater))
	x, _ := after(t, p, machine.Begun{}, failed(0, machine.Invoke))
	d, err := machine.Decide(p, x, machine.Woken{}, now.Add(time.Minute))
	if err != nil || !reflect.DeepEqual(d.Commands, []machine.Command{attempt(0, machine.Invoke, 2, 2)}) {
		t.Errorf("%+v, %v", d.Commands, err)
	}
	if n := d.Change.Nodes[0].Node; !n.Invoke.RetryAt.IsZero() || !n.Invoke.FirstAt.Equal(now) {
		t.Errorf("%+v", n)
	}
}

func TestTheResultIsThatOfThePlan(t *testing.T) {
	x, _ := after(t, makePlan(t, stepNode("a", plan.Policy{})), machine.Begun{}, done(0))
	if string(x.Output) != "out" || string(x.Nodes[0].Undo) != "undo" {
		t.Errorf("%q", x.Output)
	}
}

func TestUndoKeptByAFailedAttemptStays(t *testing.T) {
	ev := failed(0, machine.Invoke)
	ev.Undo = []byte("kept")
	x, _ := after(t, makePlan(t, stepNode("a", plan.Policy{})), machine.Begun{}, ev)
	if string(x.Nodes[0].Undo) != "kept" {
		t.Errorf("%q", x.Nodes[0].Undo)
	}
}

func TestFailuresAreKeptInOrderAndOnlyTheLastOfRetries(t *testing.T) {
	x, _ := after(t, makePlan(t, stepNode("a", plan.Policy{}), stepNode("b", retryTwice)),
		machine.Begun{}, done(0), failed(1, machine.Invoke), failed(1, machine.Invoke),
		failed(1, machine.Compensate), failed(1, machine.Compensate), failed(0, machine.Compensate))
	if len(x.Failures) != 3 || x.Failures[0].Message != "of 1" || x.Failures[2].Message != "of 0" || x.State != store.Failed {
		t.Errorf("%s %+v", x.State, x.Failures)
	}
}

func TestIllegalEventsAreRefusedAndChangeNothing(t *testing.T) {
	p := makePlan(t, stepNode("a", retryLater), decisionNode("d"))
	states := map[string][]machine.Event{
		"not begun":        nil,
		"invoking":         {machine.Begun{}},
		"retry due later":  {machine.Begun{}, failed(0, machine.Invoke)},
		"cancelling":       {machine.Begun{}, machine.CancelRequested{}},
		"compensating":     {machine.Begun{}, machine.CancelRequested{}, failed(0, machine.Invoke)},
		"reverted":         {machine.Begun{}, machine.CancelRequested{}, failed(0, machine.Invoke), undone(0)},
		"done":             {machine.Begun{}, done(0), machine.Evaluated{Node: 1}},
		"failed":           {machine.Begun{}, machine.CancelRequested{}, failed(0, machine.Invoke), failed(0, machine.Compensate)},
		"decision pending": {machine.Begun{}, done(0)},
	}
	events := map[string]machine.Event{
		"begun": machine.Begun{}, "cancel": machine.CancelRequested{},
		"invoke done": done(0), "invoke failed": failed(0, machine.Invoke),
		"compensate done": undone(0), "compensate failed": failed(0, machine.Compensate),
		"evaluated": machine.Evaluated{Node: 1},
	}
	allowed := map[string]string{
		"not begun":        "begun",
		"invoking":         "cancel, invoke done, invoke failed",
		"retry due later":  "cancel",
		"cancelling":       "invoke done, invoke failed",
		"compensating":     "compensate done, compensate failed",
		"decision pending": "cancel, evaluated",
	}
	for state, before := range states {
		for name, ev := range events {
			x, _ := after(t, p, before...)
			if len(before) == 0 {
				x = newExecution(p)
			}
			d, err := machine.Decide(p, x, ev, now)
			legal := contains(allowed[state], name)
			if legal != (err == nil) {
				t.Errorf("%s in %s: %v", name, state, err)
			}
			if err != nil && (!errors.Is(err, machine.ErrIllegal) || !reflect.DeepEqual(d, machine.Decision{})) {
				t.Errorf("%s in %s: %+v, %v", name, state, d, err)
			}
		}
	}
}

func TestEventsOfNodesThatAreNotThereAreIllegal(t *testing.T) {
	p := makePlan(t, stepNode("a", plan.Policy{}), decisionNode("d"))
	x, _ := after(t, p, machine.Begun{})
	for _, ev := range []machine.Event{
		done(-1), done(2), done(1), machine.Evaluated{Node: 0}, machine.Evaluated{Node: 9}, failed(7, machine.Compensate),
	} {
		if _, err := machine.Decide(p, x, ev, now); !errors.Is(err, machine.ErrIllegal) {
			t.Errorf("%+v: %v", ev, err)
		}
	}
}

func TestInputsAreThoseOfThePlansEdges(t *testing.T) {
	p := makePlan(t, stepNode("a", plan.Policy{}), decisionNode("d"))
	p.Nodes[1].Inputs = []plan.Ref{0, plan.Input, 0}
	x, _ := after(t, p, machine.Begun{}, done(0))
	if got := machine.Inputs(p, x, 1); fmt.Sprintf("%s", got) != "[out in out]" {
		t.Errorf("%s", got)
	}
}
