package locking

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/lockstep-dev/lockstep/internal/runctx"
	"github.com/lockstep-dev/lockstep/locking/driver"
)

// Acquire takes all the keys, or none of them, and waits for them if need be. The
// order of the keys means nothing, and each counts once.
//
// It returns [*TimeoutError] when the wait is used up, the context's error when
// the context ends first, [*DeadlockError] when waiting is no use, [ErrLockRevoked]
// when a later attempt of the same step has the lock, [*InvalidError] and [*UnknownProviderError] for what cannot be
// asked, and the provider's error when it gave no answer. In each of these cases
// nothing is held.
//
// Release the lock, or Close it in a defer. Inside a step a lock that is not
// released stays the execution's until it ends.
func (s *Service) Acquire(ctx context.Context, keys []string, opts ...AcquireOption) (*Lock, error) {
	var o options
	for _, opt := range opts {
		opt.toAcquire(&o)
	}
	return s.acquire(ctx, keys, &o, true)
}

// TryAcquire is [Service.Acquire] without the wait: it returns
// [*NotAcquiredError] when a key is held by somebody else.
func (s *Service) TryAcquire(ctx context.Context, keys []string, opts ...TryOption) (*Lock, error) {
	var o options
	for _, opt := range opts {
		opt.toTry(&o)
	}
	return s.acquire(ctx, keys, &o, false)
}

func (s *Service) acquire(ctx context.Context, keys []string, o *options, wait bool) (*Lock, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	p, err := s.provider(o.provider)
	if err != nil {
		return nil, err
	}
	sorted, err := s.normalize(keys)
	if err != nil {
		return nil, err
	}
	w := driver.NoWait
	if wait {
		w = p.wait(o)
	}
	if scope := runctx.ScopeFrom(ctx); scope != nil && !o.ownerSet {
		return p.acquireScoped(ctx, scope, sorted, leased(scope.Lease(), o.expire), w)
	}
	owner := driver.Anonymous
	if o.ownerSet {
		owner = o.owner
	}
	return p.acquireOwned(ctx, owner, sorted, fixed(o.expire), w)
}

// jobOwnerPrefix begins the owner of the locks of one job. Such an owner makes one
// request, and none that joins: providers may rely on that, too.
const jobOwnerPrefix = "execute:"

// jobOwner is an owner that nobody else has.
func jobOwner() string { return jobOwnerPrefix + uuid.NewString() }

// acquireOwned takes keys outside executions.
func (p *provider) acquireOwned(ctx context.Context, owner string, keys []string, t terms, wait time.Duration) (*Lock, error) {
	req := driver.Request{Keys: keys, Owner: owner, TTL: t.ttl, Wait: wait}
	held, err := p.request(ctx, req, t)
	if err != nil {
		return nil, err
	}
	return p.newLock(ctx, nil, owner, keys, held, nil), nil
}

// acquireScoped takes keys for a scope of an execution. What an enclosing scope
// has is shared without asking the server.
func (p *provider) acquireScoped(ctx context.Context, scope *runctx.Scope, keys []string, t terms, wait time.Duration) (*Lock, error) {
	var shared []runctx.Hold
	missing := make([]string, 0, len(keys))
	for _, k := range keys {
		if h, ok := scope.Shared(runctx.LockID{Provider: p.id, Key: k}); ok {
			shared = append(shared, h)
		} else {
			missing = append(missing, k)
		}
	}
	if len(missing) == 0 {
		if scope.Ended() {
			return nil, fmt.Errorf("locking: acquire %s at %s: %w", quoteKeys(keys), p.id, runctx.ErrScopeEnded)
		}
		return p.newLock(ctx, scope, scope.Owner(), keys, nil, shared), nil
	}
	epoch, attempt := scope.Generation()
	req := driver.Request{
		Keys: missing, Owner: scope.Owner(),
		Generation: driver.Generation{Epoch: epoch, Attempt: attempt},
		TTL:        t.ttl, Wait: wait,
	}
	held, err := p.request(ctx, req, t)
	if err != nil {
		return nil, err
	}
	for _, h := range held {
		if err := scope.Keep(h); err != nil {
			p.holds.giveBack(ctx, held)
			return nil, fmt.Errorf("locking: acquire %s at %s: %w", quoteKeys(keys), p.id, err)
		}
	}
	return p.newLock(ctx, scope, scope.Owner(), keys, held, shared), nil
}

// request asks the provider and puts its errors into this package's words.
func (p *provider) request(ctx context.Context, req driver.Request, t terms) ([]*hold, error) {
	start := time.Now()
	held, err := p.holds.acquire(ctx, req, t)
	var busy *driver.BusyError
	var circle *driver.DeadlockError
	switch {
	case err == nil:
		return held, nil
	case errors.As(err, &busy):
		return nil, &NotAcquiredError{Key: busy.Key, Holder: busy.Holder, Provider: p.id}
	case errors.As(err, &circle):
		return nil, &DeadlockError{Cycle: circle.Cycle, Provider: p.id}
	case errors.Is(err, driver.ErrTimeout):
		return nil, &TimeoutError{Keys: req.Keys, Waited: time.Since(start).Round(time.Millisecond), Provider: p.id}
	case errors.Is(err, driver.ErrRevoked):
		return nil, fmt.Errorf("%w: a later attempt has %s at %s", ErrLockRevoked, quoteKeys(req.Keys), p.id)
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return nil, fmt.Errorf("locking: acquire %s at %s: %w", quoteKeys(req.Keys), p.id, withCause(ctx, err))
	default:
		return nil, fmt.Errorf("locking: acquire %s at %s: %w", quoteKeys(req.Keys), p.id, err)
	}
}

// withCause returns the error of a context that ended, with the context's cause
// where that says more.
func withCause(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); !errors.Is(err, cause) {
		return errors.Join(err, cause)
	}
	return err
}

// newLock makes the handle. The keys are those of the holds together.
func (p *provider) newLock(ctx context.Context, scope *runctx.Scope, owner string, keys []string, own []*hold, shared []runctx.Hold) *Lock {
	l := &Lock{provider: p, scope: scope, owner: owner, keys: keys, own: own, shared: shared}
	l.tokens = make([]Token, len(keys))
	l.ctx, l.cancel = context.WithCancelCause(ctx)
	follow := func(key string, token Token, hctx context.Context) {
		if i, ok := slices.BinarySearch(keys, key); ok {
			l.tokens[i] = token
		}
		stop := context.AfterFunc(hctx, func() { l.cancel(context.Cause(hctx)) })
		l.unhook = append(l.unhook, stop)
	}
	for _, h := range own {
		follow(h.record.Key, h.record.Token, h.ctx)
	}
	for _, s := range shared {
		if h, ok := s.(*hold); ok {
			follow(h.record.Key, h.record.Token, h.ctx)
		}
	}
	return l
}
