package lockingtest

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/internal/runctx"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/driver"
)

// bound is how long a thing may take that should happen at once.
const bound = 10 * time.Second

// RunService runs the cases that show what [locking.Service] promises over a
// provider, whichever it is. New returns a provider that has not been started; for
// a provider on a server the providers it returns share their locks.
func RunService(t *testing.T, newProvider func(t testing.TB) driver.Provider) {
	t.Helper()
	for _, c := range serviceCases() {
		t.Run(strings.ReplaceAll(c.rule, " ", "_"), func(t *testing.T) {
			t.Parallel()
			t.Log("rule:", c.rule)
			c.run(t, &bench{t: t, locks: newService(t, newProvider(t)), prefix: t.Name() + "/"})
		})
	}
}

// serviceCase is one rule and what shows it.
type serviceCase struct {
	rule string
	run  func(t *testing.T, b *bench)
}

func serviceCases() []serviceCase {
	var all []serviceCase
	for _, list := range [][]serviceCase{ownerCases(), handleCases(), waitCases(), executeCases(), scopeCases(), abandonCases(), deadlockErrorCases(), forcedCases(), endCases()} {
		all = append(all, list...)
	}
	return all
}

// bench is what a case works with: a service, and keys that no other case has.
type bench struct {
	t      *testing.T
	locks  *locking.Service
	prefix string
}

func newService(t testing.TB, p driver.Provider) *locking.Service {
	t.Helper()
	s, err := locking.New(context.Background(), locking.Config{
		Providers: []locking.Registration{{ID: "test", IsDefault: true, Provider: p}},
		Logger:    slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatalf("start the service: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Errorf("close the service: %v", err)
		}
	})
	return s
}

// key makes a name the case's own.
func (b *bench) key(name string) string { return b.prefix + name }

func (b *bench) keys(names ...string) []string {
	keys := make([]string, len(names))
	for i, n := range names {
		keys[i] = b.key(n)
	}
	return keys
}

// take acquires, and fails the test when that cannot be.
func (b *bench) take(ctx context.Context, keys []string, opts ...locking.TryOption) *locking.Lock {
	b.t.Helper()
	lock, err := b.locks.TryAcquire(ctx, keys, opts...)
	if err != nil {
		b.t.Fatalf("acquire %q: %v", keys, err)
	}
	return lock
}

// free fails the test unless the key is free.
func (b *bench) free(key string) {
	b.t.Helper()
	lock, err := b.locks.TryAcquire(context.Background(), []string{key})
	if err != nil {
		b.t.Fatalf("%q should be free: %v", key, err)
	}
	b.release(lock)
}

// held fails the test unless the key is held.
func (b *bench) held(key string) {
	b.t.Helper()
	lock, err := b.locks.TryAcquire(context.Background(), []string{key})
	if err == nil {
		b.release(lock)
		b.t.Fatalf("%q should be held, and was free", key)
	}
	if !errors.Is(err, locking.ErrNotAcquired) {
		b.t.Fatalf("%q should be held: %v", key, err)
	}
}

func (b *bench) release(lock *locking.Lock) {
	b.t.Helper()
	if err := lock.Release(context.Background()); err != nil {
		b.t.Fatalf("release: %v", err)
	}
}

// ends waits for the end of a context and returns its cause.
func (b *bench) ends(ctx context.Context) error {
	b.t.Helper()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(bound):
		b.t.Fatalf("the context goes on after %s", bound)
		return nil
	}
}

// want fails the test unless the error is the one expected.
func (b *bench) want(err, target error) {
	b.t.Helper()
	if !errors.Is(err, target) {
		b.t.Fatalf("got %v, want %v", err, target)
	}
}

// scope makes the context of an attempt of a step, as an engine would.
func (b *bench) execution(lease time.Duration) *runctx.Scope {
	return runctx.NewRoot("store", b.prefix, 1, lease)
}

func in(s *runctx.Scope) context.Context { return runctx.WithScope(context.Background(), s) }
