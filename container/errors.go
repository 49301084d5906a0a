package container

import (
	"errors"
	"fmt"
	"strings"
)

var (
	// ErrAlreadyRegistered means that the container has a service under the key.
	ErrAlreadyRegistered = errors.New("container: already registered")
	// ErrUnknownKey is matched by [*UnknownKeyError].
	ErrUnknownKey = errors.New("container: unknown key")
	// ErrInvalid means an argument that cannot be.
	ErrInvalid = errors.New("container: invalid argument")
)

// UnknownKeyError names a key that nothing is registered under, and those that
// something is.
type UnknownKeyError struct {
	Name  string
	Known []string
}

func (e *UnknownKeyError) Error() string {
	if len(e.Known) == 0 {
		return fmt.Sprintf("container: nothing is registered under %q, nor under any other key", e.Name)
	}
	return fmt.Sprintf("container: nothing is registered under %q; there are %s", e.Name, strings.Join(e.Known, ", "))
}

// Is makes the error match [ErrUnknownKey].
func (e *UnknownKeyError) Is(target error) bool { return target == ErrUnknownKey }

// TypeError means that a key of the same name has another type.
type TypeError struct{ Name, Registered, Asked string }

func (e *TypeError) Error() string {
	return fmt.Sprintf("container: %q is registered as %s, not as %s", e.Name, e.Registered, e.Asked)
}

// CycleError names constructors that need each other, from the first to itself.
type CycleError struct{ Path []string }

func (e *CycleError) Error() string {
	return "container: constructors need each other: " + strings.Join(e.Path, " -> ")
}

// PanicError is the error of a constructor that panicked.
type PanicError struct {
	Name  string
	Value any
	Stack []byte
}

func (e *PanicError) Error() string {
	return fmt.Sprintf("container: the constructor of %q panicked: %v", e.Name, e.Value)
}
