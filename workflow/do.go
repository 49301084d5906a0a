package workflow

import (
	"strconv"

	"github.com/lockstep-dev/lockstep/internal/plan"
	"github.com/lockstep-dev/lockstep/steps"
)

// Do runs a step. Its name must be unique in the workflow; [steps.With] and
// [steps.Name] give a step that is used twice another one.
func Do[In, Out any](b *Builder, step *steps.Step[In, Out], in Value[In]) Value[Out] {
	def, err := step.Definition()
	if err != nil {
		b.faultf("step %d: %w", len(b.nodes)+1, err)
		return Value[Out]{b, plan.Input}
	}
	ref := b.add(plan.Node{
		Path: def.Name, Kind: plan.StepNode, OutType: def.OutType, Step: def,
		Inputs: []plan.Ref{b.use(in.b, in.ref, "step "+strconv.Quote(def.Name))},
	})
	return Value[Out]{b, ref}
}
