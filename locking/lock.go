package locking

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lockstep-dev/lockstep/internal/runctx"
	"github.com/lockstep-dev/lockstep/locking/driver"
)

// Token is a fencing token: the tokens of one key strictly rise. A resource that
// remembers the highest token it has seen, and refuses writes with a lower one,
// is safe from a holder that was paused past the end of its lock.
type Token = driver.Token

// Lock is a handle on keys that are held. Its methods may be called
// concurrently.
type Lock struct {
	provider *provider
	scope    *runctx.Scope // nil outside executions
	owner    string
	keys     []string
	own      []*hold         // what this handle counts for, sorted by key
	shared   []*hold         // what an enclosing scope keeps, sorted by key
	parent   context.Context //nolint:containedctx // what the lock's context is made of

	watch    *watch // guarded by holds.mu; nil: nobody asked for it
	finished bool   // guarded by holds.mu: the handle counts for nothing any more

	key  [1]string // where keys is, if it is one
	hold [1]*hold  // and own

	mu       sync.Mutex
	released bool // the handles are no longer counted
	freed    bool // and the provider has answered
}

// Keys returns the keys of the lock, sorted, each once.
func (l *Lock) Keys() []string { return slices.Clone(l.keys) }

// Owner returns the owner that the provider knows. For keys which an enclosing
// scope of the execution holds, that is the owner this scope would have had.
func (l *Lock) Owner() string { return l.owner }

// Token returns the fencing token of a key, or zero, which every fence refuses,
// when the key is not one of the lock's.
func (l *Lock) Token(key string) Token {
	l.look()
	for _, list := range [2][]*hold{l.own, l.shared} {
		i, ok := slices.BinarySearchFunc(list, key, func(h *hold, key string) int { return strings.Compare(h.record.Key, key) })
		if ok {
			return list[i].record.Token
		}
	}
	return 0
}

// Release gives the lock back. Keys that other handles of the same owner share,
// or that an enclosing scope of the execution holds, stay taken until those let
// go.
//
// It returns [ErrLockLost] or [ErrLockRevoked] when the lock was gone before,
// and the provider's error when it gave no answer; Release may then be called
// again. A released lock is released again without an error. A handle that
// outlives its step's attempt releases nothing: the lock is its execution's.
func (l *Lock) Release(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.freed {
		return nil
	}
	gone := l.gone()
	if l.scope != nil && l.scope.Ended() {
		l.finish()
		return gone
	}
	byName := l.freedByName()
	there, err := l.giveBack(ctx)
	if err != nil {
		return fmt.Errorf("locking: release %s at %s: %w", quoteKeys(l.keys), l.provider.id, err)
	}
	l.finish()
	if gone == nil && !there && !byName {
		gone = ErrLockLost
	}
	if gone != nil {
		return fmt.Errorf("%w: %s at %s", gone, quoteKeys(l.keys), l.provider.id)
	}
	return nil
}

// giveBack requires l.mu. It answers false when a key was gone.
func (l *Lock) giveBack(ctx context.Context) (bool, error) {
	var freed []*hold
	var there bool
	var err error
	if l.released { // and there was no answer
		var answers []bool
		freed = l.provider.holds.unshared(l.own)
		answers, err = l.provider.holds.freeAll(ctx, freed)
		there = all(answers)
	} else {
		l.released = true
		freed, there, err = l.provider.holds.release(ctx, l.own)
	}
	if err != nil {
		return false, err
	}
	if l.scope != nil {
		for _, h := range freed {
			l.scope.Forget(h)
		}
	}
	return there, nil
}

// finish requires l.mu.
func (l *Lock) finish() {
	l.freed = true
	hs := l.provider.holds
	var cancel context.CancelCauseFunc
	hs.mu.Lock()
	l.finished = true
	if w := l.watch; w != nil {
		w.close()
		cancel = w.cancel
	}
	hs.mu.Unlock()
	if cancel != nil {
		cancel(ErrLockReleased)
	}
}

// gone returns why the lock ended before it was released, or nil.
func (l *Lock) gone() error {
	l.look()
	hs := l.provider.holds
	hs.mu.Lock()
	defer hs.mu.Unlock()
	for _, h := range l.own {
		if h.cause != nil && h.cause != ErrLockReleased { //nolint:errorlint // it is set as such
			return h.cause
		}
	}
	return nil
}

// freedByName says that a key was given back by [Service.Release] or
// [Service.ReleaseAll] before.
func (l *Lock) freedByName() bool {
	hs := l.provider.holds
	hs.mu.Lock()
	defer hs.mu.Unlock()
	return !l.released && slices.ContainsFunc(l.own, func(h *hold) bool {
		return h.cause == ErrLockReleased //nolint:errorlint // it is set as such
	})
}

// Close is Release for a defer: it does not mind that ctx has ended, takes at
// most 5 s, and reports what goes wrong to the service's log. Closing a lock
// that was lost is no error: its context has told so.
func (l *Lock) Close() {
	ctx, cancel := detached(l.parent)
	defer cancel()
	err := l.Release(ctx)
	if err != nil && !errors.Is(err, ErrLockLost) && !errors.Is(err, ErrLockRevoked) && !errors.Is(err, ErrClosed) {
		l.provider.holds.log.Warn("locking: could not release a lock", "keys", l.keys, "provider", l.provider.id, "error", err)
	}
}

// Extend makes the lock live at least until d from now. It never shortens it,
// and does nothing to a lock without expiry, to one that is renewed, or to keys
// that an enclosing scope holds. It returns [ErrLockLost] or [ErrLockRevoked] when a
// key is gone; the lock's context has then ended.
func (l *Lock) Extend(ctx context.Context, d time.Duration) error {
	if d < time.Millisecond {
		return &InvalidError{"Extend", d.String(), "at least 1ms"}
	}
	if len(l.own) == 0 {
		return nil
	}
	if gone := l.gone(); gone != nil {
		return fmt.Errorf("%w: %s at %s", gone, quoteKeys(l.keys), l.provider.id)
	}
	held, err := l.provider.holds.extend(ctx, d, l.own)
	if err != nil {
		return fmt.Errorf("locking: extend %s at %s: %w", quoteKeys(l.keys), l.provider.id, err)
	}
	if !held {
		return fmt.Errorf("%w: %s at %s", cmp.Or(l.gone(), ErrLockLost), quoteKeys(l.keys), l.provider.id)
	}
	return nil
}
