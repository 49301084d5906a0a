package simulation

import (
	"fmt"
	"strings"
	"time"
)

// verb is what a node of a random workflow is.
type verb string

const (
	doVerb        verb = "do"
	asyncVerb     verb = "async"
	transformVerb verb = "transform" // also those that others need around them
	parallelVerb  verb = "parallel"
	whenVerb      verb = "when"
	whenElseVerb  verb = "whenElse"
	sleepVerb     verb = "sleep"
	guardVerb     verb = "guard"
	eachVerb      verb = "each"
	callVerb      verb = "call"
)

// spec is a node of a random workflow, as the simulation knows it: composing and
// judging both go by it, and by nothing that the engine makes of it.
type spec struct {
	verb  verb
	name  string // of a step; for others only to be read
	index int    // in the plan: the order in which verbs are called
	seq   *seq   // that it stands in
	pos   int    // its place there, with all that stands before it
	in    *spec  // whose value it gets: nil is what the sequence was given

	branches []*seq
	limit    int   // of an each
	again    bool  // a guard takes its locks again when it has lost one
	step     *step // of a do or an async
	child    *flow // of a call
	kind     int   // which of its verb's ways
}

// seq is a sequence of nodes.
type seq struct {
	flow  *flow
	index int   // in the plan
	owner *spec // nil for a workflow's own
	nodes []*spec
	out   *spec // whose value it gives: nil is what it was given
}

// flow is a random workflow.
type flow struct {
	name  string
	root  *seq
	nodes []*spec // by index
	seqs  []*seq  // by index
	steps map[string]*spec
	keys  []string // what its executions contend for
}

// step is how a step is made.
type step struct {
	undo       bool // it has a compensation
	reversible bool // with undo data of its own
	onlyDone   bool
	timeout    time.Duration
	undoWithin time.Duration
	await      time.Duration
	tries      int
	pause      time.Duration
	factor     float64
	elapsed    time.Duration
	undoTries  int
	undoPause  time.Duration
	locks      string // a key that the body takes for itself, and leaves to its sequence
}

// author makes random workflows.
type author struct {
	f    fate
	flow *flow
	room int // how many more nodes there may be
	kids []*flow
}

// writeFlow makes a random workflow. Its keys begin with the letter: a child that waits
// for what its caller holds would wait for ever.
func writeFlow(f fate, name, letter string, size int, children []*flow) *flow {
	fl := &flow{name: name, steps: map[string]*spec{}}
	for i := range 4 {
		fl.keys = append(fl.keys, letter+itoa(i))
	}
	a := &author{f: f.of("flow", name), flow: fl, room: size, kids: children}
	fl.root = a.sequence(nil)
	a.fill(fl.root, 3, 1+a.f.below("length", 3))
	return fl
}

func (a *author) sequence(owner *spec) *seq {
	s := &seq{flow: a.flow, index: len(a.flow.seqs), owner: owner}
	a.flow.seqs = append(a.flow.seqs, s)
	return s
}

// add declares a node.
func (a *author) add(s *seq, v verb) *spec {
	n := &spec{verb: v, index: len(a.flow.nodes), seq: s, pos: len(s.nodes), in: s.out}
	n.name = fmt.Sprintf("%s%d", v, n.index)
	a.flow.nodes = append(a.flow.nodes, n)
	s.nodes = append(s.nodes, n)
	if v != sleepVerb {
		s.out = n
	}
	return n
}

func (s *seq) inEach() bool {
	for ; s.owner != nil; s = s.owner.seq {
		if s.owner.verb == eachVerb {
			return true
		}
	}
	return false
}

func (a *author) fill(s *seq, depth, count int) {
	for i := range count {
		if a.room <= 0 {
			return
		}
		a.room--
		a.node(s, depth, a.f.of("seq").num(uint64(s.index)).num(uint64(i)))
	}
}

func (a *author) node(s *seq, depth int, f fate) {
	verbs := []verb{doVerb, doVerb, doVerb, doVerb, asyncVerb, transformVerb, sleepVerb}
	if depth > 0 {
		verbs = append(verbs, parallelVerb, whenVerb, whenElseVerb, guardVerb, guardVerb)
		if !s.inEach() {
			verbs = append(verbs, eachVerb)
		}
	}
	if len(a.kids) > 0 {
		verbs = append(verbs, callVerb)
	}
	switch v := pick(f, "verb", verbs...); v {
	case doVerb, asyncVerb:
		n := a.add(s, v)
		n.step = a.newStep(f, v == asyncVerb)
		a.flow.steps[n.name] = n
	case transformVerb:
		a.add(s, v)
	case sleepVerb:
		if kind := f.below("kind", 3); kind > 0 {
			a.add(s, transformVerb).kind = toMoment // how long, or until when
			s.out = s.nodes[len(s.nodes)-1].in
			a.add(s, v).kind = kind
		} else {
			a.add(s, v)
		}
	case callVerb:
		a.add(s, v).child = pick(f, "child", a.kids...)
	default:
		a.region(s, v, depth, f)
	}
}

// region adds a node with branches, and what has to stand before and behind it.
func (a *author) region(s *seq, v verb, depth int, f fate) {
	branches, length, given := 1, f.below("inside", 3), s.out
	switch v {
	case parallelVerb:
		branches, length = 2+f.below("branches", 3), 1+f.below("inside", 2)
	case whenElseVerb:
		branches = 2
	case guardVerb, eachVerb:
		length = 1 + f.below("inside", 2)
		before := a.add(s, transformVerb)
		if before.kind = toKeys; v == eachVerb {
			before.kind = toItems
		}
		s.out = given
	}
	n := a.add(s, v)
	n.limit = pick(f, "limit", 0, 1, 1, 2)
	n.kind = f.below("kind", 4)
	n.again = f.is("again", 0.5)
	for range branches {
		b := a.sequence(n)
		a.fill(b, depth-1, length)
		n.branches = append(n.branches, b)
	}
	switch v {
	case parallelVerb, whenVerb, eachVerb:
		a.add(s, transformVerb).kind = toOne
	}
}

// The ways of a transform.
const (
	toValue  = iota // another value
	toMoment        // how long to sleep, or until when
	toKeys          // what a guard locks
	toItems         // what a loop is about
	toOne           // one value of what branches gave
)

func (a *author) newStep(f fate, async bool) *step {
	st := &step{
		undo: !f.is("no undo", 0.2), reversible: f.is("reversible", 0.4), onlyDone: f.is("only done", 0.25),
		tries: 1 + f.below("tries", 4), factor: pick(f, "factor", 1.0, 2.0), undoTries: 1 + f.below("undo tries", 4),
	}
	st.undo = st.undo || st.reversible
	if f.is("timeout", 0.3) {
		st.timeout = f.skewed("timeout", 100*time.Millisecond, 4*time.Second)
	}
	if f.is("undo timeout", 0.2) {
		st.undoWithin = f.skewed("undo timeout", 100*time.Millisecond, 4*time.Second)
	}
	if !f.is("at once", 0.3) {
		st.pause = f.skewed("pause", time.Millisecond, 3*time.Second)
	}
	if !f.is("undo at once", 0.3) {
		st.undoPause = f.skewed("undo pause", time.Millisecond, 3*time.Second)
	}
	if f.is("elapsed", 0.2) {
		st.elapsed = f.between("elapsed", time.Second, 10*time.Second)
	}
	if async && f.is("await", 0.5) {
		st.await = f.between("await", 500*time.Millisecond, 20*time.Second)
	}
	if !async && f.is("locks", 0.1) {
		st.locks = pick(f, "lock", a.flow.keys...)
	}
	return st
}

// String writes a workflow to be read.
func (fl *flow) String() string {
	var b strings.Builder
	b.WriteString(fl.name + "\n")
	fl.root.write(&b, "  ")
	return b.String()
}

func (s *seq) write(b *strings.Builder, indent string) {
	for _, n := range s.nodes {
		fmt.Fprintf(b, "%s%d %s", indent, n.index, n.name)
		if n.in != nil {
			fmt.Fprintf(b, " <- %s", n.in.name)
		}
		if n.step != nil {
			fmt.Fprintf(b, " %+v", *n.step)
		}
		if n.verb == eachVerb {
			fmt.Fprintf(b, " limit %d", n.limit)
		}
		if n.verb == guardVerb && n.again {
			b.WriteString(" again")
		}
		if n.child != nil {
			fmt.Fprintf(b, " of %s", n.child.name)
		}
		b.WriteString("\n")
		for _, q := range n.branches {
			fmt.Fprintf(b, "%s  sequence %d\n", indent, q.index)
			q.write(b, indent+"    ")
		}
	}
}
