package locking

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lockstep-dev/lockstep/internal/runctx"
)

// ExecuteLease is the lease of [Service.Execute] outside executions, unless
// [Expire] names another.
const ExecuteLease = 60 * time.Second

// Execute runs the job while it holds all the keys. The job's context ends when
// a key is lost; Execute then returns an error that matches [ErrLockLost], even
// if the job returned nil.
//
// Outside executions the lock has an owner of its own and a lease of 60 s;
// inside a step it is the execution's, with the execution's lease. Either way it
// is renewed at a third of the lease for as long as the job runs. Two jobs of
// one step on one key do not exclude each other: a step is one owner.
//
// The errors of [Service.Acquire] are returned as they are, and the job has then
// not run. A job that panics has its keys released first; one that is nil is an
// [*InvalidError].
func (s *Service) Execute(ctx context.Context, keys []string, job func(ctx context.Context) error, opts ...ExecuteOption) error {
	if job == nil {
		return errNoJob()
	}
	_, err := Do(ctx, s, keys, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, job(ctx)
	}, opts...)
	return err
}

// Do is [Service.Execute] for a job that has a result. When the lock was lost the
// job's result is returned beside the error.
func Do[T any](ctx context.Context, s *Service, keys []string, job func(ctx context.Context) (T, error), opts ...ExecuteOption) (result T, err error) {
	if job == nil {
		return result, errNoJob()
	}
	lock, err := s.acquireForJob(ctx, keys, opts)
	if err != nil {
		return result, err
	}
	defer func() {
		lost := lock.lost()
		if e := lock.releaseAfterJob(ctx); lost == nil {
			lost = e
		}
		if lost != nil {
			err = errors.Join(err, fmt.Errorf("%w: %s at %s", lost, quoteKeys(lock.keys), lock.provider.id))
		}
	}()
	return job(lock.Context())
}

func errNoJob() error { return &InvalidError{"job", "nil", "a function to run"} }

func (s *Service) acquireForJob(ctx context.Context, keys []string, opts []ExecuteOption) (*Lock, error) {
	l, a, err := s.askForJob(ctx, keys, opts)
	if err != nil {
		return nil, err
	}
	return l.take(ctx, a)
}

// askForJob reads the options.
//
//go:noinline
func (s *Service) askForJob(ctx context.Context, keys []string, opts []ExecuteOption) (*Lock, *ask, error) {
	var o options
	for _, opt := range opts {
		o = opt.toExecute(o)
	}
	l, err := s.newLock(ctx, keys, &o)
	if err != nil {
		return nil, nil, err
	}
	lease := ExecuteLease
	if o.expireSet {
		lease = o.expire
	}
	if l.scope = runctx.ScopeFrom(ctx); l.scope != nil {
		lease = l.scope.Lease()
	} else {
		l.owner = jobOwner()
	}
	return l, l.ask(&o, leased(lease, o.maxHold, true)), nil
}

// lost returns why the lock is gone although nobody released it, or nil.
func (l *Lock) lost() error {
	if gone := l.gone(); gone != nil {
		return gone
	}
	for _, h := range l.shared {
		if cause := h.at.fate(h); cause != nil {
			return ErrLockLost
		}
	}
	return nil
}

// releaseAfterJob releases the lock, and tells only of its loss: a release that
// got no answer is logged, since the job's result stands and the lease ends.
func (l *Lock) releaseAfterJob(ctx context.Context) error {
	ctx, cancel := detached(ctx)
	defer cancel()
	err := l.Release(ctx)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrLockLost):
		return ErrLockLost
	case errors.Is(err, ErrLockRevoked):
		return ErrLockRevoked
	}
	l.provider.holds.log.Warn("locking: could not release the keys of a job; their lease ends by itself",
		"keys", l.keys, "provider", l.provider.id, "error", err)
	return nil
}
