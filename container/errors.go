package container

import (
	"errors"
	"fmt"
	"strings"
)

var (
	// ErrAlreadyRegistered is matched by [*DuplicateError].
	ErrAlreadyRegistered = errors.New("container: already registered")
	// ErrUnknownKey is matched by [*UnknownKeyError].
	ErrUnknownKey = errors.New("container: unknown key")
	// ErrInvalid means an argument that cannot be: no container, a key without a
	// name, a nil service or constructor.
	ErrInvalid = errors.New("container: invalid argument")
)

// DuplicateError means that the container has something under the key already.
// It matches [ErrAlreadyRegistered].
type DuplicateError struct{ Name, Registered, Offered string }

func (e *DuplicateError) Error() string {
	if e.Registered == e.Offered {
		return fmt.Sprintf("container: already registered: %q", e.Name)
	}
	return fmt.Sprintf("container: already registered: %q, as %s; now offered as %s", e.Name, e.Registered, e.Offered)
}

// Is makes the error match [ErrAlreadyRegistered].
func (e *DuplicateError) Is(target error) bool { return target == ErrAlreadyRegistered }

// UnknownKeyError names a key that nothing is registered under, and those that
// something is. It matches [ErrUnknownKey].
type UnknownKeyError struct {
	Name  string
	Known []string // sorted
}

func (e *UnknownKeyError) Error() string {
	if len(e.Known) == 0 {
		return fmt.Sprintf("container: nothing is registered under %q, nor under any other key", e.Name)
	}
	return fmt.Sprintf("container: nothing is registered under %q; there are %s", e.Name, strings.Join(e.Known, ", "))
}

// Is makes the error match [ErrUnknownKey].
func (e *UnknownKeyError) Is(target error) bool { return target == ErrUnknownKey }

// TypeError means that what is registered under a key of this name has another
// type than the key that was asked with.
type TypeError struct{ Name, Registered, Asked string }

func (e *TypeError) Error() string {
	return fmt.Sprintf("container: %q is registered as %s, not as %s", e.Name, e.Registered, e.Asked)
}

// CycleError names constructors that need each other, from the first back to
// itself.
type CycleError struct{ Path []string }

func (e *CycleError) Error() string {
	return "container: constructors need each other: " + strings.Join(e.Path, " -> ")
}

// PanicError is the error of a constructor that panicked.
type PanicError struct {
	Name  string
	Value any
	Stack []byte // as of the panic
}

func (e *PanicError) Error() string {
	return fmt.Sprintf("container: the constructor of %q panicked: %v", e.Name, e.Value)
}

// Unwrap returns the value of the panic when that is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}
