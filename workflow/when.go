package workflow

import "github.com/lockstep-dev/lockstep/internal/plan"

// When runs a branch if the predicate says so. The predicate must be pure and quick:
// it is called once, before the branch starts, and its answer is recorded: whatever it
// would say later, the branch that was taken is the one that is compensated. An error,
// or a panic, fails the execution.
func When[A, T any](b *Builder, v Value[A], pred func(A) (bool, error), then func(b *Builder) Value[T], opts ...NodeOption) Value[Maybe[T]] {
	d, i := when(b, "When", v, pred, opts, typeName[T]())
	if inner := then; isMaybe[T]() && then != nil {
		then = func(b *Builder) Value[T] { return boxed(b, inner(b)) }
	}
	compose(&d, i, "the branch", then)
	return Value[Maybe[T]]{d.b, plan.Ref{Node: i}}
}

// WhenElse runs the first branch if the predicate, which is that of a [When], says so,
// and the other one if not.
func WhenElse[A, T any](
	b *Builder, v Value[A], pred func(A) (bool, error), then, otherwise func(b *Builder) Value[T], opts ...NodeOption,
) Value[T] {
	d, i := when(b, "WhenElse", v, pred, opts, typeName[T]())
	compose(&d, i, "the first branch", then)
	compose(&d, i, "the other branch", otherwise)
	return Value[T]{d.b, plan.Ref{Node: i}}
}

func when[A any](b *Builder, verb string, v Value[A], pred func(A) (bool, error), opts []NodeOption, outType string) (declaration, int) {
	d := b.declare(verb, collect(opts, NodeOption.toNode))
	d.needs(pred == nil)
	otherwise := 0
	if verb == "WhenElse" {
		otherwise = 2
	}
	return d, d.add(plan.Node{
		Kind: plan.WhenNode, Inputs: d.uses(v.edge()), OutType: outType,
		Decide: decideOn(func(_ plan.Codec, a A) (plan.Decision, error) {
			yes, err := pred(a)
			if yes {
				return plan.Decision{Branch: 1}, err
			}
			return plan.Decision{Branch: otherwise}, err
		}),
	})
}

// boxed declares the conversion of a Maybe that is the value of a Maybe, whose own
// encoding could not be told from that of the outer one.
func boxed[T any](b *Builder, v Value[T]) Value[T] {
	d := b.declare("Maybe", &settings{})
	i := d.add(plan.Node{
		Kind: plan.DecisionNode, Inputs: []plan.Ref{b.use(v.edge(), "the result")}, OutType: typeName[T](),
		Decide: decideOn(func(c plan.Codec, a T) (plan.Decision, error) {
			data, err := c.Encode(a)
			return plan.Decision{Output: data}, err
		}),
	})
	return Value[T]{d.b, plan.Ref{Node: i}}
}
