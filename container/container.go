// Package container is a small typed registry of services. What is registered
// under a [Key] of some type is resolved as that type, without assertions:
//
//	locks, err := container.Resolve(ctx, locking.ServiceKey) // *locking.Service
//
// A container is a value; there is no global one.
package container

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"
)

// Key names a service of type T. Keys with the same name are the same key; their
// types must agree.
type Key[T any] struct{ name string }

// NewKey makes a key. It panics when the name is empty.
func NewKey[T any](name string) Key[T] {
	if name == "" {
		panic("container: a key needs a name")
	}
	return Key[T]{name}
}

// Name returns the name of the key.
func (k Key[T]) Name() string { return k.name }

// Resolver is anything that services can be resolved from: a container, or the
// context of a step.
type Resolver interface {
	Container() *Container
}

// Container holds services. It may be used concurrently.
//
// A child sees what its parent has, and may register another service under the
// same key, for itself alone. A constructor registered in the parent resolves
// from the parent.
type Container struct {
	reg   *registry
	build *building // the construction this view was given to; nil outside
}

type registry struct {
	parent  *registry
	mu      sync.RWMutex
	entries map[string]*entry
	graph   *graph
}

// New returns an empty container.
func New() *Container {
	return &Container{reg: &registry{entries: map[string]*entry{}, graph: &graph{waits: map[*wait]struct{}{}}}}
}

// Child returns a container that sees this one's services.
func (c *Container) Child() *Container {
	return &Container{reg: &registry{parent: c.reg, entries: map[string]*entry{}, graph: c.reg.graph}}
}

// Container implements [Resolver].
func (c *Container) Container() *Container { return c }

// Names lists the names of all services that can be resolved, sorted.
func (c *Container) Names() []string {
	names := map[string]struct{}{}
	for r := c.reg; r != nil; r = r.parent {
		r.mu.RLock()
		for name := range r.entries {
			names[name] = struct{}{}
		}
		r.mu.RUnlock()
	}
	return slices.Sorted(maps.Keys(names))
}

// Register offers a value under the key. It returns [ErrAlreadyRegistered] when
// this container has one, and [ErrInvalid] for a nil container or a nil interface.
func Register[T any](c *Container, key Key[T], value T) error {
	if reflect.TypeFor[T]().Kind() == reflect.Interface && any(value) == nil {
		return fmt.Errorf("%w: the value for %q is nil", ErrInvalid, key.name)
	}
	return add(c, key, &entry{name: key.name, typ: reflect.TypeFor[T](), value: value, state: ready})
}

// RegisterFunc offers what the constructor makes, which is called when the
// service is first resolved, and once if it succeeds. An error or a panic is
// returned to those who wait for the service; whoever asks next tries again.
//
// The constructor must resolve what it needs from the container it is given:
// that is how a cycle of constructors is found.
func RegisterFunc[T any](c *Container, key Key[T], construct func(c *Container) (T, error)) error {
	if construct == nil {
		return fmt.Errorf("%w: the constructor for %q is nil", ErrInvalid, key.name)
	}
	return add(c, key, &entry{name: key.name, typ: reflect.TypeFor[T](), construct: func(c *Container) (any, error) {
		return construct(c)
	}})
}

func add[T any](c *Container, key Key[T], e *entry) error {
	switch {
	case c == nil:
		return fmt.Errorf("%w: the container is nil", ErrInvalid)
	case key.name == "":
		return fmt.Errorf("%w: the key has no name; make it with NewKey", ErrInvalid)
	}
	c.reg.mu.Lock()
	defer c.reg.mu.Unlock()
	if _, ok := c.reg.entries[key.name]; ok {
		return fmt.Errorf("%w: %q", ErrAlreadyRegistered, key.name)
	}
	e.home = c.reg
	c.reg.entries[key.name] = e
	return nil
}

// MustRegister is [Register] for static wiring: it panics on an error.
func MustRegister[T any](c *Container, key Key[T], value T) {
	if err := Register(c, key, value); err != nil {
		panic(err)
	}
}

// MustRegisterFunc is [RegisterFunc] for static wiring: it panics on an error.
func MustRegisterFunc[T any](c *Container, key Key[T], construct func(c *Container) (T, error)) {
	if err := RegisterFunc(c, key, construct); err != nil {
		panic(err)
	}
}

// Resolve returns the service under the key. It returns [*UnknownKeyError],
// [*TypeError], [*CycleError], or what the constructor returned.
func Resolve[T any](from Resolver, key Key[T]) (T, error) {
	var zero T
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
	t, _ := v.(T) // a nil interface from a constructor stays the zero value
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

type contextKey struct{}

// WithContext returns a context that carries the container.
func WithContext(ctx context.Context, c *Container) context.Context {
	return context.WithValue(ctx, contextKey{}, c)
}

// FromContext returns the container that the context carries.
func FromContext(ctx context.Context) (*Container, bool) {
	c, ok := ctx.Value(contextKey{}).(*Container)
	return c, ok
}
