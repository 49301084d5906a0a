package locksteps

import (
	"errors"
	"slices"
	"time"

	"github.com/lockstep-dev/lockstep/container"
	"github.com/lockstep-dev/lockstep/internal/runctx"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/steps"
)

// AcquireInput says what [Acquire] locks, and how.
type AcquireInput struct {
	// Keys are taken all or none. Without keys the step does nothing.
	Keys Keys
	// Timeout is how long to wait for keys that somebody else has. Zero is not at
	// all, as in core-flows.
	Timeout time.Duration
	// TTL bounds the life of the lock: it is renewed until the TTL has passed, and
	// lapses then, whether or not the execution has ended. Zero is without a bound.
	TTL time.Duration
	// Owner takes the lock out of the execution's hands, see [locking.WithOwner]: it
	// is the named owner's, is not renewed but lapses after the TTL, or never when
	// that is zero, and it stays when the execution ends. Compensation, or Release
	// with the same owner, gives it back, for everyone who shares the name.
	Owner string
	// Provider is the id of the provider, such as "lp_locking-redis"; empty is the
	// default one.
	Provider string
}

// Acquired is the output of [Acquire]: what the execution holds now.
type Acquired struct {
	// Keys are the keys of the input, sorted, each once.
	Keys Keys
	// Tokens are the fencing tokens of Keys, in their order.
	Tokens []locking.Token
}

// Token returns the fencing token of a key, for a later step to send along with
// its writes: a resource that refuses an older token than it has seen is safe from
// an execution that lost the lock without knowing. It is zero, which every fence
// refuses, for a key that was not acquired.
//
// A step that also wants a context which ends with the lock acquires the key
// itself: within the execution that joins, and costs no call to the server.
func (a Acquired) Token(key string) locking.Token {
	i, ok := slices.BinarySearch(a.Keys, key)
	if !ok || i >= len(a.Tokens) {
		return 0
	}
	return a.Tokens[i]
}

// taken is what compensation needs to know.
type taken struct {
	Keys     Keys
	Owner    string
	Provider string // as it was resolved: the default may be another one by then
}

// Acquire takes the keys for the execution, and leaves them taken. What an earlier
// step of the execution has it shares; what an earlier attempt of this step took
// it takes over, with a new token.
//
// When somebody else has a key it fails with [*locking.NotAcquiredError], or with
// [*locking.TimeoutError] after a Timeout; nothing is held then. Input that cannot
// be fails with [*locking.InvalidError] or [*locking.UnknownProviderError], and is
// not tried again.
//
// Compensation gives back what this step took, once everything behind it has been
// undone. What it shared, what was given back before, and what lapsed and went to
// somebody else is left alone.
var Acquire = steps.NewReversible("acquire-lock-step", acquire, giveBack)

func acquire(ctx *steps.Context, in AcquireInput) (out Acquired, undo taken, err error) {
	if len(in.Keys) == 0 {
		return out, undo, nil
	}
	if err := in.check(); err != nil {
		return out, undo, steps.Permanent(err)
	}
	locks, err := container.Resolve(ctx, locking.ServiceKey)
	if err != nil {
		return out, undo, err
	}
	lock, err := in.take(ctx, locks)
	if err != nil {
		return out, undo, judged(err)
	}
	out.Keys = lock.Keys()
	for _, k := range out.Keys {
		out.Tokens = append(out.Tokens, lock.Token(k))
	}
	return out, taken{Keys: out.Keys, Owner: in.Owner, Provider: providerID(locks, in.Provider)}, nil
}

// check refuses what package locking would refuse under another name, or not at
// all.
func (in *AcquireInput) check() error {
	switch {
	case in.Timeout < 0:
		return &locking.InvalidError{Argument: "AcquireInput.Timeout", Value: in.Timeout.String(), Expected: "zero, for no wait, or more"}
	case in.TTL != 0 && in.TTL < time.Millisecond:
		return &locking.InvalidError{Argument: "AcquireInput.TTL", Value: in.TTL.String(), Expected: "zero, for no bound, or at least 1ms"}
	}
	return nil
}

// take acquires the keys. The handle is left open: what it stands for is the
// execution's once the attempt has ended.
func (in *AcquireInput) take(ctx *steps.Context, locks *locking.Service) (*locking.Lock, error) {
	try := []locking.TryOption{locking.WithProvider(in.Provider)}
	wait := []locking.AcquireOption{locking.WithProvider(in.Provider), locking.Wait(in.Timeout)}
	if in.TTL != 0 {
		ttl := locking.Expire(in.TTL)
		try, wait = append(try, ttl), append(wait, ttl)
	}
	if in.Owner != "" {
		owner := locking.WithOwner(in.Owner)
		try, wait = append(try, owner), append(wait, owner)
	}
	if in.Timeout == 0 {
		return locks.TryAcquire(ctx, in.Keys, try...)
	}
	return locks.Acquire(ctx, in.Keys, wait...)
}

// giveBack is the compensation of [Acquire].
func giveBack(ctx *steps.Context, t taken) error {
	if len(t.Keys) == 0 {
		return nil
	}
	locks, err := container.Resolve(ctx, locking.ServiceKey)
	if err != nil {
		return err
	}
	opts := []locking.ReleaseOption{locking.WithProvider(t.Provider)}
	keys := t.Keys
	if t.Owner != "" {
		opts = append(opts, locking.WithOwner(t.Owner))
	} else if keys = t.own(runctx.ScopeFrom(ctx)); len(keys) == 0 {
		return nil
	}
	_, err = locks.Release(ctx, keys, opts...)
	return err
}

// own returns the keys that the execution has by this step. A release by name
// would free those as well that an earlier step took and this one only shared.
func (t taken) own(scope *runctx.Scope) Keys {
	var own Keys
	for _, k := range t.Keys {
		h, kept := scope.Releasable(runctx.LockID{Provider: t.Provider, Key: k})
		if kept && h.Record().Owner == scope.Owner() {
			own = append(own, k)
		}
	}
	return own
}

func providerID(locks *locking.Service, id string) string {
	if id == "" {
		return locks.DefaultProvider()
	}
	return id
}

// judged marks an error that no further attempt would mend.
func judged(err error) error {
	if errors.Is(err, locking.ErrInvalid) || errors.Is(err, locking.ErrUnknownProvider) {
		return steps.Permanent(err)
	}
	return err
}
