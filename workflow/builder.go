// Package workflow composes steps into workflows and runs them.
//
// A workflow is composed once, at definition, by a function that is given a
// [Builder]. What is declared in it runs in the order of declaration; side by side
// runs only what stands in the branches of [Parallel2] and its like, or in those of
// [ForEach]. Nothing runs at definition: a [Value] stands for what will be there.
//
//	var PlaceOrder = workflow.New("place-order",
//		func(b *workflow.Builder, in workflow.Value[Order]) workflow.Value[Payment] {
//			workflow.Do(b, reserve, in)
//			return workflow.Do(b, charge, in)
//		})
//
// A verb with branches, such as [When] or [Guard], has each composed by a function of
// its own, with a Builder of its own. A branch may use the values that were declared
// before what it is a branch of; what is declared in it is seen in there alone, and
// what its function returns is what it gives.
package workflow

import (
	"fmt"
	"strconv"

	"github.com/lockstep-dev/lockstep/internal/plan"
)

// Builder collects what a workflow, or one of its branches, consists of. It is valid
// while the function runs that it was given to, in that goroutine only, and not while
// the function of a branch runs that is declared with it: that one has its own.
type Builder struct {
	root     *root
	sequence int
	outer    *Builder // nil for the workflow's own
	inner    *Builder // of the branch that is being composed, while one is
	branch   string   // what it is of, in the words of a fault
	scope    *scope
	closed   bool
}

// root is what the builders of a workflow share.
type root struct {
	nodes     []plan.Node
	sequences []plan.Sequence
	faults    []error
}

// scope is where nodes without a name are counted: the workflow, or a named region.
type scope struct {
	prefix string         // of all paths in it
	counts map[string]int // of nodes without a name, by verb
}

func (s *scope) place(verb string) string {
	s.counts[verb]++
	return s.prefix + verb + "#" + strconv.Itoa(s.counts[verb])
}

func newScope(prefix string) *scope { return &scope{prefix: prefix, counts: map[string]int{}} }

// Value stands for a value of type T in a workflow: its input, or the output of
// something declared before. It can be used where it was declared and in the branches
// that are declared there after it. The zero Value stands for nothing and is a fault
// where it is used.
type Value[T any] struct {
	b   *Builder
	ref plan.Ref
}

// edge is a value without its type.
type edge struct {
	b   *Builder
	ref plan.Ref
}

func (v Value[T]) edge() edge { return edge(v) }

func (b *Builder) faultf(format string, args ...any) {
	b.root.faults = append(b.root.faults, fmt.Errorf(format, args...))
}

// ready returns the builder that something is declared with, which is another one
// than was meant when that is in use.
func (b *Builder) ready(what string) *Builder {
	if b.closed {
		panic("workflow: " + what + " is declared after " + b.called() + " was composed")
	}
	if b.inner == nil {
		return b
	}
	inner := b.inner
	for inner.inner != nil {
		inner = inner.inner
	}
	b.faultf("%s is declared in %s with the builder of %s", what, inner.called(), b.called())
	return inner
}

// called names the sequence in faults.
func (b *Builder) called() string {
	if b.outer == nil {
		return "the workflow"
	}
	return b.branch
}

// at says where something is declared, for a fault that names two places.
func (b *Builder) at() string {
	if b.outer == nil {
		return ""
	}
	return " in " + b.branch
}

// use checks that a value can be used here.
func (b *Builder) use(v edge, by string) plan.Ref {
	if v.b == nil {
		b.faultf("%s%s uses a Value that nothing was declared for", by, b.at())
		return plan.Input
	}
	if v.b.root != b.root {
		b.faultf("%s%s uses a value of another workflow", by, b.at())
		return plan.Input
	}
	for at := b; at != nil; at = at.outer {
		if at == v.b {
			return v.ref
		}
	}
	b.faultf("%s%s uses %s, which is seen in %s alone", by, b.at(), b.root.origin(v.ref), v.b.called())
	return plan.Input
}

// origin says where a value is from.
func (r *root) origin(ref plan.Ref) string {
	n := &r.nodes[ref.Node]
	switch {
	case ref.Part == plan.Item:
		return "the item of " + strconv.Quote(n.Path)
	case n.Kind == plan.StepNode:
		return "the value of step " + strconv.Quote(n.Path)
	}
	return "the value of " + strconv.Quote(n.Path)
}

// add declares a node and returns its index.
func (b *Builder) add(n plan.Node) int {
	i := len(b.root.nodes)
	b.root.nodes = append(b.root.nodes, n)
	q := &b.root.sequences[b.sequence]
	q.Nodes = append(q.Nodes, i)
	return i
}
