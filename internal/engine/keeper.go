package engine

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/lockstep-dev/lockstep/internal/runctx"
	"github.com/lockstep-dev/lockstep/store"
)

// Keeper takes locks for executions. It is all that the engine sees of locks: package
// workflow implements it over package locking. Its methods may be called concurrently.
type Keeper interface {
	// Listen has the engine told of tickets until it is stopped: that keys are offered
	// to one, or with an error that it has ended. Tell does not block.
	Listen(tell func(ticket string, err error)) (stop func())
	// Resolve returns the full id of a provider, and the keys as it knows them.
	Resolve(provider string, keys []string) (id string, sorted []string, err error)
	// Park puts a wait into the queues of its keys, or finds it there, and says whether
	// the keys are offered to it. The same ticket is parked once. An error that matches
	// [ErrRefused] is final; another one means that it is not known.
	Park(ctx context.Context, w LockWait) (offered bool, err error)
	// Claim takes what is offered, and has it renewed. It returns an error that matches
	// [ErrNotOffered] when nothing is.
	Claim(ctx context.Context, w LockWait) ([]runctx.Hold, error)
	// Cancel takes a wait out of the queues.
	Cancel(ctx context.Context, w LockWait) error
	// TakeOver takes holds of one owner and provider over for a later generation, with
	// new tokens. It answers false when one of them is not held any more, and with an
	// error that matches [ErrForced] when one was taken by force.
	TakeOver(ctx context.Context, holds []store.Hold, as Generation, lease, most time.Duration) (taken []runctx.Hold, stands bool, err error)
	// Restore is TakeOver for holds that have ended with their process, after which no other
	// one has used the store. It answers false when the provider protects more than its
	// process, or when somebody in this process may have had one of them.
	Restore(ctx context.Context, holds []store.Hold, as Generation, lease, most time.Duration) (taken []runctx.Hold, stands bool, err error)
	// Local says that the locks of a provider, whose full id is given, protect this process
	// only.
	Local(provider string) bool
	// Free gives back holds that no [runctx.Hold] of this process stands for.
	Free(ctx context.Context, holds []store.Hold) error
}

var (
	// ErrRefused is matched by errors of a [Keeper] that no repetition mends.
	ErrRefused = errors.New("workflow: the locks are refused")
	// ErrForced means that a lock was taken by force: it is not taken again by itself.
	ErrForced = errors.New("workflow: the lock was taken by force")
	// ErrNotOffered means that a wait goes on.
	ErrNotOffered = errors.New("workflow: the locks are not offered yet")
)

// Generation orders the holds of one owner.
type Generation struct{ Epoch, Attempt uint64 }

// LockWait is the wait of an execution for locks.
type LockWait struct {
	Ticket         string
	Provider       string // the full id
	Keys           []string
	Owner          string
	Epoch, Attempt uint64
	Lease          time.Duration
	Most           time.Duration // zero is without a bound
	// Compensation ranks the wait before others.
	Compensation bool
	// Enclosing are the owners around this one that hold something.
	Enclosing []string
	Born      time.Time // of the execution
}

// tickets has the runs that wait for locks.
type tickets struct {
	mu   sync.Mutex
	runs map[string]*Run
}

func (t *tickets) enter(id string, r *Run) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.runs == nil {
		t.runs = make(map[string]*Run)
	}
	t.runs[id] = r
}

func (t *tickets) leave(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.runs, id)
}

// tell is told by the keeper.
func (t *tickets) tell(ticket string, err error) {
	t.mu.Lock()
	r := t.runs[ticket]
	t.mu.Unlock()
	if r != nil {
		r.post(ticketNews{ticket, err})
	}
}
