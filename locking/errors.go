package locking

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

var (
	// ErrNotAcquired is returned by [Service.TryAcquire] when a key is held by
	// somebody else. [*NotAcquiredError] matches it and names the key.
	ErrNotAcquired = errors.New("locking: lock not acquired")
	// ErrTimeout is returned when the wait for a lock is used up.
	// [*TimeoutError] matches it and names the keys.
	ErrTimeout = errors.New("locking: timed out acquiring lock")
	// ErrDeadlock is returned to a request that waits for an owner which itself waits
	// for what the request's owner holds. [*DeadlockError] matches it and names the
	// circle.
	ErrDeadlock = errors.New("locking: deadlock")
	// ErrLockLost ends the context of a lock that lapsed, or that could not be
	// renewed in time: somebody else may have the key.
	ErrLockLost = errors.New("locking: lock lost")
	// ErrMaxHold ends the context of a lock that was held as long as [MaxHold] allows.
	// It matches [ErrLockLost], too.
	ErrMaxHold = fmt.Errorf("%w: held as long as MaxHold allows", ErrLockLost)
	// ErrLockRevoked ends the context of a lock that a later attempt of the same
	// owner took over, or that [Service.ForceRelease] took from its holder, and is
	// returned to an earlier attempt or that holder when it asks for it.
	ErrLockRevoked = errors.New("locking: lock revoked")
	// ErrLockReleased ends the context of a lock that its holder gave back.
	ErrLockReleased = errors.New("locking: lock released")
	// ErrClosed is returned by a [Service] that has been closed.
	ErrClosed = errors.New("locking: service closed")
	// ErrUnknownProvider is matched by [*UnknownProviderError].
	ErrUnknownProvider = errors.New("locking: unknown provider")
	// ErrForeign is returned by [Service.ForceRelease] for the lock of another
	// program, which only [Now] takes.
	ErrForeign = errors.New("locking: the holder is another program, which cannot be told: only Now takes its lock")
	// ErrNotSupported is matched by [*NotSupportedError].
	ErrNotSupported = errors.New("locking: not supported by the provider")
	// ErrInvalid is matched by [*InvalidError].
	ErrInvalid = errors.New("locking: invalid argument")
)

// NotAcquiredError says which key was held, and by whom.
type NotAcquiredError struct {
	Key      string
	Holder   string // the owner that has the key, where the provider knows it
	Provider string
}

func (e *NotAcquiredError) Error() string {
	return "locking: Failed to acquire lock for key " + strconv.Quote(e.Key)
}

// Is makes the error match [ErrNotAcquired].
func (e *NotAcquiredError) Is(target error) bool { return target == ErrNotAcquired }

// TimeoutError says which keys were waited for, and how long.
type TimeoutError struct {
	Keys     []string
	Waited   time.Duration
	Provider string
}

func (e *TimeoutError) Error() string {
	return fmt.Sprintf("locking: Timed-out acquiring lock. (%s at %s, waited %s)",
		quoteKeys(e.Keys), e.Provider, e.Waited)
}

// Is makes the error match [ErrTimeout].
func (e *TimeoutError) Is(target error) bool { return target == ErrTimeout }

// DeadlockEdge is an owner that waits for a key which another owner holds.
type DeadlockEdge = driver.Wait

// DeadlockError names the circle of owners that a request would have closed, or
// of which it was the one to give up. Waiting again is of no use before one of them
// has given back what it holds.
type DeadlockError struct {
	// Cycle begins with the owner that got this error; each waits for a key that the
	// next one holds, and the last one for a key that the first one holds.
	Cycle    []DeadlockEdge
	Provider string
}

func (e *DeadlockError) Error() string {
	var b strings.Builder
	b.WriteString("locking: deadlock at " + e.Provider + ":")
	for i, w := range e.Cycle {
		if i > 0 {
			b.WriteByte(';')
		}
		b.WriteString(" " + quoteShort(w.Owner) + " waits for " + quoteShort(w.Key) + ", which " + quoteShort(w.Holder) + " holds")
	}
	return b.String()
}

// Is makes the error match [ErrDeadlock].
func (e *DeadlockError) Is(target error) bool { return target == ErrDeadlock }

// UnknownProviderError names a provider id that is not registered, and those
// that are.
type UnknownProviderError struct {
	ID    string
	Known []string
}

func (e *UnknownProviderError) Error() string {
	return fmt.Sprintf("locking: Unable to retrieve the locking provider with id: %s (known: %s)",
		quoteShort(e.ID), strings.Join(e.Known, ", "))
}

// Is makes the error match [ErrUnknownProvider].
func (e *UnknownProviderError) Is(target error) bool { return target == ErrUnknownProvider }

// NotSupportedError names a provider that does not offer a call, and the call.
type NotSupportedError struct{ Provider, Call string }

func (e *NotSupportedError) Error() string {
	return fmt.Sprintf("locking: %s is not supported by provider %s", e.Call, e.Provider)
}

// Is makes the error match [ErrNotSupported].
func (e *NotSupportedError) Is(target error) bool { return target == ErrNotSupported }

// InvalidError names an argument that cannot be, its value, and what was
// expected.
type InvalidError struct {
	Argument string
	Value    string
	Expected string
}

func (e *InvalidError) Error() string {
	return fmt.Sprintf("locking: invalid %s %s: expected %s", e.Argument, e.Value, e.Expected)
}

// Is makes the error match [ErrInvalid].
func (e *InvalidError) Is(target error) bool { return target == ErrInvalid }

// quoteShort quotes a value that may be long and may hold any bytes.
func quoteShort(s string) string {
	const most = 128
	if len(s) > most {
		return strconv.Quote(s[:most]) + fmt.Sprintf("… (%d bytes)", len(s))
	}
	return strconv.Quote(s)
}

func quoteKeys(keys []string) string {
	const most = 8
	var b strings.Builder
	for i, k := range keys {
		if i == most {
			fmt.Fprintf(&b, " and %d more", len(keys)-most)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(quoteShort(k))
	}
	return b.String()
}
