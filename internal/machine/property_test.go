package machine_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/internal/machine"
	"github.com/lockstep-dev/lockstep/internal/plan"
	"github.com/lockstep-dev/lockstep/store"
)

func noBody(context.Context, plan.Codec, []byte) plan.Result { return plan.Result{} }

func contains(list, item string) bool { return slices.Contains(strings.Split(list, ", "), item) }

// deepCopy is independent of what it copies, as far as Decide can reach.
func deepCopy(x *store.Execution) *store.Execution {
	c := *x
	c.Nodes = slices.Clone(x.Nodes)
	c.Failures = slices.Clone(x.Failures)
	return &c
}

// world drives a random plan with random results, and checks on the way what has
// to hold for every execution.
type world struct {
	t    *testing.T
	rnd  *rand.Rand
	plan *plan.Plan
	x    *store.Execution
	now  time.Time

	flight   *machine.StartAttempt
	decision *int
	wakeAt   time.Time
	finished bool
	undoing  bool
	ordinals map[int]uint64
	effects  []int // steps whose effects have to be undone, in order
	undone   []int // steps whose compensation has ended, well or badly
	broken   bool  // a compensation failed for good
}

func (w *world) randomPlan() {
	var nodes []plan.Node
	for i := range 1 + w.rnd.IntN(7) {
		path := fmt.Sprint("n", i)
		if w.rnd.IntN(3) == 0 {
			nodes = append(nodes, decisionNode(path))
			continue
		}
		n := stepNode(path, plan.Policy{
			Invoke: w.attempts(), Compensate: w.attempts(), CompensateOnlyDone: w.rnd.IntN(3) == 0,
		})
		if w.rnd.IntN(4) == 0 {
			n.Step.Compensate = nil
		}
		nodes = append(nodes, n)
	}
	w.plan = makePlan(w.t, nodes...)
}

func (w *world) attempts() plan.Attempts {
	return plan.Attempts{
		Most: w.rnd.IntN(4), Pause: time.Duration(w.rnd.IntN(2)) * time.Second, Factor: 2,
		Jitter: w.rnd.Float64(), Elapsed: time.Duration(w.rnd.IntN(2)) * 3 * time.Second,
	}
}

// happen feeds an event and takes its commands.
func (w *world) happen(ev machine.Event) {
	before := deepCopy(w.x)
	d, err := machine.Decide(w.plan, w.x, ev, w.now)
	if err != nil {
		w.t.Fatalf("%+v: %v", ev, err)
	}
	if !reflect.DeepEqual(before, w.x) {
		w.t.Fatalf("Decide changed what it was given, for %+v", ev)
	}
	w.x.Apply(d.Change)
	for _, c := range d.Commands {
		w.obey(c)
	}
}

func (w *world) obey(c machine.Command) {
	if w.finished {
		w.t.Fatalf("%+v after the end", c)
	}
	switch c := c.(type) {
	case machine.Evaluate:
		if w.undoing {
			w.t.Fatal("a decision while compensating")
		}
		w.decision = &c.Node
	case machine.StartAttempt:
		if w.flight != nil {
			w.t.Fatalf("%+v starts while %+v is in flight", c, *w.flight)
		}
		if c.Ordinal <= w.ordinals[c.Node] {
			w.t.Fatalf("ordinal %d of node %d after %d", c.Ordinal, c.Node, w.ordinals[c.Node])
		}
		if c.Phase == machine.Invoke && w.undoing {
			w.t.Fatal("a forward attempt while compensating")
		}
		w.undoing = w.undoing || c.Phase == machine.Compensate
		w.ordinals[c.Node] = c.Ordinal
		w.flight = &c
	case machine.WakeAt:
		w.wakeAt = c.At
	case machine.CancelAttempt:
		if w.flight == nil || w.flight.Node != c.Node {
			w.t.Fatalf("cancel of node %d, in flight is %+v", c.Node, w.flight)
		}
	case machine.Finish:
		w.finished = true
	}
}

// step lets one random thing happen that may.
func (w *world) step() {
	w.now = w.now.Add(time.Duration(w.rnd.IntN(1000)) * time.Millisecond)
	switch {
	case w.decision != nil:
		node := *w.decision
		w.decision = nil
		ev := machine.Evaluated{Node: node, Output: []byte("v")}
		if w.rnd.IntN(12) == 0 {
			ev = machine.Evaluated{Node: node, Failure: &store.Failure{}}
		}
		w.happen(ev)
	case w.x.State == store.Invoking && w.rnd.IntN(15) == 0:
		w.cancelRetry()
		w.happen(machine.CancelRequested{})
	case w.flight != nil:
		w.land()
	case !w.wakeAt.IsZero():
		w.now, w.wakeAt = w.wakeAt, time.Time{}
		w.happen(machine.Woken{})
	default:
		w.t.Fatalf("stuck in %s", w.x.State)
	}
}

// cancelRetry notes that a step which waits for its next attempt has none.
func (w *world) cancelRetry() {
	if w.flight == nil && !w.wakeAt.IsZero() {
		for i := range w.x.Nodes {
			if !w.x.Nodes[i].Invoke.RetryAt.IsZero() {
				w.ended(i, false)
			}
		}
		w.wakeAt = time.Time{}
	}
}

// land ends the attempt in flight somehow.
func (w *world) land() {
	f := *w.flight
	w.flight = nil
	failures := len(w.x.Failures)
	good := w.rnd.IntN(3) > 0
	if good {
		skip := f.Phase == machine.Invoke && w.rnd.IntN(6) == 0
		if !skip {
			w.noteEnd(f, true)
		}
		w.happen(machine.Succeeded{Node: f.Node, Phase: f.Phase, Output: []byte("o"), Undo: []byte("u"), Skipped: skip})
		return
	}
	ev := machine.AttemptFailed{
		Node: f.Node, Phase: f.Phase, Permanent: w.rnd.IntN(5) == 0,
		Unknown: f.Phase == machine.Invoke && w.rnd.IntN(5) == 0, TimedOut: w.rnd.IntN(5) == 0,
	}
	if w.rnd.IntN(4) == 0 {
		after := time.Duration(w.rnd.IntN(3)) * time.Second
		ev.RetryAfter = &after
	}
	unknown := w.x.Nodes[f.Node].Unknown || ev.Unknown
	w.happenThen(ev, func() {
		if len(w.x.Failures) == failures {
			return // it is tried again
		}
		if f.Phase == machine.Compensate {
			w.noteEnd(f, false)
		} else {
			w.endedUnknown(f.Node, unknown)
		}
	})
}

// happenThen notes the end of the step before the commands that follow from it
// are looked at.
func (w *world) happenThen(ev machine.Event, note func()) {
	w.happen(ev)
	note()
}

func (w *world) noteEnd(f machine.StartAttempt, good bool) {
	if f.Phase == machine.Invoke {
		w.effects = append(w.effects, f.Node)
		return
	}
	w.undone = append(w.undone, f.Node)
	w.broken = w.broken || !good
}

func (w *world) ended(node int, _ bool) { w.endedUnknown(node, w.x.Nodes[node].Unknown) }

// endedUnknown notes a step that failed for good.
func (w *world) endedUnknown(node int, unknown bool) {
	if unknown || !w.plan.Nodes[node].Step.Policy.CompensateOnlyDone {
		w.effects = append(w.effects, node)
	}
}

// check looks at what the whole run came to.
func (w *world) check() {
	switch w.x.State {
	case store.Done:
		if len(w.undone) != 0 {
			w.t.Fatal("done, and compensated:", w.undone)
		}
	case store.Reverted, store.Failed:
		var want []int
		for _, node := range slices.Backward(w.effects) {
			if w.plan.Nodes[node].Step.Compensate != nil {
				want = append(want, node)
			}
		}
		if !slices.Equal(w.undone, want) {
			w.t.Fatalf("compensated %v, want %v", w.undone, want)
		}
		if w.broken != (w.x.State == store.Failed) {
			w.t.Fatalf("state %s, a compensation failed: %v", w.x.State, w.broken)
		}
	default:
		w.t.Fatal("ended in", w.x.State)
	}
}

func TestI5EveryRandomRunEndsAndIsCompensatedInExactReverse(t *testing.T) {
	seeds := uint64(4_000)
	if testing.Short() {
		seeds = 1_000
	}
	ends := map[store.ExecutionState]int{}
	for seed := range seeds {
		ok := t.Run("", func(t *testing.T) {
			defer func() {
				if t.Failed() {
					t.Log("seed", seed)
				}
			}()
			w := &world{t: t, rnd: rand.New(rand.NewPCG(seed, 1)), now: now, ordinals: map[int]uint64{}}
			w.randomPlan()
			w.x = newExecution(w.plan)
			w.happen(machine.Begun{})
			for n := 0; !w.finished; n++ {
				if n == 1000 {
					t.Fatal("it does not end")
				}
				w.step()
			}
			w.check()
			ends[w.x.State]++
		})
		if !ok {
			return
		}
	}
	for _, s := range []store.ExecutionState{store.Done, store.Reverted, store.Failed} {
		if ends[s] < int(seeds)/50 {
			t.Errorf("only %d of %d runs ended %s", ends[s], seeds, s)
		}
	}
}
