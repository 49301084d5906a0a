package workflow

import "github.com/lockstep-dev/lockstep/internal/plan"

// PlanOf gives tests what a workflow has been made into.
func PlanOf(d Definition) *plan.Plan { return d.definition() }
