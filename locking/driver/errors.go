package driver

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

var (
	// ErrBusy means that a key is held by another owner. [*BusyError] matches it.
	ErrBusy = errors.New("driver: a key is held by another owner")
	// ErrTimeout means that a key did not become available within Request.Wait.
	ErrTimeout = errors.New("driver: the wait for a key is used up")
	// ErrRevoked means that a later generation of the same owner has the key.
	ErrRevoked = errors.New("driver: a later generation of this owner has the key")
	// ErrNoOffer means that a ticket has nothing to claim: it waits, or is unknown.
	ErrNoOffer = errors.New("driver: the ticket has no offer")
	// ErrDeadlock is matched by [*DeadlockError].
	ErrDeadlock = errors.New("driver: deadlock")
	// ErrForeign means that the holder of a key that was to be taken by force is
	// another program.
	ErrForeign = errors.New("driver: the holder is another program, which cannot be told: only Now takes its lock")
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

// Wait is one edge of a deadlock: an owner waits for a key that another one has.
type Wait struct{ Owner, Key, Holder string }

// DeadlockError names a circle of owners, each of which waits for what the next
// one holds; the last one waits for the first.
type DeadlockError struct {
	// Cycle begins with the request that was given up.
	Cycle []Wait
}

func (e *DeadlockError) Error() string {
	var b strings.Builder
	b.WriteString("driver: deadlock:")
	for i, w := range e.Cycle {
		if i > 0 {
			b.WriteByte(';')
		}
		fmt.Fprintf(&b, " %.128q waits for %.128q, which %.128q holds", w.Owner, w.Key, w.Holder)
	}
	return b.String()
}

// Is makes the error match [ErrDeadlock].
func (e *DeadlockError) Is(target error) bool { return target == ErrDeadlock }
