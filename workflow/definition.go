package workflow

import (
	"errors"
	"strconv"
	"strings"

	"github.com/lockstep-dev/lockstep/internal/plan"
)

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

// Fingerprint identifies the plan: it changes with names, kinds, order, nesting, data
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
	r := &root{sequences: make([]plan.Sequence, 1)}
	b := &Builder{root: r, scope: newScope("")}
	if name == "" {
		b.faultf("its name is empty")
	}
	output := plan.Input
	if compose == nil {
		b.faultf("it has no function to compose it")
	} else {
		output = b.use(compose(b, Value[In]{b, plan.Input}).edge(), "the result")
	}
	b.closed = true
	r.sequences[0].Output = output
	p, err := plan.New(plan.Plan{
		Name: name, InType: typeName[In](), OutType: typeName[Out](),
		Nodes: r.nodes, Sequences: r.sequences,
	})
	if err != nil {
		r.faults = append(r.faults, unjoin(err)...)
	}
	if len(r.faults) > 0 {
		return nil, &DefinitionError{Workflow: name, Faults: r.faults}
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
