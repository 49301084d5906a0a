package locking

import (
	"context"
	"errors"
	"fmt"

	"github.com/lockstep-dev/lockstep/container"
	"github.com/lockstep-dev/lockstep/internal/runctx"
)

// ErrNotHeld means that no guard around the step, and nothing else that encloses it,
// holds the key.
var ErrNotHeld = errors.New("locking: no scope around the step holds the key")

// Held returns a handle on a key that the execution holds around the step that asks,
// by a guard or from an earlier step: its context ends with the lock, and its token
// fences a write. It asks no server. Releasing the handle leaves the key with whoever
// holds it. It returns [ErrNotHeld] where nobody does, as outside executions.
func (s *Service) Held(ctx context.Context, key string, opts ...TryOption) (*Lock, error) {
	var o options
	for _, opt := range opts {
		o = opt.toTry(o)
	}
	l, err := s.newLock(ctx, []string{key}, &o)
	if err != nil {
		return nil, err
	}
	l.scope = runctx.ScopeFrom(ctx)
	if l.scope == nil {
		return nil, fmt.Errorf("%w: %s", ErrNotHeld, quoteShort(key))
	}
	l.owner = l.scope.Owner()
	if missing := l.share(); len(missing) > 0 {
		return nil, fmt.Errorf("%w: %s", ErrNotHeld, quoteShort(key))
	}
	return l, nil
}

// Held is [Service.Held] of the service that the engine's container offers.
func Held(ctx context.Context, key string, opts ...TryOption) (*Lock, error) {
	c, ok := container.FromContext(ctx)
	if !ok {
		return nil, fmt.Errorf("%w: %s", ErrNotHeld, quoteShort(key))
	}
	s, err := container.Resolve(c, ServiceKey)
	if err != nil {
		return nil, fmt.Errorf("locking: held %s: %w", quoteShort(key), err)
	}
	return s.Held(ctx, key, opts...)
}
