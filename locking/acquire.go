package locking

import (
	"context"
	"errors"
	"fmt"
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
	l, a, err := s.askToAcquire(ctx, keys, opts)
	if err != nil {
		return nil, err
	}
	return l.take(ctx, a)
}

// TryAcquire is [Service.Acquire] without the wait: it returns
// [*NotAcquiredError] when a key is held by somebody else.
func (s *Service) TryAcquire(ctx context.Context, keys []string, opts ...TryOption) (*Lock, error) {
	var o options
	for _, opt := range opts {
		o = opt.toTry(o)
	}
	l, a, err := s.ask(ctx, keys, &o)
	if err != nil {
		return nil, err
	}
	a.wait = driver.NoWait
	return l.take(ctx, a)
}

// ask is what a handle that is being made has to ask for. It is on the stack of
// those who wait, of whom there may be many.
type ask struct {
	missing []string // the keys that no enclosing scope has
	terms   terms
	wait    time.Duration
	more    *wanted // nil where nothing more is wanted
}

// wanted is what few want of a lock.
type wanted struct {
	before time.Duration
	warn   func(left time.Duration)
}

// askToAcquire reads the options, on a stack that those who wait don't keep.
//
//go:noinline
func (s *Service) askToAcquire(ctx context.Context, keys []string, opts []AcquireOption) (*Lock, ask, error) {
	var o options
	for _, opt := range opts {
		o = opt.toAcquire(o)
	}
	return s.ask(ctx, keys, &o)
}

// ask makes a handle and what to ask for.
func (s *Service) ask(ctx context.Context, keys []string, o *options) (*Lock, ask, error) {
	l, err := s.newLock(ctx, keys, o)
	if err != nil {
		return nil, ask{}, err
	}
	a := ask{missing: l.keys, wait: l.provider.wait(o), more: o.more()}
	if scope := runctx.ScopeFrom(ctx); scope != nil && !o.ownerSet {
		most, maximum := o.most()
		l.inScope(scope, &a)
		a.terms = leased(scope.Lease(), most, maximum)
		return l, a, nil
	}
	if l.owner = driver.Anonymous; o.ownerSet {
		l.owner = o.owner
	}
	most, _ := o.most()
	a.terms = fixed(most)
	return l, a, nil
}

// newLock checks the arguments of a call, and makes a handle that holds nothing.
func (s *Service) newLock(ctx context.Context, keys []string, o *options) (*Lock, error) {
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
	return &Lock{provider: p, keys: sorted, parent: ctx}, nil
}

// jobOwnerPrefix begins the owner of the locks of one job. Such an owner makes one
// request, and none that joins: providers may rely on that, too.
const jobOwnerPrefix = "execute:"

// jobOwner is an owner that nobody else has.
func jobOwner() string { return jobOwnerPrefix + uuid.NewString() }

// inScope makes the handle a scope's. What an enclosing scope has is shared without
// asking the server.
func (l *Lock) inScope(scope *runctx.Scope, a *ask) {
	l.scope, l.owner = scope, scope.Owner()
	a.missing = make([]string, 0, len(l.keys))
	for _, k := range l.keys {
		kept, ok := scope.Shared(runctx.LockID{Provider: l.provider.id, Key: k})
		if h, ours := kept.(*hold); ok && ours && h.at == l.provider.holds {
			l.shared = append(l.shared, h)
		} else {
			a.missing = append(a.missing, k)
		}
	}
}

// take takes what is missing, and makes the handle whole.
func (l *Lock) take(ctx context.Context, a ask) (*Lock, error) {
	var err error
	switch {
	case len(a.missing) > 0:
		l.own, err = l.request(ctx, &a)
	case l.scope.Ended():
		err = l.scopeEnded()
	}
	if err == nil && l.scope != nil {
		err = l.keep(ctx)
	}
	if err != nil {
		return nil, err
	}
	if a.more != nil {
		l.warnBefore(a.more.before, a.more.warn)
	}
	return l, nil
}

// keep makes the scope the keeper of what was taken.
func (l *Lock) keep(ctx context.Context) error {
	for _, h := range l.own {
		if err := l.scope.Keep(h); err != nil {
			l.provider.holds.giveBack(ctx, l.own)
			return l.scopeEnded()
		}
	}
	return nil
}

func (l *Lock) scopeEnded() error {
	return fmt.Errorf("locking: acquire %s at %s: %w", quoteKeys(l.keys), l.provider.id, runctx.ErrScopeEnded)
}

// request asks the provider.
func (l *Lock) request(ctx context.Context, a *ask) ([]*hold, error) {
	req := driver.Request{Keys: a.missing, Owner: l.owner, TTL: a.terms.ttl, Wait: a.wait}
	if l.scope != nil {
		req.Generation.Epoch, req.Generation.Attempt = l.scope.Generation()
	}
	start := time.Now()
	held, err := l.provider.holds.acquire(ctx, &req, &a.terms)
	if err != nil {
		return nil, l.provider.explain(ctx, a.missing, time.Since(start), err)
	}
	return held, nil
}

// explain puts the provider's errors into this package's words.
func (p *provider) explain(ctx context.Context, keys []string, waited time.Duration, err error) error {
	var busy *driver.BusyError
	var circle *driver.DeadlockError
	switch {
	case errors.As(err, &busy):
		return &NotAcquiredError{Key: busy.Key, Holder: busy.Holder, Provider: p.id}
	case errors.As(err, &circle):
		return &DeadlockError{Cycle: circle.Cycle, Provider: p.id}
	case errors.Is(err, driver.ErrTimeout):
		return &TimeoutError{Keys: keys, Waited: waited.Round(time.Millisecond), Provider: p.id}
	case errors.Is(err, driver.ErrRevoked):
		return fmt.Errorf("%w: a later attempt has %s at %s", ErrLockRevoked, quoteKeys(keys), p.id)
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return fmt.Errorf("locking: acquire %s at %s: %w", quoteKeys(keys), p.id, withCause(ctx, err))
	default:
		return fmt.Errorf("locking: acquire %s at %s: %w", quoteKeys(keys), p.id, err)
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
