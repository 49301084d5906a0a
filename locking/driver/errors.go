package driver

import (
	"errors"
	"strconv"
)

var (
	// ErrBusy means that a key is held by another owner. [*BusyError] matches it.
	ErrBusy = errors.New("driver: a key is held by another owner")
	// ErrTimeout means that a key did not become available within Request.Wait.
	ErrTimeout = errors.New("driver: the wait for a key is used up")
	// ErrRevoked means that a later generation of the same owner has the key.
	ErrRevoked = errors.New("driver: a later generation of this owner has the key")
	// ErrClosed means that the provider was closed, or was never started.
	ErrClosed = errors.New("driver: the provider is not running")
)

// BusyError names the first key, in the request's order, that was not
// available.
type BusyError struct {
	Key string
	// Holder is the owner that has the key; empty when a waiter goes first.
	Holder string
}

func (e *BusyError) Error() string {
	return "driver: key " + strconv.Quote(e.Key) + " is held by " + strconv.Quote(e.Holder)
}

// Is makes the error match [ErrBusy].
func (e *BusyError) Is(target error) bool { return target == ErrBusy }
