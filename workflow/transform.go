package workflow

import (
	"fmt"
	"reflect"

	"github.com/lockstep-dev/lockstep/internal/plan"
)

// Transform computes a value from another one. The function must be pure and
// quick: it is called once, before what follows it starts, and its result is
// recorded. An error, or a panic, fails the execution.
func Transform[A, Out any](b *Builder, a Value[A], fn func(A) (Out, error), opts ...NodeOption) Value[Out] {
	return transform[Out](b, "Transform", fn == nil, opts, func(c plan.Codec, in [][]byte) (Out, error) {
		args := decoder{c: c, in: in}
		x := next[A](&args)
		return call(&args, func() (Out, error) { return fn(x) })
	}, a.edge())
}

// Transform2 is [Transform] of two values.
func Transform2[A, B, Out any](b *Builder, v1 Value[A], v2 Value[B], fn func(A, B) (Out, error), opts ...NodeOption) Value[Out] {
	return transform[Out](b, "Transform2", fn == nil, opts, func(c plan.Codec, in [][]byte) (Out, error) {
		args := decoder{c: c, in: in}
		x, y := next[A](&args), next[B](&args)
		return call(&args, func() (Out, error) { return fn(x, y) })
	}, v1.edge(), v2.edge())
}

// Transform3 is [Transform] of three values.
func Transform3[A, B, C, Out any](b *Builder, v1 Value[A], v2 Value[B], v3 Value[C], fn func(A, B, C) (Out, error), opts ...NodeOption) Value[Out] {
	return transform[Out](b, "Transform3", fn == nil, opts, func(c plan.Codec, in [][]byte) (Out, error) {
		args := decoder{c: c, in: in}
		x, y, z := next[A](&args), next[B](&args), next[C](&args)
		return call(&args, func() (Out, error) { return fn(x, y, z) })
	}, v1.edge(), v2.edge(), v3.edge())
}

// Transform4 is [Transform] of four values.
func Transform4[A, B, C, D, Out any](
	b *Builder, v1 Value[A], v2 Value[B], v3 Value[C], v4 Value[D], fn func(A, B, C, D) (Out, error), opts ...NodeOption,
) Value[Out] {
	return transform[Out](b, "Transform4", fn == nil, opts, func(c plan.Codec, in [][]byte) (Out, error) {
		args := decoder{c: c, in: in}
		w, x, y, z := next[A](&args), next[B](&args), next[C](&args), next[D](&args)
		return call(&args, func() (Out, error) { return fn(w, x, y, z) })
	}, v1.edge(), v2.edge(), v3.edge(), v4.edge())
}

// Map is [Transform] with a function that cannot fail.
func Map[A, Out any](b *Builder, a Value[A], fn func(A) Out, opts ...NodeOption) Value[Out] {
	return transform[Out](b, "Map", fn == nil, opts, func(c plan.Codec, in [][]byte) (Out, error) {
		args := decoder{c: c, in: in}
		x := next[A](&args)
		return call(&args, func() (Out, error) { return fn(x), nil })
	}, a.edge())
}

// Const is a value that is known at definition.
func Const[T any](b *Builder, value T, opts ...NodeOption) Value[T] {
	return transform[T](b, "Const", false, opts, func(plan.Codec, [][]byte) (T, error) { return value, nil })
}

// transform declares a node that computes a value.
func transform[Out any](b *Builder, verb string, missing bool, opts []NodeOption,
	eval func(c plan.Codec, in [][]byte) (Out, error), uses ...edge,
) Value[Out] {
	d := b.declare(verb, collect(opts, NodeOption.toNode))
	d.needs(missing)
	path := d.path
	i := d.add(plan.Node{
		Kind: plan.DecisionNode, Inputs: d.uses(uses...), OutType: typeName[Out](),
		Decide: func(c plan.Codec, in [][]byte) (plan.Decision, error) {
			out, err := eval(c, in)
			if err != nil {
				return plan.Decision{}, err
			}
			data, err := encodeValue(c, out)
			if err != nil {
				return plan.Decision{}, fmt.Errorf("workflow: the result of %s: %w", path, err)
			}
			return plan.Decision{Output: data}, nil
		},
	})
	return Value[Out]{d.b, plan.Ref{Node: i}}
}

// decideOn makes a decision of a function of one value.
func decideOn[A any](fn func(c plan.Codec, a A) (plan.Decision, error)) plan.Decide {
	return func(c plan.Codec, in [][]byte) (plan.Decision, error) {
		a, err := decodeValue[A](c, in[0])
		if err != nil {
			return plan.Decision{}, err
		}
		return fn(c, a)
	}
}

// decoder reads the encoded inputs of a decision in turn.
type decoder struct {
	c   plan.Codec
	in  [][]byte
	err error
}

func next[T any](d *decoder) (v T) {
	if d.err == nil {
		v, d.err = decodeValue[T](d.c, d.in[0])
	}
	d.in = d.in[1:]
	return v
}

func call[Out any](d *decoder, fn func() (Out, error)) (out Out, err error) {
	if d.err != nil {
		return out, d.err
	}
	return fn()
}

// typeName names a type in fingerprints and errors, with its package's path.
func typeName[T any]() string { return plan.TypeName(reflect.TypeFor[T]()) }
