package machine_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lockstep-dev/lockstep/internal/machine"
	"github.com/lockstep-dev/lockstep/internal/plan"
	"github.com/lockstep-dev/lockstep/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func noBody(context.Context, plan.Codec, []byte) plan.Result { return plan.Result{} }

// flight is an attempt in flight.
type flight struct {
	machine.StartAttempt
	cancelled bool
}

// world drives a plan with random results, keeps what is flushed as a store would,
// and checks on the way what has to hold for every execution.
type world struct {
	t      *testing.T
	rnd    *rand.Rand
	p      *plan.Plan
	s      *machine.State
	now    time.Time
	cells  map[store.CellID][]byte
	memory machine.CellMemory // used again, as the engine does
	head   store.Head
	log    []string

	flights  map[store.Place]*flight
	turns    []machine.AwaitTurn
	parked   map[store.Place]bool
	children map[store.Place]*child
	resumes  int
	regained int  // guards that asked again for locks they had lost, to go forward
	turned   bool // the execution is not invoking any more
	ordinals map[store.Place]uint64
	effects  map[store.Place]int // invokes that have succeeded
	undone   map[store.Place]int // compensations that have succeeded
}

// child is a child of the execution, as far as its parent can tell.
type child struct {
	state    store.ExecutionState // empty while it runs
	revert   bool
	answered bool
	revision uint64
	told     []store.Event // all that it has told
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{
		t: t, rnd: rand.New(rand.NewPCG(seed, 7)), now: time.Unix(1_000_000, 0).UTC(),
		cells: map[store.CellID][]byte{}, flights: map[store.Place]*flight{}, children: map[store.Place]*child{}, parked: map[store.Place]bool{},
		ordinals: map[store.Place]uint64{}, effects: map[store.Place]int{}, undone: map[store.Place]int{},
	}
	return w
}

func (w *world) logf(format string, args ...any) { w.log = append(w.log, fmt.Sprintf(format, args...)) }

func (w *world) fatalf(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("%s\nplan:\n%s\nwhat happened:\n\t%s", fmt.Sprintf(format, args...), describe(w.p, 0, "\t"), strings.Join(w.log, "\n\t"))
}

func describe(p *plan.Plan, sequence int, indent string) string {
	var b strings.Builder
	for _, i := range p.Sequences[sequence].Nodes {
		n := &p.Nodes[i]
		fmt.Fprintf(&b, "%s%s %s", indent, n.Kind, n.Path)
		if n.Step != nil {
			fmt.Fprintf(&b, " compensate=%v async=%v %+v", n.Step.Compensate != nil, n.Step.Asynchronous, n.Step.Policy)
		}
		b.WriteString("\n")
		for _, s := range n.Branches {
			b.WriteString(indent + " branch\n" + describe(p, s, indent+"\t"))
		}
	}
	return b.String()
}

// begin starts the execution.
func (w *world) begin() {
	id := store.Identity{Key: store.Key{Workflow: "w", ID: "x"}, RunUID: "run", Fingerprint: w.p.Fingerprint, Input: []byte("in"), CreatedAt: w.now}
	if w.rnd.IntN(6) == 0 {
		id.Deadline = w.now.Add(time.Duration(w.rnd.IntN(20)) * time.Second)
	}
	w.s = machine.New(w.p, id, store.Fence{Epoch: 1, Revision: 1})
	w.happen(machine.Begun{})
}

// happen feeds an event, answers its decisions, stores the change, and takes its
// commands.
func (w *world) happen(ev machine.Event) {
	w.t.Helper()
	if err := w.feed(ev); err != nil {
		w.fatalf("%T %+v: %v", ev, ev, err)
	}
}

func (w *world) feed(ev machine.Event) (err error) {
	var commands, undecided []machine.Command
	for ev != nil {
		d, err := machine.Decide(w.s, ev, w.now)
		if err != nil {
			return err
		}
		w.logf("%T %+v -> %+v", ev, ev, d.Commands)
		w.s.Apply(d)
		for _, c := range d.Commands {
			switch c.(type) {
			case machine.Evaluate, machine.Gather:
				undecided = append(undecided, c)
			default:
				commands = append(commands, c)
			}
		}
		ev = nil
		if len(undecided) > 0 && w.s.State == store.Invoking {
			ev, undecided = w.decide(undecided[0]), undecided[1:]
		}
	}
	if w.s.State != store.Invoking {
		if commands, err = w.withdraw(commands); err != nil {
			return err
		}
	}
	w.flush()
	for _, c := range commands {
		w.obey(c)
	}
	w.errands()
	return nil
}

// withdraw takes back the forward attempts of a change that turns the execution round.
func (w *world) withdraw(commands []machine.Command) (kept []machine.Command, err error) {
	gone := map[store.Place]bool{}
	for _, c := range commands {
		if s, ok := c.(machine.StartAttempt); ok && s.Phase == machine.Invoke {
			gone[s.Place] = true
			d, err := machine.Decide(w.s, machine.Withdrawn{Place: s.Place}, w.now)
			if err != nil {
				return nil, err
			}
			w.logf("withdrawn %v -> %+v", s.Place, d.Commands)
			w.s.Apply(d)
			kept = append(kept, d.Commands...)
		}
	}
	for _, c := range commands {
		switch c := c.(type) {
		case machine.StartAttempt:
			if c.Phase == machine.Invoke {
				continue
			}
		case machine.CancelAttempt:
			if gone[c.Place] {
				continue
			}
		}
		kept = append(kept, c)
	}
	return kept, nil
}

func (w *world) flush() {
	for _, c := range w.s.FlushIn(&w.memory) {
		if c.Data == nil {
			delete(w.cells, c.ID)
		} else {
			w.cells[c.ID] = slices.Clone(c.Data)
		}
	}
	w.head = w.s.Head
}

// decide answers a decision at random.
func (w *world) decide(c machine.Command) machine.Event {
	switch c := c.(type) {
	case machine.Gather:
		return machine.Gathered{Place: c.Place, Output: []byte("all")}
	case machine.Evaluate:
		n := &w.p.Nodes[c.Place.Node]
		if w.rnd.IntN(40) == 0 {
			return machine.Evaluated{Place: c.Place, Failure: &store.Failure{Path: n.Path, Message: "no decision"}}
		}
		d := plan.Decision{Output: []byte("d")}
		switch n.Kind {
		case plan.WhenNode:
			d.Branch = w.rnd.IntN(len(n.Branches) + 1)
		case plan.SleepNode:
			d.Pause.For = time.Duration(w.rnd.IntN(5)) * time.Second
		case plan.GuardNode:
			d.Keys = []string{"k" + n.Path}
		case plan.EachNode:
			for range w.rnd.IntN(5) {
				d.Items = append(d.Items, []byte("item"))
			}
		}
		return machine.Evaluated{Place: c.Place, Decision: d}
	}
	return nil
}

func (w *world) obey(c machine.Command) {
	switch c := c.(type) {
	case machine.StartAttempt:
		w.start(c)
	case machine.CancelAttempt:
		if f := w.flights[c.Place]; f != nil {
			f.cancelled = true
		}
	case machine.AwaitTurn:
		w.turns = append(w.turns, c)
	case machine.Park:
		w.parked[c.Place] = true
		w.wantAwaited(c.Place)
	}
}

// wantAwaited wants nothing to be in flight in a guard that asks for its locks again to
// go forward.
func (w *world) wantAwaited(at store.Place) {
	n, _ := w.s.Node(at)
	if n.Invoke.Waits != store.WaitingForLock || n.Count == 0 {
		return
	}
	w.regained++
	if len(n.Holds) > 0 {
		w.fatalf("%s asks for its locks while it has %v", w.s.Path(at), n.Holds)
	}
	for other := range w.flights {
		for outer := range w.guards(other) {
			if outer == at {
				w.fatalf("%s asks for its locks while an attempt of %s is in flight", w.s.Path(at), w.s.Path(other))
			}
		}
	}
}

// guards yields the guards around a place, the innermost first.
func (w *world) guards(at store.Place) func(yield func(store.Place) bool) {
	return func(yield func(store.Place) bool) {
		for at.Frame != 0 {
			at = w.s.Frame(at.Frame).Parent
			if w.p.Nodes[at.Node].Kind == plan.GuardNode && !yield(at) {
				return
			}
		}
	}
}

func (w *world) start(c machine.StartAttempt) {
	if w.flights[c.Place] != nil {
		w.fatalf("two attempts of %s at once", w.s.Path(c.Place))
	}
	if c.Phase == machine.Invoke && (w.turned || w.s.State != store.Invoking) {
		w.fatalf("I4: a forward attempt of %s starts after the execution has turned round", w.s.Path(c.Place))
	}
	if c.Ordinal <= w.ordinals[c.Place] {
		w.fatalf("attempt %d of %s comes after %d", c.Ordinal, w.s.Path(c.Place), w.ordinals[c.Place])
	}
	w.ordinals[c.Place] = c.Ordinal
	w.wantGuarded(c)
	if c.Phase == machine.Compensate {
		w.wantReverse(c.Place)
	}
	w.flights[c.Place] = &flight{StartAttempt: c}
}

// wantReverse wants what was done after a place to be compensated when the place is,
// and what was done before it not to be yet (I5).
func (w *world) wantReverse(at store.Place) {
	for other, n := range w.nodes() {
		if w.p.Nodes[other.Node].Step == nil || other == at {
			continue
		}
		switch order := w.order(other, at); {
		case order < 0 && n.Compensate.State != store.StepNone && w.resumes == 0:
			w.fatalf("I5: %s is compensated, and %s before it is %s", w.s.Path(at), w.s.Path(other), n.Compensate.State)
		case order > 0 && n.Compensate.State == store.StepCompensating:
			w.fatalf("I5: %s is compensated, and %s after it is not yet", w.s.Path(at), w.s.Path(other))
		case order > 0 && n.Compensate.State == store.StepNone && n.Invoke.State == store.StepDone && !w.refused(other):
			w.fatalf("I5: %s is compensated, and %s after it was not", w.s.Path(at), w.s.Path(other))
		}
	}
}

// refused says that a guard around a place did not get its locks to be compensated.
func (w *world) refused(at store.Place) bool {
	for outer := range w.guards(at) {
		if n, _ := w.s.Node(outer); n.Compensate.State == store.StepFailed {
			return true
		}
	}
	return false
}

// order is negative when a was done before b, positive when after, and zero when they
// are in branches side by side.
func (w *world) order(a, b store.Place) int {
	around := func(at store.Place) (list []store.Place) {
		for list = []store.Place{at}; at.Frame != 0; list = append(list, at) {
			at = w.s.Frame(at.Frame).Parent
		}
		slices.Reverse(list)
		return list
	}
	as, bs := around(a), around(b)
	for i := range min(len(as), len(bs)) {
		if as[i].Frame != bs[i].Frame {
			return 0
		}
		if as[i].Node != bs[i].Node {
			return w.p.Nodes[as[i].Node].Position - w.p.Nodes[bs[i].Node].Position
		}
	}
	return 0
}

// wantGuarded wants the outermost guard around an attempt to have its locks (I5).
func (w *world) wantGuarded(c machine.StartAttempt) {
	var outermost *store.Place
	for at := range w.guards(c.Place) {
		outermost = &at
		if n, _ := w.s.Node(at); n.Invoke.Waits == store.WaitingForLock || n.Compensate.Waits == store.WaitingForLock {
			w.fatalf("I5: %s of %s starts while %s waits for its locks", c.Phase, w.s.Path(c.Place), w.s.Path(at))
		}
	}
	if outermost == nil {
		return
	}
	if n, _ := w.s.Node(*outermost); len(n.Holds) == 0 {
		w.fatalf("I5: %s of %s starts without the locks of its guard", c.Phase, w.s.Path(c.Place))
	}
}

// errands does what is to be done elsewhere, some of it later.
func (w *world) errands() {
	var done []uint32
	for n, e := range w.s.Errands {
		if w.rnd.IntN(4) == 0 {
			break
		}
		switch e.Kind {
		case store.StartChild:
			if w.children[e.Place] == nil {
				w.children[e.Place] = &child{}
			}
		case store.RevertChild:
			c := w.children[e.Place]
			if c == nil {
				w.fatalf("a child is reverted that was never started")
			}
			c.revert, c.answered = true, false
		}
		done = append(done, n)
	}
	for _, n := range done {
		w.s.ErrandDone(n)
	}
}

// crash loads the execution from what is stored, as a new owner does.
func (w *world) crash(unclean bool) {
	w.logf("crash, unclean=%v", unclean)
	x := &store.Snapshot{Identity: w.s.Identity, Fence: w.s.Fence, Head: w.head}
	for _, id := range slices.Sorted(maps.Keys(w.cells)) {
		x.Cells = append(x.Cells, store.Cell{ID: id, Data: w.cells[id]})
	}
	s, err := machine.Load(w.p, x)
	if err != nil {
		w.fatalf("load: %v", err)
	}
	w.s, w.turns = s, nil
	clear(w.flights)
	clear(w.parked)
	w.happen(machine.Recovered{Unclean: unclean})
}

// land ends an attempt.
func (w *world) land(f *flight) {
	delete(w.flights, f.Place)
	if w.rnd.IntN(5) > 0 && !f.cancelled {
		if f.Phase == machine.Invoke {
			w.effects[f.Place]++
		} else {
			w.undone[f.Place]++
		}
		w.happen(machine.Succeeded{Place: f.Place, Phase: f.Phase, Output: []byte("out"), Undo: []byte("undo"), Skipped: f.Phase == machine.Invoke && w.rnd.IntN(20) == 0})
		return
	}
	var after *time.Duration
	if w.rnd.IntN(5) == 0 {
		d := time.Duration(w.rnd.IntN(3)) * time.Second
		after = &d
	}
	w.happen(machine.AttemptFailed{
		Place: f.Place, Phase: f.Phase, Failure: store.Failure{Path: w.s.Path(f.Place), Phase: string(f.Phase), Message: "boom"},
		Permanent: w.rnd.IntN(3) == 0, RetryAfter: after, Unknown: w.rnd.IntN(4) == 0, TimedOut: w.rnd.IntN(5) == 0,
	})
}

// outside feeds a message, which may be early or of no use.
func (w *world) outside(e store.Event) {
	err := w.feed(machine.Delivered{Event: e})
	if err != nil && !errors.Is(err, machine.ErrEarly) && !errors.Is(err, machine.ErrMisfit) {
		w.fatalf("%+v: %v", e, err)
	}
}

// ignored feeds what is to change nothing.
func (w *world) ignored(e store.Event) {
	if err := w.feed(machine.Delivered{Event: e}); !errors.Is(err, machine.ErrMisfit) {
		w.fatalf("%+v comes again: %v", e, err)
	}
}
