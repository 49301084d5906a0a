package workflow

import (
	"context"
	"strconv"

	"github.com/lockstep-dev/lockstep/internal/plan"
	"github.com/lockstep-dev/lockstep/steps"
)

// Do runs a step. Its name must be unique in the workflow, or in the named region
// around it; [steps.With] and [steps.Name] give a step that is used twice another one.
//
// Where the step is asynchronous, what follows it waits for the result from outside.
func Do[In, Out any](b *Builder, step *steps.Step[In, Out], in Value[In]) Value[Out] {
	def, err := step.Definition()
	if err != nil {
		b = b.ready("a step")
		b.faultf("step %d: %w", len(b.root.nodes)+1, err)
		return Value[Out]{b, plan.Input}
	}
	b = b.ready(strconv.Quote(b.scope.prefix + def.Name))
	path := b.scope.prefix + def.Name
	if isMaybe[In]() || isMaybe[Out]() {
		def.Invoke, def.Compensate = onWire(def.Invoke), onWire(def.Compensate)
	}
	i := b.add(plan.Node{
		Path: path, Kind: plan.StepNode, OutType: def.OutType, Step: def,
		Inputs: []plan.Ref{b.use(in.edge(), "step "+strconv.Quote(path))},
	})
	return Value[Out]{b, plan.Ref{Node: i}}
}

type stepBody func(ctx context.Context, c plan.Codec, data []byte) plan.Result

// onWire has a body that takes or gives a [Maybe] encode it as nodes do.
func onWire(fn stepBody) stepBody {
	if fn == nil {
		return nil
	}
	return func(ctx context.Context, c plan.Codec, data []byte) plan.Result { return fn(ctx, wire{c}, data) }
}
