package machine_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/internal/machine"
	"github.com/lockstep-dev/lockstep/internal/plan"
	"github.com/lockstep-dev/lockstep/store"
)

// sketch is a plan being made.
type sketch struct {
	w     *world
	nodes []plan.Node
	seqs  []plan.Sequence
}

func (w *world) randomPlan() {
	k := &sketch{w: w, seqs: []plan.Sequence{{}}}
	k.fill(0, 3, 1+w.rnd.IntN(4))
	p, err := plan.New(plan.Plan{Name: "w", InType: "s", OutType: "s", Nodes: k.nodes, Sequences: k.seqs})
	if err != nil {
		w.t.Fatal(err)
	}
	w.p = p
}

// fill gives a sequence nodes.
func (k *sketch) fill(s, depth, count int) {
	k.seqs[s].Output = plan.Input
	for range count {
		i := len(k.nodes)
		k.nodes = append(k.nodes, plan.Node{Path: fmt.Sprint("n", i), Inputs: []plan.Ref{plan.Input}, OutType: "s"})
		k.seqs[s].Nodes = append(k.seqs[s].Nodes, i)
		k.make(i, depth)
	}
}

func decides(plan.Codec, [][]byte) (plan.Decision, error) { return plan.Decision{}, nil }

func (k *sketch) make(i, depth int) {
	kinds := []plan.Kind{plan.StepNode, plan.StepNode, plan.StepNode, plan.DecisionNode, plan.SleepNode, plan.CallNode}
	if depth > 0 {
		kinds = append(kinds, plan.ParallelNode, plan.WhenNode, plan.GuardNode, plan.EachNode)
	}
	rnd := k.w.rnd
	n := &k.nodes[i]
	n.Kind = kinds[rnd.IntN(len(kinds))]
	branches := 0
	switch n.Kind {
	case plan.StepNode:
		n.Step = k.step(n.Path)
		return
	case plan.CallNode:
		n.Call = &plan.Call{Workflow: "child"}
		return
	case plan.ParallelNode:
		branches = 2 + rnd.IntN(2)
	case plan.WhenNode:
		branches = 1 + rnd.IntN(2)
	case plan.GuardNode:
		branches, n.Guard = 1, &plan.Guard{}
		n.Guard.Reacquire = rnd.IntN(2) == 0
		if rnd.IntN(3) == 0 {
			n.Guard.MaxWait = time.Duration(rnd.IntN(3)) * time.Second
		}
	case plan.EachNode:
		branches, n.Limit = 1, rnd.IntN(4)
		n.Gather = func(plan.Codec, [][]byte) ([]byte, error) { return nil, nil }
	}
	if n.Kind != plan.ParallelNode {
		n.Decide = decides
	}
	var seqs []int
	for range branches {
		seqs = append(seqs, len(k.seqs))
		k.seqs = append(k.seqs, plan.Sequence{})
		k.fill(len(k.seqs)-1, depth-1, rnd.IntN(3))
	}
	k.nodes[i].Branches = seqs
}

func (k *sketch) step(name string) *plan.Step {
	rnd := k.w.rnd
	attempts := func() plan.Attempts {
		return plan.Attempts{
			Most: rnd.IntN(4), Pause: time.Duration(rnd.IntN(2)) * time.Second, Factor: 2,
			Jitter: rnd.Float64(), Elapsed: time.Duration(rnd.IntN(2)) * 3 * time.Second,
		}
	}
	s := &plan.Step{
		Name: name, Invoke: noBody, Compensate: noBody, Asynchronous: rnd.IntN(6) == 0,
		Policy: plan.Policy{Invoke: attempts(), Compensate: attempts(), CompensateOnlyDone: rnd.IntN(3) == 0},
	}
	if rnd.IntN(4) == 0 {
		s.Compensate = nil
	}
	if s.Asynchronous && rnd.IntN(2) == 0 {
		s.Await = time.Duration(1+rnd.IntN(5)) * time.Second
	}
	return s
}

// act is something that can happen now.
type act struct {
	weight int
	do     func()
}

// acts lists what can happen now.
func (w *world) acts() (useful, others []act) {
	for _, at := range sortedPlaces(w.flights) {
		useful = append(useful, act{4, func() { w.land(w.flights[at]) }})
	}
	if due := w.s.NextDue(); !due.IsZero() {
		useful = append(useful, act{2, func() { w.now = later(w.now, due); w.happen(machine.Woken{}) }})
	}
	if len(w.turns) > 0 {
		useful = append(useful, act{4, w.turn})
	}
	for at, n := range w.nodes() {
		useful = append(useful, w.nodeActs(at, n)...)
		if w.p.Nodes[at.Node].Kind == plan.GuardNode && len(n.Holds) > 0 {
			others = append(others, act{1 + 8*weight(w.p.Nodes[at.Node].Guard.Reacquire && w.s.State == store.Invoking), func() {
				w.happen(machine.LocksLost{Place: at, Failure: store.Failure{Path: "guard", Message: "lost"}, Final: w.rnd.IntN(8) == 0})
			}})
		}
	}
	for at, c := range w.children {
		useful = append(useful, w.childActs(at, c)...)
	}
	others = append(others,
		act{1, func() { w.crash(false) }}, act{1, func() { w.crash(true) }},
		act{1, func() { w.outside(store.Event{Kind: store.Cancel}) }})
	return useful, others
}

func weight(b bool) int {
	if b {
		return 1
	}
	return 0
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func (w *world) turn() {
	c := w.turns[0]
	w.turns = w.turns[1:]
	n, _ := w.s.Node(c.Place)
	if n.Invoke.Waits == store.WaitingForTurn || n.Compensate.Waits == store.WaitingForTurn {
		w.happen(machine.TurnCame(c))
	}
}

func (w *world) nodeActs(at store.Place, n store.Node) (list []act) {
	if w.parked[at] && n.Ticket != "" && (n.Invoke.Waits == store.WaitingForLock || n.Compensate.Waits == store.WaitingForLock) {
		list = append(list, act{3, func() {
			delete(w.parked, at)
			w.happen(machine.Granted{Place: at, Holds: []store.Hold{{Key: w.s.PlaceKey(at), Owner: "me", Token: 1}}})
		}})
		if n.Invoke.Waits == store.WaitingForLock || w.rnd.IntN(20) == 0 {
			list = append(list, act{1, func() {
				delete(w.parked, at)
				w.happen(machine.LockFailed{Place: at, Failure: store.Failure{Path: "guard", Message: "refused"}})
			}})
		}
	}
	if n.Invoke.Waits == store.WaitingOutside {
		path, items := w.p.Nodes[at.Node].Path, w.s.Items(at)
		list = append(list,
			act{3, func() {
				w.outside(store.Event{Kind: store.CompleteStep, Path: path, Items: items, Output: []byte("o")})
			}},
			act{1, func() {
				w.outside(store.Event{Kind: store.FailStep, Path: path, Items: items, Permanent: w.rnd.IntN(2) == 0, Failures: []store.Failure{{Message: "no"}}})
			}})
	}
	return list
}

// childActs are a child's end, and the answer that its parent gets.
func (w *world) childActs(at store.Place, c *child) []act {
	answer := func() {
		c.answered = true
		c.revision += 1 + w.rnd.Uint64N(3)
		c.told = append(c.told, store.Event{Kind: store.ChildEnded, Place: at, State: c.state, Revision: c.revision, Output: []byte("c")})
		w.outside(c.told[len(c.told)-1])
	}
	if n := len(c.told); n > 0 && w.rnd.IntN(8) == 0 { // what was told before comes again
		w.ignored(c.told[w.rnd.IntN(n)])
	}
	switch {
	case c.revert && c.state != store.Reverted:
		return []act{{3, func() { c.state = store.Reverted; answer() }}}
	case c.state == "":
		return []act{{3, func() {
			c.state = []store.ExecutionState{store.Done, store.Done, store.Reverted}[w.rnd.IntN(3)]
			answer()
		}}}
	case c.revert && !c.answered:
		return []act{{3, answer}}
	}
	return nil
}

// nodes yields what has begun, in order.
func (w *world) nodes() func(yield func(store.Place, store.Node) bool) {
	return func(yield func(store.Place, store.Node) bool) {
		for id := range w.s.Frames {
			for _, i := range w.p.Sequences[w.s.Frame(store.FrameID(id)).Sequence].Nodes {
				at := store.Place{Frame: store.FrameID(id), Node: i}
				if n, begun := w.s.Node(at); begun && !yield(at, n) {
					return
				}
			}
		}
	}
}

func sortedPlaces(m map[store.Place]*flight) []store.Place {
	var list []store.Place
	for at := range m {
		list = append(list, at)
	}
	slices.SortFunc(list, func(a, b store.Place) int {
		return (int(a.Frame)-int(b.Frame))*1000 + a.Node - b.Node
	})
	return list
}

// run drives the execution to its end.
func (w *world) run() {
	w.begin()
	for step := 0; !w.s.State.Finished(); step++ {
		w.turned = w.turned || w.s.State != store.Invoking
		if step > 20_000 {
			w.fatalf("no end after %d events", step)
		}
		useful, others := w.acts()
		if len(useful) == 0 && w.pending() {
			w.errands()
			continue
		}
		if len(useful) == 0 {
			w.fatalf("I8: %s, and nothing is due", w.s.State)
		}
		list := useful
		if w.rnd.IntN(12) == 0 {
			list = others
		}
		w.pick(list)
		w.turned = w.turned || w.s.State != store.Invoking
		if w.s.State == store.Failed && w.resumes < 3 {
			w.resumes++
			w.happen(machine.Delivered{Event: store.Event{Kind: store.Resume}})
		}
	}
	w.wantEnd()
}

func (w *world) pending() bool {
	for range w.s.Errands {
		return true
	}
	return false
}

func (w *world) pick(list []act) {
	total := 0
	for _, a := range list {
		total += a.weight
	}
	at := w.rnd.IntN(total)
	for _, a := range list {
		if at -= a.weight; at < 0 {
			a.do()
			return
		}
	}
}

// wantEnd wants what has to hold of every execution that has ended.
func (w *world) wantEnd() {
	if len(w.flights) > 0 {
		w.fatalf("it has ended, and %d attempts are in flight", len(w.flights))
	}
	for at, n := range w.nodes() {
		path := w.s.Path(at)
		if len(n.Holds) > 0 || n.Ticket != "" {
			w.fatalf("it has ended, and %s has locks %v or waits for some (%q)", path, n.Holds, n.Ticket)
		}
		if n.Invoke.State == store.StepInvoking && w.p.Nodes[at.Node].Step != nil {
			w.fatalf("it has ended, and %s is invoking", path)
		}
		if !n.Invoke.DueAt.IsZero() || !n.Compensate.DueAt.IsZero() {
			w.fatalf("it has ended, and %s waits for a time", path)
		}
		w.wantNode(at, n, path)
	}
}

func (w *world) wantNode(at store.Place, n store.Node, path string) {
	step := w.p.Nodes[at.Node].Step
	if step == nil {
		return
	}
	switch w.s.State {
	case store.Done:
		if n.Compensate.State != store.StepNone || (n.Invoke.State != store.StepDone && n.Invoke.State != store.StepSkipped) {
			w.fatalf("it is done, and %s is %s, %s", path, n.Invoke.State, n.Compensate.State)
		}
	case store.Reverted:
		if n.Invoke.State == store.StepDone && n.Compensate.State != store.StepReverted {
			w.fatalf("it is reverted, and %s is done and %s", path, n.Compensate.State)
		}
		if n.Unknown && n.Compensate.State != store.StepReverted {
			w.fatalf("it is reverted, and the outcome of %s is unknown and not compensated: %s", path, n.Compensate.State)
		}
	case store.Failed:
	}
	if w.undone[at] > 1 {
		w.fatalf("%s was compensated %d times", path, w.undone[at])
	}
}

func TestRandomExecutionsKeepWhatHoldsForAll(t *testing.T) {
	regained := 0
	for seed := range uint64(20_000) {
		w := newWorld(t, seed)
		w.logf("seed %d", seed)
		w.randomPlan()
		w.run()
		if t.Failed() {
			return
		}
		regained += w.regained
	}
	if regained < 100 {
		t.Errorf("only %d guards have asked again for what they had lost", regained)
	}
}
