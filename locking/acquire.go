package locking

import (
	"context"
	"errors"
	"fmt"
	"sync"
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
	l, a, err := s.prepare(ctx, keys, &o)
	if err != nil {
		return nil, err
	}
	a.req.Wait = driver.NoWait
	return l.take(ctx, a)
}

// askToAcquire reads the options.
//
//go:noinline
func (s *Service) askToAcquire(ctx context.Context, keys []string, opts []AcquireOption) (*Lock, *ask, error) {
	var o options
	for _, opt := range opts {
		o = opt.toAcquire(o)
	}
	return s.prepare(ctx, keys, &o)
}

// prepare makes a handle that holds nothing, and what it has to ask for.
func (s *Service) prepare(ctx context.Context, keys []string, o *options) (*Lock, *ask, error) {
	l, err := s.newLock(ctx, keys, o)
	if err != nil {
		return nil, nil, err
	}
	most, maximum := o.most()
	if scope := runctx.ScopeFrom(ctx); scope != nil && !o.ownerSet {
		l.scope = scope
		return l, l.ask(o, leased(scope.Lease(), most, maximum)), nil
	}
	if l.owner = driver.Anonymous; o.ownerSet {
		l.owner = o.owner
	}
	return l, l.ask(o, fixed(most)), nil
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
	l := &Lock{provider: p, parent: ctx}
	if l.keys, err = s.normalize(l.key[:], keys); err != nil {
		return nil, err
	}
	return l, nil
}

// jobOwnerPrefix begins the owner of the locks of one job. Such an owner makes one
// request, and none that joins: providers may rely on that, too.
const jobOwnerPrefix = "execute:"

// jobOwner is an owner that nobody else has.
func jobOwner() string { return jobOwnerPrefix + uuid.NewString() }

// ask is what a handle that is being made has to ask for. It is not on the stack of
// those who wait, since there may be many.
type ask struct {
	req   driver.Request
	terms terms
	start time.Time
	sight uint32 // what holds.sight was when it was announced

	before time.Duration // zero: no warning is wanted
	warn   func(left time.Duration)
}

var asks = sync.Pool{New: func() any { return new(ask) }}

// done gives the memory back.
func (a *ask) done() {
	*a = ask{}
	asks.Put(a)
}

// ask says what to ask for. What an enclosing scope has is shared without asking the
// provider.
func (l *Lock) ask(o *options, t terms) *ask {
	a, ok := asks.Get().(*ask)
	if !ok {
		a = new(ask)
	}
	a.terms, a.before, a.warn = t, o.warnBefore, o.warn
	missing := l.keys
	if l.scope != nil {
		l.owner = l.scope.Owner()
		a.req.Generation.Epoch, a.req.Generation.Attempt = l.scope.Generation()
		missing = l.share()
	}
	a.req.Keys, a.req.Owner, a.req.TTL, a.req.Wait = missing, l.owner, t.ttl, l.provider.wait(o)
	return a
}

// share notes what an enclosing scope has, and returns what none has.
func (l *Lock) share() (missing []string) {
	missing = make([]string, 0, len(l.keys))
	for _, k := range l.keys {
		kept, ok := l.scope.Shared(runctx.LockID{Provider: l.provider.id, Key: k})
		if h, ours := kept.(*hold); ok && ours && h.at == l.provider.holds {
			l.shared = append(l.shared, h)
		} else {
			missing = append(missing, k)
		}
	}
	return missing
}

// take takes what is missing, and makes the handle whole. Those who wait do it in
// the provider, under this frame, which is why it does nothing else.
func (l *Lock) take(ctx context.Context, a *ask) (*Lock, error) {
	if err := l.begin(a); err != nil {
		return nil, err
	}
	if len(a.req.Keys) == 0 {
		return l.whole(ctx, a, nil)
	}
	if !l.provider.asked.Load() {
		l.provider.asked.Store(true)
	}
	grant, err := l.provider.driver.Acquire(ctx, a.req)
	return l.taken(ctx, a, grant, err)
}

// begin announces the request.
//
//go:noinline
func (l *Lock) begin(a *ask) error {
	a.start = time.Now()
	err := l.provider.holds.expect(a)
	if err == nil && len(a.req.Keys) == 0 && l.scope.Ended() {
		err = l.scopeEnded()
	}
	if err != nil {
		a.done()
	}
	return err
}

// taken acts on the provider's answer.
//
//go:noinline
func (l *Lock) taken(ctx context.Context, a *ask, grant driver.Grant, err error) (*Lock, error) {
	hs := l.provider.holds
	if err == nil {
		l.own, err = hs.accept(ctx, a, grant, l.hold[:])
	}
	hs.settle(&a.req)
	if err != nil {
		err = l.provider.explain(ctx, a.req.Keys, time.Since(a.start), err)
	}
	return l.whole(ctx, a, err)
}

// whole ends the making of a handle.
func (l *Lock) whole(ctx context.Context, a *ask, err error) (*Lock, error) {
	defer a.done()
	if err == nil && l.scope != nil {
		err = l.keep(ctx)
	}
	if err != nil {
		return nil, err
	}
	if a.warn != nil {
		l.warnBefore(a.before, a.warn)
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
