package container

import (
	"fmt"
	"reflect"
)

// Register offers a value under the key.
//
// It returns a [*DuplicateError] when this very container has something under
// the key's name, of whatever type (a parent may have: it is shadowed), and
// [ErrInvalid] for a nil container, the zero key, or a nil value of an interface
// type.
func Register[T any](c *Container, key Key[T], value T) error {
	typ := reflect.TypeFor[T]()
	if typ.Kind() == reflect.Interface && any(value) == nil {
		return fmt.Errorf("%w: the value for %q is nil", ErrInvalid, key.name)
	}
	return c.add(&entry{name: key.name, typ: typ, value: value, state: ready})
}

// MustRegister is [Register] for static wiring: it panics on an error.
func MustRegister[T any](c *Container, key Key[T], value T) {
	if err := Register(c, key, value); err != nil {
		panic(err)
	}
}

// RegisterFunc offers what the constructor makes. The constructor is called when
// the service is first resolved, by whoever asks first, while others wait; once
// it has succeeded it is not called again. Its error, or its panic as a
// [*PanicError], is returned to all who wait, and whoever asks next tries again.
// A nil service of an interface type is an error too.
//
// The constructor must resolve what it needs from the container it is given, or
// from a child of that: this is how a cycle of constructors is found. One that
// captures another container instead, or waits for a goroutine that does, can
// wait for itself for ever.
//
// It returns the same errors as [Register].
func RegisterFunc[T any](c *Container, key Key[T], construct func(c *Container) (T, error)) error {
	if construct == nil {
		return fmt.Errorf("%w: the constructor for %q is nil", ErrInvalid, key.name)
	}
	typ := reflect.TypeFor[T]()
	return c.add(&entry{name: key.name, typ: typ, construct: func(c *Container) (any, error) {
		value, err := construct(c)
		if err == nil && typ.Kind() == reflect.Interface && any(value) == nil {
			err = fmt.Errorf("%w: the constructor returned nil", ErrInvalid)
		}
		return value, err
	}})
}

// MustRegisterFunc is [RegisterFunc] for static wiring: it panics on an error.
func MustRegisterFunc[T any](c *Container, key Key[T], construct func(c *Container) (T, error)) {
	if err := RegisterFunc(c, key, construct); err != nil {
		panic(err)
	}
}

func (c *Container) add(e *entry) error {
	switch {
	case c == nil:
		return fmt.Errorf("%w: there is no container to register %q in", ErrInvalid, e.name)
	case e.name == "":
		return fmt.Errorf("%w: the key has no name; make it with NewKey", ErrInvalid)
	}
	c.reg.mu.Lock()
	defer c.reg.mu.Unlock()
	if had, ok := c.reg.entries[e.name]; ok {
		return &DuplicateError{Name: e.name, Registered: had.typ.String(), Offered: e.typ.String()}
	}
	e.home = c.reg
	c.reg.entries[e.name] = e
	return nil
}
