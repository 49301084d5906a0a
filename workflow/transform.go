package workflow

import (
	"fmt"
	"reflect"

	"github.com/lockstep-dev/lockstep/internal/plan"
)

// Transform computes a value from another one. The function must be pure and
// quick: it is called once, before what follows it starts, and its result is
// recorded. An error, or a panic, fails the execution.
func Transform[A, Out any](b *Builder, a Value[A], fn func(A) (Out, error)) Value[Out] {
	return decide[Out](b, "Transform", fn == nil, func(c plan.Codec, in [][]byte) (Out, error) {
		args := decoder{c: c, in: in}
		x := next[A](&args)
		return call(&args, func() (Out, error) { return fn(x) })
	}, edge(a))
}

// Transform2 is [Transform] of two values.
func Transform2[A, B, Out any](b *Builder, v1 Value[A], v2 Value[B], fn func(A, B) (Out, error)) Value[Out] {
	return decide[Out](b, "Transform2", fn == nil, func(c plan.Codec, in [][]byte) (Out, error) {
		args := decoder{c: c, in: in}
		x, y := next[A](&args), next[B](&args)
		return call(&args, func() (Out, error) { return fn(x, y) })
	}, edge(v1), edge(v2))
}

// Transform3 is [Transform] of three values.
func Transform3[A, B, C, Out any](b *Builder, v1 Value[A], v2 Value[B], v3 Value[C], fn func(A, B, C) (Out, error)) Value[Out] {
	return decide[Out](b, "Transform3", fn == nil, func(c plan.Codec, in [][]byte) (Out, error) {
		args := decoder{c: c, in: in}
		x, y, z := next[A](&args), next[B](&args), next[C](&args)
		return call(&args, func() (Out, error) { return fn(x, y, z) })
	}, edge(v1), edge(v2), edge(v3))
}

// Transform4 is [Transform] of four values.
func Transform4[A, B, C, D, Out any](b *Builder, v1 Value[A], v2 Value[B], v3 Value[C], v4 Value[D], fn func(A, B, C, D) (Out, error)) Value[Out] {
	return decide[Out](b, "Transform4", fn == nil, func(c plan.Codec, in [][]byte) (Out, error) {
		args := decoder{c: c, in: in}
		w, x, y, z := next[A](&args), next[B](&args), next[C](&args), next[D](&args)
		return call(&args, func() (Out, error) { return fn(w, x, y, z) })
	}, edge(v1), edge(v2), edge(v3), edge(v4))
}

// Map is [Transform] with a function that cannot fail.
func Map[A, Out any](b *Builder, a Value[A], fn func(A) Out) Value[Out] {
	return decide[Out](b, "Map", fn == nil, func(c plan.Codec, in [][]byte) (Out, error) {
		args := decoder{c: c, in: in}
		x := next[A](&args)
		return call(&args, func() (Out, error) { return fn(x), nil })
	}, edge(a))
}

// Const is a value that is known at definition.
func Const[T any](b *Builder, value T) Value[T] {
	return decide[T](b, "Const", false, func(plan.Codec, [][]byte) (T, error) { return value, nil })
}

// edge is a value that a decision uses.
type edge struct {
	b   *Builder
	ref plan.Ref
}

// decide declares a decision node.
func decide[Out any](b *Builder, verb string, missing bool, eval func(c plan.Codec, in [][]byte) (Out, error), uses ...edge) Value[Out] {
	place := b.place(verb)
	if missing {
		b.faultf("%s has no function", place)
	}
	refs := make([]plan.Ref, len(uses))
	for i, u := range uses {
		refs[i] = b.use(u.b, u.ref, place)
	}
	ref := b.add(plan.Node{
		Path: place, Kind: plan.DecisionNode, Inputs: refs, OutType: typeName[Out](),
		Eval: func(c plan.Codec, in [][]byte) ([]byte, error) {
			out, err := eval(c, in)
			if err != nil {
				return nil, err
			}
			data, err := c.Encode(out)
			if err != nil {
				return nil, fmt.Errorf("workflow: the result of %s: %w", place, err)
			}
			return data, nil
		},
	})
	return Value[Out]{b, ref}
}

// decoder reads the encoded inputs of a decision in turn.
type decoder struct {
	c   plan.Codec
	in  [][]byte
	err error
}

func next[T any](d *decoder) (v T) {
	if d.err == nil && d.in[0] != nil { // a skipped step's output is the zero value
		d.err = d.c.Decode(d.in[0], &v)
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
