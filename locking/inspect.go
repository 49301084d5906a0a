package locking

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

type (
	// State is what is known of a key: who holds it, under which token, since when,
	// and who waits.
	State = driver.State
	// Waiter is a request that waits for a key.
	Waiter = driver.Waiter
)

const (
	// DefaultWaiters is how many waiters [Service.Inspect] tells of where [Waiters]
	// names no number.
	DefaultWaiters = 10
	// MaxWaiters is the largest number that [Waiters] takes.
	MaxWaiters = 1000
)

// Inspect tells who holds a key, and who waits for it in which order. It takes
// nothing, and waits for nobody; what it tells may have changed when it returns.
// A key that nobody holds is no error: its State says so.
//
// It returns [*NotSupportedError] when the provider cannot be looked into,
// [*InvalidError] and [*UnknownProviderError] for what cannot be asked, and the
// provider's error when it gave no answer.
func (s *Service) Inspect(ctx context.Context, key string, opts ...InspectOption) (State, error) {
	o := toolOptions{waiters: DefaultWaiters}
	for _, opt := range opts {
		opt.toInspect(&o)
	}
	if o.waiters < 0 || o.waiters > MaxWaiters {
		return State{}, &InvalidError{"Waiters", strconv.Itoa(o.waiters), "0 to " + strconv.Itoa(MaxWaiters)}
	}
	p, err := s.inspector(o.provider, "Inspect")
	if err != nil {
		return State{}, err
	}
	if _, err := s.normalize(nil, []string{key}); err != nil {
		return State{}, err
	}
	state, err := p.Inspect(ctx, key, o.waiters)
	if err != nil {
		return State{}, p.failed(ctx, "inspect "+quoteShort(key), err)
	}
	return state, nil
}

// List goes through the locks of a provider that are held, without their waiters:
//
//	for lock, err := range locks.List(ctx) {
//		if err != nil {
//			return err
//		}
//		fmt.Println(lock.Key, lock.Owner, lock.TTL)
//	}
//
// An error is the last thing that it yields; the kinds are those of
// [Service.Inspect]. A lock that is held all the time is listed; one that comes or
// goes meanwhile may be or not, and some may be listed twice. The provider is asked
// page by page, as the loop goes on.
func (s *Service) List(ctx context.Context, opts ...ListOption) iter.Seq2[State, error] {
	var o toolOptions
	for _, opt := range opts {
		opt.toList(&o)
	}
	return func(yield func(State, error) bool) {
		p, err := s.inspector(o.provider, "List")
		if err != nil {
			yield(State{}, err)
			return
		}
		req := driver.ListRequest{IncludeForeign: o.foreign}
		for {
			page, err := p.List(ctx, req)
			if err != nil {
				yield(State{}, p.failed(ctx, "list the locks", err))
				return
			}
			for i := range page.Locks {
				if !yield(page.Locks[i], nil) {
					return
				}
			}
			if req.Cursor = page.Next; page.Next == "" {
				return
			}
		}
	}
}

// inspector is a provider that can be looked into.
type inspector struct {
	driver.Inspector

	id string
}

func (s *Service) inspector(id, call string) (*inspector, error) {
	p, err := s.provider(id)
	if err != nil {
		return nil, err
	}
	d, ok := p.driver.(driver.Inspector)
	if !ok {
		return nil, &NotSupportedError{Provider: p.id, Call: call}
	}
	return &inspector{d, p.id}, nil
}

// failed puts the error of a provider into this package's words.
func (p *inspector) failed(ctx context.Context, what string, err error) error {
	switch {
	case errors.Is(err, driver.ErrClosed):
		return fmt.Errorf("%w: %s at %s", ErrClosed, what, p.id)
	case errors.Is(err, driver.ErrForeign):
		return fmt.Errorf("%w: %s at %s", ErrForeign, what, p.id)
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		err = withCause(ctx, err)
	}
	return fmt.Errorf("locking: %s at %s: %w", what, p.id, err)
}
