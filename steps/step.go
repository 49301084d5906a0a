// Package steps makes the units of work that workflows are composed of.
//
// A step has a name, an invoke, and optionally a compensate that undoes it. Its
// bodies run at least once, so a side effect carries the
// [Context.IdempotencyKey].
//
//	var charge = steps.New("charge", doCharge, steps.Undo(refund))
//
// A step knows no workflow; package workflow puts it into one.
package steps

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/lockstep-dev/lockstep/internal/plan"
)

// Step is an immutable description of a unit of work. It may be used in any
// number of workflows, concurrently.
type Step[In, Out any] struct {
	def definition
}

// definition is a step being put together.
type definition struct {
	name            string
	policy          plan.Policy
	ownCompensation bool
	outType         string
	undoType        string
	invoke          invokeFunc
	compensate      compensateFunc
	asynchronous    bool
	await           time.Duration
	queue           *plan.Queue
	faults          []string
}

func (d *definition) fault(text string) {
	if text != "" {
		d.faults = append(d.faults, text)
	}
}

func (d *definition) setCompensate(undoType string, fn compensateFunc) {
	switch {
	case d.compensate != nil && d.undoType == undoType && d.undoType != d.outType:
		d.fault("it has a compensation already")
	case d.undoType != "" && d.undoType != undoType:
		d.fault("Undo takes " + undoType + ", but the undo data is " + d.undoType)
	case d.undoType == "" && d.outType != undoType:
		d.fault("Undo takes " + undoType + ", but the undo data is the output, " + d.outType)
	}
	d.undoType, d.compensate = undoType, fn
}

// New makes a step. Its undo data is its output; [Undo] gives it a compensation.
// It panics when the definition cannot be right, naming every fault.
func New[In, Out any](name string, invoke func(ctx *Context, in In) (Out, error), opts ...Option) *Step[In, Out] {
	d := definition{name: name, outType: typeName[Out]()}
	if invoke == nil {
		d.fault("it has no invoke")
	} else {
		d.invoke = invokeBody(func(ctx *Context, in In) (Out, Out, error) {
			out, err := invoke(ctx, in)
			return out, out, err
		}, true)
	}
	return finish[In, Out](d, opts)
}

// NewReversible makes a step whose invoke returns undo data beside its output.
// On an error the undo data counts only under [KeepUndo]; otherwise compensate
// gets the zero value. It panics like [New].
func NewReversible[In, Out, U any](name string,
	invoke func(ctx *Context, in In) (Out, U, error),
	compensate func(ctx *Context, undo U) error,
	opts ...Option,
) *Step[In, Out] {
	d := definition{name: name, outType: typeName[Out](), undoType: typeName[U]()}
	if invoke == nil {
		d.fault("it has no invoke")
	} else {
		d.invoke = invokeBody(invoke, false)
	}
	if compensate == nil {
		d.fault("it has no compensate")
	} else {
		d.compensate = compensateBody(compensate)
	}
	return finish[In, Out](d, opts)
}

// With returns the same step with other options, such as another [Name]. It
// panics like [New].
func With[In, Out any](step *Step[In, Out], opts ...Option) *Step[In, Out] {
	if step == nil {
		panic("steps: With needs a step, got nil")
	}
	return finish[In, Out](step.def, opts)
}

func finish[In, Out any](d definition, opts []Option) *Step[In, Out] {
	for i, opt := range opts {
		if opt == nil {
			d.fault("option " + strconv.Itoa(i+1) + " is nil")
			continue
		}
		opt.toStep(&d)
	}
	if d.name == "" {
		d.fault("its name is empty")
	}
	if d.await != 0 && !d.asynchronous {
		d.fault("Await is for asynchronous steps, and its result does not come from outside")
	}
	if len(d.faults) > 0 {
		panic(fmt.Sprintf("steps: step %q cannot be: %s", d.name, strings.Join(d.faults, "; ")))
	}
	return &Step[In, Out]{def: d}
}

// Name returns the step's name.
func (s *Step[In, Out]) Name() string { return s.def.name }

// Definition is for package workflow: the step without its types.
func (s *Step[In, Out]) Definition() (*plan.Step, error) {
	if s == nil {
		return nil, errors.New("the step is nil")
	}
	return &plan.Step{
		Name:    s.def.name,
		InType:  typeName[In](),
		OutType: typeName[Out](), UndoType: s.def.undoType,
		Invoke: s.def.invoke.named(s.def.name), Compensate: s.def.compensate.named(s.def.name),
		Asynchronous: s.def.asynchronous, Await: s.def.await,
		Policy: s.def.policy, Queue: s.def.queue,
	}, nil
}

// typeName names a type in fingerprints and errors.
func typeName[T any]() string { return plan.TypeName(reflect.TypeFor[T]()) }
