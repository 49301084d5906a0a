package workflow

import (
	"strconv"

	"github.com/lockstep-dev/lockstep/internal/plan"
)

// NodeOption is an option of a verb. Options are immutable values.
type NodeOption interface{ toNode(s *settings) }

// settings are what the options of a verb come to.
type settings struct {
	name        string
	named       bool
	guard       plan.Guard
	concurrency int
	faults      []string
}

func (s *settings) fault(text string) { s.faults = append(s.faults, text) }

// collect applies options.
func collect[O any](opts []O, apply func(O, *settings)) *settings {
	s := &settings{}
	for i, opt := range opts {
		if any(opt) == nil {
			s.fault("option " + strconv.Itoa(i+1) + " is nil")
			continue
		}
		apply(opt, s)
	}
	return s
}

// NameOption is made by [Name].
type NameOption struct{ name string }

// Name names a node that is addressed by its verb and its number otherwise, as in
// "When#2": in errors, in records and in the fingerprint. With a name it keeps its
// address when others are declared before it. The name is unique in the workflow.
//
// What stands in the branches of a named node is addressed below it, as in
// "ship/When#1" or, for the step "label", "ship/label"; so one step can be used in
// several of them.
func Name(name string) NameOption { return NameOption{name} }

func (n NameOption) toNode(s *settings) {
	s.name, s.named = n.name, true
	if n.name == "" {
		s.fault("its name is empty")
	}
}

func (n NameOption) toGuard(s *settings) { n.toNode(s) }
func (n NameOption) toEach(s *settings)  { n.toNode(s) }

// declaration is a node that is being declared.
type declaration struct {
	b     *Builder
	path  string
	scope *scope // of its branches
}

// declare begins the declaration of a node.
func (b *Builder) declare(verb string, s *settings) declaration {
	if s.named {
		b = b.ready(strconv.Quote(b.scope.prefix + s.name))
		d := declaration{b: b, path: b.scope.prefix + s.name}
		d.scope = newScope(d.path + "/")
		d.faults(s)
		return d
	}
	b = b.ready("a " + verb)
	d := declaration{b: b, path: b.scope.place(verb), scope: b.scope}
	d.faults(s)
	return d
}

func (d *declaration) faults(s *settings) {
	for _, f := range s.faults {
		d.b.faultf("%s: %s", d.path, f)
	}
}

// needs reports a function that is missing.
func (d *declaration) needs(missing bool) {
	if missing {
		d.b.faultf("%s has no function", d.path)
	}
}

// uses checks the values that the node uses.
func (d *declaration) uses(list ...edge) []plan.Ref {
	refs := make([]plan.Ref, len(list))
	for i, v := range list {
		refs[i] = d.b.use(v, d.path)
	}
	return refs
}

// add declares the node and returns its index.
func (d *declaration) add(n plan.Node) int {
	n.Path = d.path
	return d.b.add(n)
}

// compose has a branch of a node composed. Which says which one it is.
func compose[T any](d *declaration, node int, which string, fn func(b *Builder) Value[T]) {
	root := d.b.root
	inner := &Builder{
		root: root, sequence: len(root.sequences), outer: d.b, scope: d.scope,
		branch: which + " of " + strconv.Quote(d.path),
	}
	root.sequences = append(root.sequences, plan.Sequence{Output: plan.Input})
	root.nodes[node].Branches = append(root.nodes[node].Branches, inner.sequence)
	if fn == nil {
		d.b.faultf("%s has no function for %s", d.path, which)
		return
	}
	d.b.inner = inner
	out := fn(inner)
	d.b.inner = nil
	root.sequences[inner.sequence].Output = inner.use(out.edge(), "the result")
	inner.closed = true
}
