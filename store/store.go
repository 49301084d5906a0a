package store

import (
	"context"
	"errors"
	"fmt"
)

// Store keeps executions. All methods may be called concurrently. A store keeps
// copies: what it is given and what it returns belongs to the caller.
type Store interface {
	// Describe tells what the store is; it is constant.
	Describe() Info

	// Create adds an execution, unless there is one with its key; then it changes
	// nothing and returns that one. The fence of a new execution has epoch 1 and
	// revision 1.
	Create(ctx context.Context, x *Execution) (existing *Execution, err error)

	// Commit makes one change, atomically. The write's fence must be the
	// execution's: an older epoch or another owner gets [*FencedError], and
	// nothing changes. The revision rises by one. The same write sent again, as
	// its revision and ID tell, is answered as done and changes nothing.
	Commit(ctx context.Context, w Write) error

	// Load returns an execution, or [ErrNotFound].
	Load(ctx context.Context, key Key) (*Execution, error)

	// Forget deletes a finished execution. It does nothing when there is none, or
	// when it has not finished.
	Forget(ctx context.Context, key Key) error

	// Close ends the store.
	Close(ctx context.Context) error
}

// Info describes a store.
type Info struct {
	// ID tells this store from every other; it is part of the owner of every
	// lock that an execution takes.
	ID string
	// Durable says that executions outlive the process.
	Durable bool
	// Shared says that instances in several processes may use it.
	Shared bool
}

// Write is a change with the fence it was decided under.
type Write struct {
	Key   Key
	Fence Fence // as it was before the write
	// ID tells this write from any other at the same revision.
	ID     uint64
	Change Change
}

var (
	// ErrNotFound means that there is no execution with the key.
	ErrNotFound = errors.New("store: no such execution")
	// ErrFenced is matched by [*FencedError].
	ErrFenced = errors.New("store: the writer no longer owns the execution")
	// ErrClosed means that the store was closed.
	ErrClosed = errors.New("store: closed")
)

// FencedError tells a writer that its write was refused, and what stands.
type FencedError struct {
	Key          Key
	Wrote, Found Fence
}

func (e *FencedError) Error() string {
	return fmt.Sprintf("store: write to %s refused: owner %q epoch %d revision %d wrote, found owner %q epoch %d revision %d",
		e.Key, e.Wrote.Owner, e.Wrote.Epoch, e.Wrote.Revision, e.Found.Owner, e.Found.Epoch, e.Found.Revision)
}

// Is makes the error match [ErrFenced].
func (e *FencedError) Is(target error) bool { return target == ErrFenced }
