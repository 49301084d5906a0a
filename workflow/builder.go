// Package workflow composes steps into workflows and runs them.
//
// A workflow is composed once, at definition, by a function that is given a
// [Builder]. What is declared in it runs in the order of declaration. Nothing in
// it runs at that time: a [Value] stands for what will be there.
//
//	var PlaceOrder = workflow.New("place-order",
//		func(b *workflow.Builder, in workflow.Value[Order]) workflow.Value[Payment] {
//			workflow.Do(b, reserve, in)
//			return workflow.Do(b, charge, in)
//		})
package workflow

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/lockstep-dev/lockstep/internal/plan"
)

// Builder collects what a workflow consists of. It is valid while the function
// runs that it was given to, in that goroutine only.
type Builder struct {
	nodes  []plan.Node
	places map[string]int // how many nodes without a name there are of a verb
	faults []error
	closed bool
}

// Value stands for a value of type T in a workflow: its input, or the output of
// something declared before. The zero Value stands for nothing and is a fault
// where it is used.
type Value[T any] struct {
	b   *Builder
	ref plan.Ref
}

func (b *Builder) faultf(format string, args ...any) {
	b.faults = append(b.faults, fmt.Errorf(format, args...))
}

// use checks that a value belongs to the workflow it is used in.
func (b *Builder) use(owner *Builder, ref plan.Ref, by string) plan.Ref {
	switch {
	case owner == nil:
		b.faultf("%s uses a Value that nothing was declared for", by)
	case owner != b:
		b.faultf("%s uses a value of another workflow", by)
	default:
		return ref
	}
	return plan.Input
}

func (b *Builder) add(n plan.Node) plan.Ref {
	if b.closed {
		panic("workflow: " + strconv.Quote(n.Path) + " is declared after its workflow was composed")
	}
	b.nodes = append(b.nodes, n)
	return plan.Ref(len(b.nodes) - 1)
}

// place addresses a node without a name by its verb and its number among those.
func (b *Builder) place(verb string) string {
	if b.places == nil {
		b.places = map[string]int{}
	}
	b.places[verb]++
	return verb + "#" + strconv.Itoa(b.places[verb])
}

// DefinitionError reports everything that is wrong with a workflow's definition.
type DefinitionError struct {
	Workflow string
	Faults   []error
}

func (e *DefinitionError) Error() string {
	lines := make([]string, 1, len(e.Faults)+1)
	lines[0] = "workflow: " + strconv.Quote(e.Workflow) + " cannot be:"
	for _, f := range e.Faults {
		lines = append(lines, f.Error())
	}
	return strings.Join(lines, "\n\t- ")
}

// Unwrap returns the faults.
func (e *DefinitionError) Unwrap() []error { return e.Faults }

// Workflow is an immutable, composed workflow. It may be used concurrently and
// registered with any number of engines.
type Workflow[In, Out any] struct{ p *plan.Plan }

// Definition is a workflow of whatever types.
type Definition interface {
	// Name is the name of the workflow.
	Name() string
	definition() *plan.Plan
}

// Set lists the workflows that an engine runs.
type Set []Definition

// Name implements [Definition].
func (w *Workflow[In, Out]) Name() string {
	if w == nil || w.p == nil {
		return ""
	}
	return w.p.Name
}

// Fingerprint identifies the plan: it changes with names, kinds, order, data
// edges and type names, and with nothing else.
func (w *Workflow[In, Out]) Fingerprint() string { return w.p.Fingerprint }

func (w *Workflow[In, Out]) definition() *plan.Plan {
	if w == nil {
		return nil
	}
	return w.p
}

// New composes a workflow. It panics with a [*DefinitionError] when the
// definition cannot be; [Build] returns that error instead.
func New[In, Out any](name string, compose func(b *Builder, in Value[In]) Value[Out]) *Workflow[In, Out] {
	w, err := Build(name, compose)
	if err != nil {
		panic(err)
	}
	return w
}

// Build composes a workflow. All faults of the definition are reported together,
// in a [*DefinitionError].
func Build[In, Out any](name string, compose func(b *Builder, in Value[In]) Value[Out]) (*Workflow[In, Out], error) {
	b := &Builder{}
	if name == "" {
		b.faultf("its name is empty")
	}
	output := plan.Input
	if compose == nil {
		b.faultf("it has no function to compose it")
	} else {
		out := compose(b, Value[In]{b, plan.Input})
		output = b.use(out.b, out.ref, "the result")
	}
	b.closed = true
	p, err := plan.New(plan.Plan{
		Name: name, InType: typeName[In](), OutType: typeName[Out](),
		Nodes: b.nodes, Output: output,
	})
	if err != nil {
		b.faults = append(b.faults, unjoin(err)...)
	}
	if len(b.faults) > 0 {
		return nil, &DefinitionError{Workflow: name, Faults: b.faults}
	}
	return &Workflow[In, Out]{p}, nil
}

func unjoin(err error) []error {
	var many interface{ Unwrap() []error }
	if errors.As(err, &many) {
		return many.Unwrap()
	}
	return []error{err}
}
