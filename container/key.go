package container

import "context"

// Key names a service of type T. Keys with the same name are the same key; their
// types must agree. A key is a value: copy it freely. The zero key is invalid.
type Key[T any] struct{ name string }

// NewKey makes a key. An empty name is a programming error, and panics.
func NewKey[T any](name string) Key[T] {
	if name == "" {
		panic("container: a key needs a name")
	}
	return Key[T]{name}
}

// Name returns the name of the key.
func (k Key[T]) Name() string { return k.name }

// String returns the name of the key.
func (k Key[T]) String() string { return k.name }

// Resolver is anything that services can be resolved from: a container, or the
// context of a step.
type Resolver interface {
	// Container returns the container to resolve from, or nil when there is none.
	Container() *Container
}

type contextKey struct{}

// WithContext returns a context that carries the container.
func WithContext(ctx context.Context, c *Container) context.Context {
	return context.WithValue(ctx, contextKey{}, c)
}

// FromContext returns the container that the context carries, and whether it
// carries one.
func FromContext(ctx context.Context) (*Container, bool) {
	c, _ := ctx.Value(contextKey{}).(*Container)
	return c, c != nil
}
