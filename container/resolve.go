package container

import (
	"fmt"
	"reflect"
)

// Resolve returns the service under the key: the nearest container's that has
// one, from the resolver's own outwards. It may wait for a constructor.
//
// It returns [ErrInvalid] for a nil resolver, a resolver without a container, or
// the zero key; [*UnknownKeyError] when nothing is registered; [*TypeError] when
// what is registered has another type; [*CycleError] where waiting would never
// end; and what the constructor returned, wrapped.
func Resolve[T any](from Resolver, key Key[T]) (T, error) {
	var zero T
	if key.name == "" {
		return zero, fmt.Errorf("%w: the key has no name; make it with NewKey", ErrInvalid)
	}
	c := containerOf(from)
	if c == nil {
		return zero, fmt.Errorf("%w: there is no container to resolve %q from", ErrInvalid, key.name)
	}
	e := c.reg.find(key.name)
	if e == nil {
		return zero, &UnknownKeyError{Name: key.name, Known: c.Names()}
	}
	if want := reflect.TypeFor[T](); e.typ != want {
		return zero, &TypeError{Name: key.name, Registered: e.typ.String(), Asked: want.String()}
	}
	v, err := e.get(c.build)
	if err != nil {
		return zero, err
	}
	t, _ := v.(T) // the types are equal, see above
	return t, nil
}

// MustResolve is [Resolve] where a missing service is a programming error: it
// panics.
func MustResolve[T any](from Resolver, key Key[T]) T {
	v, err := Resolve(from, key)
	if err != nil {
		panic(err)
	}
	return v
}

func containerOf(from Resolver) *Container {
	if from == nil {
		return nil
	}
	return from.Container()
}

func (r *registry) find(name string) *entry {
	for ; r != nil; r = r.parent {
		r.mu.RLock()
		e := r.entries[name]
		r.mu.RUnlock()
		if e != nil {
			return e
		}
	}
	return nil
}
