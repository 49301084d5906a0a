package workflow

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lockstep-dev/lockstep/container"
	"github.com/lockstep-dev/lockstep/internal/engine"
	"github.com/lockstep-dev/lockstep/internal/runctx"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/store"
)

// ErrProcessLocal means that a guard would take locks which exclude only the callers of
// this process, on a store that other processes share.
var ErrProcessLocal = errors.New("workflow: the lock provider protects this process only, and the store is shared")

// keeper gives the engine the locks of the service in its container.
type keeper struct {
	container *container.Container
	shared    bool // the store is, and local locks are not allowed
}

var _ engine.Keeper = (*keeper)(nil)

// refused is an error that no repetition mends.
type refused struct{ error }

func (r refused) Unwrap() error { return r.error }

// Is makes the error match [engine.ErrRefused].
func (r refused) Is(target error) bool { return target == engine.ErrRefused }

func (k *keeper) tickets() (locking.Tickets, error) {
	s, err := container.Resolve(k.container, locking.ServiceKey)
	if err != nil {
		return locking.Tickets{}, refused{fmt.Errorf("%w: %w", engine.ErrNoLocks, err)}
	}
	return s.Tickets(), nil
}

// Listen implements [engine.Keeper].
func (k *keeper) Listen(tell func(ticket string, err error)) (stop func()) {
	t, err := k.tickets()
	if err != nil {
		return func() {} // a guard tells
	}
	return t.Listen(func(e driver.Event) { tell(e.Ticket, e.Err) })
}

// Resolve implements [engine.Keeper].
func (k *keeper) Resolve(provider string, keys []string) (id string, sorted []string, err error) {
	t, err := k.tickets()
	if err != nil {
		return "", nil, err
	}
	id, sorted, local, err := t.Check(provider, keys)
	switch {
	case err != nil:
		return "", nil, refused{err}
	case local && k.shared:
		return "", nil, refused{fmt.Errorf("%w: %s", ErrProcessLocal, id)}
	}
	return id, sorted, nil
}

// Park implements [engine.Keeper].
func (k *keeper) Park(ctx context.Context, w engine.LockWait) (bool, error) {
	t, err := k.tickets()
	if err != nil {
		return false, err
	}
	offered, err := t.Enqueue(ctx, w.Provider, ticket(w))
	return offered, explain(err)
}

// Claim implements [engine.Keeper].
func (k *keeper) Claim(ctx context.Context, w engine.LockWait) ([]runctx.Hold, error) {
	t, err := k.tickets()
	if err != nil {
		return nil, err
	}
	holds, err := t.Claim(ctx, w.Provider, ticket(w), w.Lease, w.Most)
	return holds, explain(err)
}

// Cancel implements [engine.Keeper].
func (k *keeper) Cancel(ctx context.Context, w engine.LockWait) error {
	t, err := k.tickets()
	if err != nil {
		return err
	}
	return t.Cancel(ctx, w.Provider, ticket(w))
}

// TakeOver implements [engine.Keeper].
func (k *keeper) TakeOver(ctx context.Context, holds []store.Hold, as engine.Generation, lease, most time.Duration) ([]runctx.Hold, bool, error) {
	t, err := k.tickets()
	if err != nil {
		return nil, false, err
	}
	taken, stands, err := t.TakeOver(ctx, holds[0].Provider, driverHolds(holds), driver.Generation(as), lease, most)
	if errors.Is(err, locking.ErrLockRevoked) {
		err = fmt.Errorf("%w: %w", engine.ErrForced, err)
	}
	return taken, stands, err
}

// Restore implements [engine.Keeper].
func (k *keeper) Restore(ctx context.Context, holds []store.Hold, as engine.Generation, lease, most time.Duration) ([]runctx.Hold, bool, error) {
	t, err := k.tickets()
	if err != nil {
		return nil, false, err
	}
	return t.Restore(ctx, holds[0].Provider, driverHolds(holds), driver.Generation(as), lease, most)
}

// Local implements [engine.Keeper].
func (k *keeper) Local(provider string) bool {
	t, err := k.tickets()
	if err != nil {
		return false // what is held there cannot be taken over
	}
	return t.Local(provider)
}

// Free implements [engine.Keeper].
func (k *keeper) Free(ctx context.Context, holds []store.Hold) error {
	t, err := k.tickets()
	if err != nil {
		return err
	}
	byProvider := make(map[string][]store.Hold)
	for _, h := range holds {
		byProvider[h.Provider] = append(byProvider[h.Provider], h)
	}
	var errs []error
	for provider, list := range byProvider {
		errs = append(errs, t.Free(ctx, provider, driverHolds(list)))
	}
	return errors.Join(errs...)
}

func driverHolds(holds []store.Hold) []driver.Hold {
	list := make([]driver.Hold, len(holds))
	for i, h := range holds {
		list[i] = driver.Hold{
			Key: h.Key, Owner: h.Owner, Token: driver.Token(h.Token),
			Generation: driver.Generation{Epoch: h.Epoch, Attempt: h.Attempt},
		}
	}
	return list
}

func ticket(w engine.LockWait) driver.Ticket {
	rank := driver.Forward
	if w.Compensation {
		rank = driver.Compensation
	}
	return driver.Ticket{ID: w.Ticket, Request: driver.Request{
		Keys: w.Keys, Owner: w.Owner, Generation: driver.Generation{Epoch: w.Epoch, Attempt: w.Attempt},
		TTL: w.Lease, Rank: rank, Enclosing: w.Enclosing, Born: uint64(w.Born.UnixMicro()),
	}}
}

// explain tells errors that are final from those that a repetition may mend.
func explain(err error) error {
	var deadlock *locking.DeadlockError
	var invalid *locking.InvalidError
	var unknown *locking.UnknownProviderError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, driver.ErrNoOffer):
		return engine.ErrNotOffered
	case errors.As(err, &deadlock), errors.As(err, &invalid), errors.As(err, &unknown),
		errors.Is(err, locking.ErrLockRevoked), errors.Is(err, locking.ErrNoQueue), errors.Is(err, locking.ErrClosed), errors.Is(err, driver.ErrClosed):
		return refused{err}
	}
	return err
}
