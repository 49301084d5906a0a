package workflow

import (
	"fmt"
	"strconv"

	"github.com/lockstep-dev/lockstep/internal/plan"
)

// DefaultConcurrency is how many items [ForEach] works on at once unless
// [Concurrency] says otherwise.
const DefaultConcurrency = 16

// EachOption is an option of [ForEach]. Options are immutable values.
type EachOption interface{ toEach(s *settings) }

// ConcurrencyOption is made by [Concurrency].
type ConcurrencyOption struct{ n int }

// Concurrency bounds how many items [ForEach] works on at once, also when it
// compensates them; 1 is one after the other. It is no part of the fingerprint.
func Concurrency(n int) ConcurrencyOption { return ConcurrencyOption{n} }

func (c ConcurrencyOption) toEach(s *settings) {
	if s.concurrency = c.n; c.n < 1 {
		s.fault("the concurrency " + strconv.Itoa(c.n) + " is less than one")
	}
}

// ForEach runs a branch for each item of a list, several at once, and gives what they
// gave, in the order of the items. The body is composed once; the item is a value of
// its own. Items begin in their order.
//
// When one fails those that run are cancelled and waited for, no other one begins, and
// all that had begun are compensated, each in reverse, the last ones first.
func ForEach[A, T any](b *Builder, items Value[[]A], body func(b *Builder, item Value[A]) Value[T], opts ...EachOption) Value[[]T] {
	s := collect(opts, EachOption.toEach)
	d := b.declare("ForEach", s)
	limit := DefaultConcurrency
	if s.concurrency > 0 {
		limit = s.concurrency
	}
	path := d.path
	i := d.add(plan.Node{
		Kind: plan.EachNode, Inputs: d.uses(items.edge()), OutType: typeName[[]T](), Limit: limit,
		Decide: decideOn(func(c plan.Codec, list []A) (decision plan.Decision, err error) {
			decision.Items = make([][]byte, len(list))
			for at, item := range list {
				if decision.Items[at], err = encodeValue(c, item); err != nil {
					return plan.Decision{}, fmt.Errorf("workflow: item %d of %s: %w", at, path, err)
				}
			}
			return decision, nil
		}),
		Gather: gather[T](path),
	})
	var each func(b *Builder) Value[T]
	if body != nil {
		each = func(inner *Builder) Value[T] {
			return body(inner, Value[A]{inner, plan.Ref{Node: i, Part: plan.Item}})
		}
	}
	compose(&d, i, "the body", each)
	return Value[[]T]{d.b, plan.Ref{Node: i}}
}

// gather makes a list of what the items gave.
func gather[T any](path string) plan.Gather {
	return func(c plan.Codec, outputs [][]byte) ([]byte, error) {
		list := make([]T, len(outputs))
		for at, data := range outputs {
			var err error
			if list[at], err = decodeValue[T](c, data); err != nil {
				return nil, fmt.Errorf("workflow: what item %d of %s gave: %w", at, path, err)
			}
		}
		data, err := c.Encode(list)
		if err != nil {
			return nil, fmt.Errorf("workflow: the result of %s: %w", path, err)
		}
		return data, nil
	}
}
