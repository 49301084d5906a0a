package machine_test

import (
	"slices"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/internal/machine"
	"github.com/lockstep-dev/lockstep/internal/plan"
	"github.com/lockstep-dev/lockstep/store"
)

// newRegaining is [newNested] whose guards take their locks again.
func newRegaining(t *testing.T) *nested {
	t.Helper()
	n := newNested(t)
	for i := range n.s.Plan.Nodes {
		if g := n.s.Plan.Nodes[i].Guard; g != nil {
			g.Reacquire = true
		}
	}
	return n
}

func cancels(commands []machine.Command) (places []store.Place) {
	for _, c := range commands {
		if c, ok := c.(machine.CancelAttempt); ok && c.Cause == machine.LockLost {
			places = append(places, c.Place)
		}
	}
	return places
}

func parks(commands []machine.Command, at store.Place) bool {
	return slices.Contains(commands, machine.Command(machine.Park{Place: at}))
}

// released are the keys that errands give back.
func (n *nested) released() (keys []string) {
	for _, e := range n.s.Errands {
		for _, h := range e.Holds {
			keys = append(keys, h.Key)
		}
	}
	return keys
}

// again has a new owner load what was written of the execution, and go on.
func (n *nested) again(ev machine.Event) []machine.Command {
	n.t.Helper()
	x := &store.Snapshot{Identity: n.s.Identity, Fence: n.s.Fence, Head: n.s.Head, Cells: n.s.Flush()}
	slices.SortFunc(x.Cells, func(a, b store.Cell) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	s, err := machine.Load(n.s.Plan, x)
	if err != nil {
		n.t.Fatal(err)
	}
	n.s = s
	return n.happens(ev)
}

func TestAGuardThatTakesItsLocksAgainAwaitsWhatIsInFlightFirst(t *testing.T) {
	n := newRegaining(t)
	commands := n.happens(machine.LocksLost{Place: inner})
	if got := cancels(commands); !slices.Equal(got, []store.Place{within}) || parks(commands, inner) {
		t.Fatalf("told to end: %v; %+v", got, commands)
	}
	if i := n.node(inner); len(i.Holds) == 0 || len(n.released()) > 0 {
		t.Error("locks are given back under which a body still runs")
	}
	commands = n.happens(machine.AttemptFailed{Place: within, Phase: machine.Invoke})
	i := n.node(inner)
	if starts(commands) || !parks(commands, inner) || len(i.Holds) > 0 || i.Ticket == "" || !slices.Equal(n.released(), []string{"i"}) {
		t.Fatalf("it has landed: %+v, gives back %v; %+v", i, n.released(), commands)
	}
	if n.s.State != store.Invoking || len(n.s.Failures) > 0 {
		t.Errorf("the execution is %s: %v", n.s.State, n.s.Failures)
	}
	if !starts(n.happens(machine.Granted{Place: inner, Holds: held("i")})) {
		t.Error("it has its locks, and the attempt is not made again")
	}
}

func TestAnAttemptThatIsMadeAgainForALostLockIsNotCountedByItsPolicy(t *testing.T) {
	n := newRegaining(t) // its steps have one attempt each
	for i := range 3 {
		n.happens(machine.LocksLost{Place: inner})
		n.happens(machine.AttemptFailed{Place: within, Phase: machine.Invoke, Permanent: true})
		n.happens(machine.Granted{Place: inner, Holds: held("i")})
		if w := n.node(within); w.Invoke.Attempts != 1 || w.Attempts != uint64(2+i) || w.Invoke.State != store.StepInvoking {
			t.Fatalf("%+v", w)
		}
	}
	if n.happens(machine.AttemptFailed{Place: within, Phase: machine.Invoke}); n.s.State == store.Invoking {
		t.Error("its failure under its locks does not count")
	}
}

func TestAnAttemptThatSucceedsInSpiteOfALostLockCountsAndTheGuardIsLeft(t *testing.T) {
	n := newRegaining(t)
	n.happens(machine.LocksLost{Place: inner})
	n.happens(machine.Succeeded{Place: within, Phase: machine.Invoke})
	i := n.node(inner)
	if i.Invoke.State != store.StepDone || i.Ticket != "" || len(i.Holds) > 0 || !slices.Equal(n.released(), []string{"i"}) {
		t.Errorf("%+v, gives back %v", i, n.released())
	}
	if o := n.node(outer); !slices.Equal(o.Holds, held("o")) {
		t.Errorf("the one around it has %v", o.Holds)
	}
}

func TestALockThatIsFinallyLostIsNotTakenAgain(t *testing.T) {
	n := newRegaining(t)
	n.happens(machine.LocksLost{Place: inner, Final: true})
	if n.s.State != store.WaitingToCompensate || len(n.s.Failures) != 1 {
		t.Errorf("%s, %v", n.s.State, n.s.Failures)
	}
}

func TestOneGuardThatDoesNotTakeItsLocksAgainTurnsTheExecutionRound(t *testing.T) {
	n := newRegaining(t)
	n.s.Plan.Nodes[outer.Node].Guard.Reacquire = false
	n.happens(machine.LocksLost{Place: inner, Others: []store.Place{outer}})
	if n.s.State != store.WaitingToCompensate || len(n.node(inner).Holds)+len(n.node(outer).Holds) > 0 {
		t.Errorf("%s", n.s.State)
	}
}

// Whatever the inner ones got they would have while the outer one waits, which two
// executions may do for ever.
func TestAGuardThatWaitsForItsLocksAgainHasThoseWithinItWaitForNothing(t *testing.T) {
	n := newRegaining(t)
	n.decides(beside, "b")
	before := n.node(beside).Ticket
	n.happens(machine.LocksLost{Place: outer})
	if b := n.node(beside); b.Ticket != "" || b.Invoke.Waits != store.WaitingForLock {
		t.Fatalf("%+v", b)
	}
	n.happens(machine.AttemptFailed{Place: within, Phase: machine.Invoke})
	commands := n.happens(machine.Granted{Place: outer, Holds: held("o")})
	if b := n.node(beside); b.Ticket == "" || b.Ticket == before || !parks(commands, beside) || !slices.Equal(b.Keys, []string{"b"}) {
		t.Errorf("the outer one has its locks: %+v; %+v", b, commands)
	}
}

func TestOfTwoGuardsThatHaveLostTheirLocksTheOuterOneAsksFirst(t *testing.T) {
	n := newRegaining(t)
	n.happens(machine.LocksLost{Place: inner, Others: []store.Place{outer}})
	commands := n.happens(machine.AttemptFailed{Place: within, Phase: machine.Invoke})
	if !parks(commands, outer) || parks(commands, inner) {
		t.Fatalf("%+v", commands)
	}
	commands = n.happens(machine.Granted{Place: outer, Holds: held("o")})
	if !parks(commands, inner) || starts(commands) {
		t.Fatalf("%+v", commands)
	}
	if !starts(n.happens(machine.Granted{Place: inner, Holds: held("i")})) {
		t.Error("nothing goes on")
	}
}

func TestNothingBeginsInAGuardThatWaitsForItsLocksAgain(t *testing.T) {
	n := newRegaining(t)
	n.happens(machine.LocksLost{Place: outer})
	commands := n.decides(beside, "b") // it was being evaluated
	commands = append(commands, n.happens(machine.Succeeded{Place: within, Phase: machine.Invoke})...)
	if starts(commands) || !parks(commands, outer) {
		t.Errorf("%+v", commands)
	}
}

func TestAnExecutionThatTurnsRoundWaitsForNoLocksToGoForward(t *testing.T) {
	n := newRegaining(t)
	n.happens(machine.LocksLost{Place: outer})
	n.happens(machine.AttemptFailed{Place: within, Phase: machine.Invoke})
	ticket := n.node(outer).Ticket
	n.happens(machine.Delivered{Event: store.Event{Kind: store.Cancel}})
	var cancelled []string
	for _, e := range n.s.Errands {
		if e.Kind == store.CancelTicket {
			cancelled = append(cancelled, e.Ticket)
		}
	}
	o := n.node(outer)
	if !slices.Contains(cancelled, ticket) || o.Invoke.Waits != store.NotWaiting || o.Compensate.Waits != store.WaitingForLock {
		t.Errorf("cancelled %q, not %q: %+v", cancelled, ticket, o)
	}
}

func TestAWaitToHaveLocksAgainHasTheGuardsMaxWaitAnewAndEndsInCompensation(t *testing.T) {
	n := newRegaining(t)
	n.s.Plan.Nodes[outer.Node].Guard.MaxWait = time.Hour
	n.happens(machine.LocksLost{Place: outer})
	if !n.node(outer).Invoke.DueAt.IsZero() {
		t.Error("its time runs while attempts are awaited")
	}
	n.happens(machine.AttemptFailed{Place: within, Phase: machine.Invoke})
	if due := n.node(outer).Invoke.DueAt; !due.Equal(time.Unix(1, 0).Add(time.Hour)) {
		t.Fatal(due)
	}
	d, err := machine.Decide(n.s, machine.Woken{}, time.Unix(1, 0).Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	n.s.Apply(d)
	o, w := n.node(outer), n.node(within)
	if n.s.State != store.Compensating || w.Invoke.State != store.StepFailed || o.Compensate.Waits != store.WaitingForLock {
		t.Errorf("%s, %+v, %+v", n.s.State, w, o)
	}
}

func TestARefusedWaitToHaveLocksAgainEndsInCompensation(t *testing.T) {
	n := newRegaining(t)
	n.happens(machine.LocksLost{Place: inner})
	n.happens(machine.AttemptFailed{Place: within, Phase: machine.Invoke})
	n.happens(machine.LockFailed{Place: inner, Failure: store.Failure{Message: "no"}})
	if w := n.node(within); n.s.State == store.Invoking || w.Invoke.State != store.StepFailed {
		t.Errorf("%s, %+v", n.s.State, w)
	}
}

func TestANewOwnerGoesOnWithAGuardThatAwaitsItsAttempts(t *testing.T) {
	n := newRegaining(t)
	n.happens(machine.LocksLost{Place: inner})
	commands := n.again(machine.Recovered{})
	if starts(commands) || !parks(commands, inner) {
		t.Fatalf("%+v", commands)
	}
	if !starts(n.happens(machine.Granted{Place: inner, Holds: held("i")})) || n.node(within).Invoke.Attempts != 1 {
		t.Errorf("%+v", n.node(within))
	}
}

func TestANewOwnerGoesOnWithAGuardThatWaitsForItsLocksAgain(t *testing.T) {
	n := newRegaining(t)
	n.happens(machine.LocksLost{Place: inner})
	n.happens(machine.AttemptFailed{Place: within, Phase: machine.Invoke})
	ticket := n.node(inner).Ticket
	commands := n.again(machine.Recovered{})
	if starts(commands) || !parks(commands, inner) || n.node(inner).Ticket != ticket {
		t.Fatalf("%+v", commands)
	}
	if !starts(n.happens(machine.Granted{Place: inner, Holds: held("i")})) {
		t.Error("nothing goes on")
	}
}

func TestANewOwnerThatFindsALockLostTakesItAgainBeforeAnythingGoesOn(t *testing.T) {
	n := newRegaining(t)
	n.again(machine.LocksLost{Place: inner}) // as it finds it, before anything else
	commands := n.happens(machine.Recovered{Unclean: true})
	if starts(commands) || !parks(commands, inner) {
		t.Fatalf("%+v", commands)
	}
	turn := machine.TurnCame{Place: within, Phase: machine.Invoke}
	if starts(n.happens(turn)) || n.node(within).Invoke.Waits != store.WaitingForLock {
		t.Fatalf("a suspect has its turn, and waits for %q", n.node(within).Invoke.Waits)
	}
	if commands := n.happens(machine.Granted{Place: inner, Holds: held("i")}); starts(commands) {
		t.Fatal("a suspect goes on without its turn")
	}
	if !starts(n.happens(turn)) || n.node(within).Invoke.Attempts != 1 {
		t.Errorf("%+v", n.node(within))
	}
}

// A region that was left in its midst is compensated anew, not gone on with.
func TestI6AResumeBeginsAnewWithAGuardThatDidNotGetItsLocksInTheMidst(t *testing.T) {
	n := newNested(t)
	n.loses()
	n.happens(machine.Granted{Place: outer, Holds: held("i", "o")})
	n.happens(machine.LocksLost{Place: outer})
	n.happens(machine.AttemptFailed{Place: within, Phase: machine.Compensate})
	n.happens(machine.LockFailed{Place: outer, Failure: store.Failure{Message: "no"}})
	if n.s.State != store.Failed {
		t.Fatal(n.s.State)
	}
	n.happens(machine.Delivered{Event: store.Event{Kind: store.Resume}})
	if !starts(n.happens(machine.Granted{Place: outer, Holds: held("i", "o")})) {
		t.Error("it has its locks, and nothing is compensated")
	}
}

func TestAGuardThatDoesNotGetItsLocksWhileItsBranchIsBeingCompensatedAsksOnceMoreWhenThatHasLanded(t *testing.T) {
	n := newNested(t)
	n.loses()
	n.happens(machine.Granted{Place: outer, Holds: held("i", "o")})
	n.happens(machine.LocksLost{Place: outer})
	before := len(n.s.Failures)
	n.happens(machine.LockFailed{Place: outer, Failure: store.Failure{Message: "no"}})
	if n.s.State != store.Compensating || len(n.s.Failures) != before {
		t.Fatalf("%s while something is in flight: %v", n.s.State, n.s.Failures)
	}
	if commands := n.happens(machine.AttemptFailed{Place: within, Phase: machine.Compensate}); !parks(commands, outer) {
		t.Errorf("%+v", commands)
	}
	n.happens(machine.LockFailed{Place: outer, Failure: store.Failure{Message: "no"}})
	if n.s.State != store.Failed || len(n.s.Failures) != before+1 {
		t.Errorf("%s, %v", n.s.State, n.s.Failures)
	}
}

// heldUp is an execution of a guard that has lost its lock while its step was in flight,
// which has succeeded all the same; what follows it is not begun.
func heldUp(t *testing.T, next plan.Node) *nested {
	t.Helper()
	next.Path, next.Inputs = "next", []plan.Ref{plan.Input}
	p, err := plan.New(plan.Plan{
		Name:      "w",
		Sequences: []plan.Sequence{{Nodes: []int{0}, Output: plan.Input}, {Nodes: []int{1, 2}, Output: plan.Input}},
		Nodes: []plan.Node{
			{Path: "guard", Kind: plan.GuardNode, Inputs: []plan.Ref{plan.Input}, Decide: decides, Guard: &plan.Guard{Reacquire: true}, Branches: []int{1}},
			{Path: "step", Kind: plan.StepNode, Inputs: []plan.Ref{plan.Input}, Step: &plan.Step{Name: "step", Invoke: noBody}},
			next,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	n := &nested{t, machine.New(p, store.Identity{Key: store.Key{Workflow: "w", ID: "x"}}, store.Fence{})}
	n.happens(machine.Begun{})
	n.decides(store.Place{}, "k")
	n.happens(machine.Granted{Place: store.Place{}, Holds: held("k")})
	n.happens(machine.LocksLost{Place: store.Place{}})
	n.happens(machine.Succeeded{Place: store.Place{Frame: 1, Node: 1}, Phase: machine.Invoke})
	return n
}

var nextPlace = store.Place{Frame: 1, Node: 2}

func TestACallThatWaitsForAGuardsLocksIsNotBegunAndNotReverted(t *testing.T) {
	n := heldUp(t, plan.Node{Kind: plan.CallNode, Call: &plan.Call{Workflow: "child"}})
	if c := n.node(nextPlace); c.Child != "" || c.Invoke.Waits != store.WaitingForLock {
		t.Fatalf("%+v", c)
	}
	n.happens(machine.Delivered{Event: store.Event{Kind: store.Cancel}})
	for _, e := range n.s.Errands {
		if e.Kind == store.StartChild || e.Kind == store.RevertChild {
			t.Errorf("%+v", e)
		}
	}
	if c := n.node(nextPlace); c.Invoke.State != store.StepSkipped || !n.s.State.Finished() {
		t.Errorf("%+v, %s", c, n.s.State)
	}
}

func TestAStepThatWaitsForAGuardsLocksIsSkippedWhenTheExecutionTurnsRound(t *testing.T) {
	n := heldUp(t, plan.Node{Kind: plan.StepNode, Step: &plan.Step{Name: "next", Invoke: noBody, Compensate: noBody}})
	n.happens(machine.Delivered{Event: store.Event{Kind: store.Cancel}})
	if s := n.node(nextPlace); s.Invoke.State != store.StepSkipped || s.Compensate.State != store.StepNone {
		t.Errorf("%+v", s)
	}
}

func TestADecisionIsMadeOnceTheGuardAroundItHasItsLocksAgain(t *testing.T) {
	n := heldUp(t, plan.Node{Kind: plan.DecisionNode, Decide: decides})
	commands := n.happens(machine.Granted{Place: store.Place{}, Holds: held("k")})
	if !slices.Contains(commands, machine.Command(machine.Evaluate{Place: nextPlace})) {
		t.Errorf("%+v", commands)
	}
}

func TestWhatWaitsForTheLocksOfTheGuardAroundItHasItsMaxWaitAnew(t *testing.T) {
	n := newRegaining(t)
	n.s.Plan.Nodes[beside.Node].Guard.MaxWait = time.Hour
	n.decides(beside, "b")
	n.happens(machine.LocksLost{Place: outer})
	if due := n.node(beside).Invoke.DueAt; !due.IsZero() {
		t.Errorf("it waits until %s for what it is not in the queue of", due)
	}
}

func TestAGuardAsksAgainAlsoForWhatGuardsWithinItHaveLeftToIt(t *testing.T) {
	n := newRegaining(t)
	n.decides(beside, "b")
	n.happens(machine.Succeeded{Place: within, Phase: machine.Invoke})
	n.happens(machine.LocksLost{Place: outer})
	if o := n.node(outer); o.Ticket == "" || !slices.Equal(o.Keys, []string{"i", "o"}) {
		t.Errorf("%+v", o)
	}
}

func TestANewOwnerHasAGuardAskOnceMoreThatDidNotGetItsLocksWhileItsBranchWasBeingCompensated(t *testing.T) {
	n := newNested(t)
	n.loses()
	n.happens(machine.Granted{Place: outer, Holds: held("i", "o")})
	n.happens(machine.LocksLost{Place: outer})
	n.happens(machine.LockFailed{Place: outer, Failure: store.Failure{Message: "no"}})
	if commands := n.again(machine.Recovered{}); !parks(commands, outer) || starts(commands) {
		t.Errorf("%+v", commands)
	}
}

func TestAGuardThatDoesNotGetItsLocksFailsAlsoWhatWaitsForItsTurnToBeCompensated(t *testing.T) {
	n := newNested(t)
	n.loses()
	n.happens(machine.Granted{Place: outer, Holds: held("i", "o")})
	n.happens(machine.Recovered{Unclean: true})
	n.happens(machine.LocksLost{Place: outer})
	n.happens(machine.LockFailed{Place: outer, Failure: store.Failure{Message: "no"}})
	if w := n.node(within); n.s.State != store.Failed || w.Compensate.State != store.StepFailed {
		t.Errorf("%s, %+v", n.s.State, w.Compensate)
	}
}

// A step that kills its process again and again would do so for ever where each death
// costs the guard around it a lock.
func TestI11ACrashLoopFailsAlsoWhereItsGuardHasLostALock(t *testing.T) {
	n := newRegaining(t)
	for range machine.MostDeaths {
		n.happens(machine.Recovered{Unclean: true})
		n.happens(machine.TurnCame{Place: within, Phase: machine.Invoke})
	}
	n.happens(machine.LocksLost{Place: inner})
	n.happens(machine.Recovered{Unclean: true})
	if w := n.node(within); w.Invoke.State != store.StepFailed || n.s.State == store.Invoking {
		t.Errorf("%+v, %s", w, n.s.State)
	}
}

func TestAGuardThatWaitsForItsLocksAgainTakesNoneFromOneWithinItThatIsLeftMeanwhile(t *testing.T) {
	n := newRegaining(t)
	n.s.Plan.Nodes[within.Node].Step.Asynchronous = true
	n.happens(machine.Succeeded{Place: within, Phase: machine.Invoke})
	n.happens(machine.LocksLost{Place: outer})
	n.happens(machine.Delivered{Event: store.Event{Kind: store.CompleteStep, Path: "within"}})
	if o := n.node(outer); o.Ticket == "" || len(o.Holds) > 0 || !slices.Equal(n.released(), []string{"o", "i"}) {
		t.Fatalf("%+v, given back are %v", o, n.released())
	}
	n.happens(machine.Granted{Place: outer, Holds: held("o")})
	if o := n.node(outer); !slices.Equal(o.Holds, held("o")) {
		t.Errorf("%v", o.Holds)
	}
}

func TestAFailureThatCameFromOutsideCountsAlsoWhereTheGuardHasLostALock(t *testing.T) {
	n := newRegaining(t)
	n.s.Plan.Nodes[within.Node].Step.Asynchronous = true
	n.happens(machine.Succeeded{Place: within, Phase: machine.Invoke})
	n.happens(machine.LocksLost{Place: inner})
	n.happens(machine.Delivered{Event: store.Event{Kind: store.FailStep, Path: "within", Permanent: true, Failures: []store.Failure{{Message: "no"}}}})
	if n.s.State == store.Invoking {
		t.Errorf("%+v", n.node(within))
	}
}
