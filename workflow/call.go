package workflow

import "github.com/lockstep-dev/lockstep/internal/plan"

// Call runs another workflow as a child, with an execution of its own, and goes on with
// its result. The engine has to run both, which [NewEngine] checks. A child that fails has compensated itself,
// and fails the caller; one that is done is compensated with the caller, by its own
// steps. Cancelling the caller cancels the child.
func Call[In, Out any](b *Builder, w *Workflow[In, Out], in Value[In], opts ...NodeOption) Value[Out] {
	d := b.declare("Call", collect(opts, NodeOption.toNode))
	child := &plan.Call{}
	if w == nil || w.p == nil {
		d.b.faultf("%s has no workflow", d.path)
	} else {
		child.Workflow, child.Fingerprint = w.p.Name, w.p.Fingerprint
	}
	i := d.add(plan.Node{Kind: plan.CallNode, Inputs: d.uses(in.edge()), OutType: typeName[Out](), Call: child})
	return Value[Out]{d.b, plan.Ref{Node: i}}
}

// missingChild names a workflow that the plan calls and that is not among the plans as
// it was when the caller was composed.
func missingChild(plans map[string]*plan.Plan, p *plan.Plan) (name string, missing bool) {
	for i := range p.Nodes {
		if c := p.Nodes[i].Call; c != nil && (plans[c.Workflow] == nil || plans[c.Workflow].Fingerprint != c.Fingerprint) {
			return c.Workflow, true
		}
	}
	return "", false
}
