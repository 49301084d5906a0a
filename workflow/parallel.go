package workflow

import (
	"strconv"
	"strings"

	"github.com/lockstep-dev/lockstep/internal/plan"
)

// Parallel2 runs two branches side by side, and goes on when both have ended.
//
// When one fails the other is cancelled and waited for; then both are compensated,
// side by side, each in reverse.
func Parallel2[A, B any](b *Builder, first func(b *Builder) Value[A], second func(b *Builder) Value[B], opts ...NodeOption) (Value[A], Value[B]) {
	d, i := parallel(b, "Parallel2", opts, typeName[A](), typeName[B]())
	return branch(&d, i, 0, first), branch(&d, i, 1, second)
}

// Parallel3 is [Parallel2] of three branches.
func Parallel3[A, B, C any](
	b *Builder, first func(b *Builder) Value[A], second func(b *Builder) Value[B], third func(b *Builder) Value[C], opts ...NodeOption,
) (Value[A], Value[B], Value[C]) {
	d, i := parallel(b, "Parallel3", opts, typeName[A](), typeName[B](), typeName[C]())
	return branch(&d, i, 0, first), branch(&d, i, 1, second), branch(&d, i, 2, third)
}

// Parallel4 is [Parallel2] of four branches.
func Parallel4[A, B, C, D any](
	b *Builder, first func(b *Builder) Value[A], second func(b *Builder) Value[B], third func(b *Builder) Value[C], fourth func(b *Builder) Value[D],
	opts ...NodeOption,
) (Value[A], Value[B], Value[C], Value[D]) {
	d, i := parallel(b, "Parallel4", opts, typeName[A](), typeName[B](), typeName[C](), typeName[D]())
	return branch(&d, i, 0, first), branch(&d, i, 1, second), branch(&d, i, 2, third), branch(&d, i, 3, fourth)
}

func parallel(b *Builder, verb string, opts []NodeOption, types ...string) (declaration, int) {
	d := b.declare(verb, collect(opts, NodeOption.toNode))
	return d, d.add(plan.Node{Kind: plan.ParallelNode, OutType: strings.Join(types, ", ")})
}

// branch composes the branch with the index.
func branch[T any](d *declaration, node, index int, fn func(b *Builder) Value[T]) Value[T] {
	compose(d, node, "branch "+strconv.Itoa(index+1), fn)
	return Value[T]{d.b, plan.Ref{Node: node, Part: index}}
}
