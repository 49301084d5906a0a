package lockingtest

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/internal/runctx"
	"github.com/lockstep-dev/lockstep/locking"
)

// scopeCases are about locks that belong to an execution.
func scopeCases() []serviceCase {
	bg := context.Background()
	return []serviceCase{
		{"inside a step the lock belongs to the execution", func(t *testing.T, b *bench) {
			step := b.execution(time.Minute).Attempt("reserve", 1)
			lock := b.take(in(step), b.keys("k"))
			if !strings.HasPrefix(lock.Owner(), "lockstep:") || lock.Owner() != holder(t, b, b.key("k")) {
				t.Fatalf("owner %q", lock.Owner())
			}
			b.release(lock)
			b.free(b.key("k"))
		}},
		{"what a step does not release stays for the steps that follow until the end", func(t *testing.T, b *bench) {
			run := b.execution(time.Minute)
			first := run.Attempt("first", 1)
			lock := b.take(in(first), b.keys("k"))
			first.End()
			b.held(b.key("k"))
			second := run.Attempt("second", 1)
			joined := b.take(in(second), b.keys("k"))
			if joined.Token(b.key("k")) != lock.Token(b.key("k")) {
				t.Fatalf("the later step has another token")
			}
			b.release(joined)
			second.End()
			b.held(b.key("k"))
			b.surrender(run)
			b.free(b.key("k"))
		}},
		{"a kept lock is renewed beyond its lease", func(_ *testing.T, b *bench) {
			run := b.execution(150 * time.Millisecond)
			step := run.Attempt("first", 1)
			b.take(in(step), b.keys("k"))
			step.End()
			_, err := b.locks.Acquire(bg, b.keys("k"), locking.Wait(750*time.Millisecond))
			b.want(err, locking.ErrTimeout)
			b.surrender(run)
			b.free(b.key("k"))
		}},
		{"a lock that nobody renews any more lapses within its lease", func(_ *testing.T, b *bench) {
			step := b.execution(200*time.Millisecond).Attempt("first", 1)
			lock := b.take(in(step), b.keys("k"), locking.Expire(100*time.Millisecond))
			b.want(b.ends(lock.Context()), locking.ErrLockLost)
			next, err := b.locks.Acquire(bg, b.keys("k"), locking.Wait(bound))
			b.want(err, nil)
			b.release(next)
		}},
		{"a retry takes over and the attempt before can do nothing with the lock", func(t *testing.T, b *bench) {
			run := b.execution(time.Minute)
			first := run.Attempt("reserve", 1)
			old := b.take(in(first), b.keys("k"))
			second := run.Attempt("reserve", 2)
			lock := b.take(in(second), b.keys("k"))
			b.want(b.ends(old.Context()), locking.ErrLockRevoked)
			if lock.Token(b.key("k")) <= old.Token(b.key("k")) {
				t.Fatal("the takeover has no new token")
			}
			b.want(old.Release(bg), locking.ErrLockRevoked)
			b.want(old.Extend(bg, time.Hour), locking.ErrLockRevoked)
			b.held(b.key("k"))
			_, err := b.locks.TryAcquire(in(first), b.keys("k"))
			b.want(err, locking.ErrLockRevoked)
			b.release(lock)
			b.free(b.key("k"))
		}},
		{"a retry takes over what the attempt before left to the sequence", func(t *testing.T, b *bench) {
			run := b.execution(time.Minute)
			first := run.Attempt("reserve", 1)
			old := b.take(in(first), b.keys("k"))
			first.End()
			second := run.Attempt("reserve", 2)
			lock := b.take(in(second), b.keys("k"))
			if lock.Token(b.key("k")) <= old.Token(b.key("k")) {
				t.Fatal("the retry has the token of the attempt before")
			}
			b.release(lock)
			b.free(b.key("k"))
		}},
		{"two scopes of one step exclude each other", func(_ *testing.T, b *bench) {
			step := b.execution(time.Minute).Attempt("reserve", 1)
			one, two := step.Child("one"), step.Child("two")
			lock := b.take(in(one), b.keys("k"))
			got := make(chan error, 1)
			go func() {
				next, err := b.locks.Acquire(in(two), b.keys("k"), locking.Wait(bound))
				if err == nil {
					err = next.Release(bg)
				}
				got <- err
			}()
			_, err := b.locks.TryAcquire(in(two), b.keys("k"))
			b.want(err, locking.ErrNotAcquired)
			b.release(lock)
			b.want(<-got, nil)
		}},
		{"scopes share what a scope around both holds", func(t *testing.T, b *bench) {
			step := b.execution(time.Minute).Attempt("reserve", 1)
			outer := b.take(in(step), b.keys("k"))
			one := b.take(in(step.Child("one")), b.keys("k"))
			two := b.take(in(step.Child("two")), b.keys("k"))
			if one.Token(b.key("k")) != outer.Token(b.key("k")) || two.Token(b.key("k")) != outer.Token(b.key("k")) {
				t.Fatal("the tokens differ")
			}
			b.release(one)
			b.release(two)
			b.held(b.key("k"))
			b.release(outer)
			b.free(b.key("k"))
		}},
		{"release by name in a step frees what an earlier step left and nothing of others", func(t *testing.T, b *bench) {
			run := b.execution(time.Minute)
			first := run.Attempt("acquire", 1)
			b.take(in(first), b.keys("k"))
			first.End()
			b.take(bg, b.keys("foreign"))
			second := run.Attempt("release", 1)
			if ok, err := b.locks.Release(in(second), b.keys("foreign")); ok || err != nil {
				t.Fatalf("a foreign lock: %t, %v", ok, err)
			}
			if ok, err := b.locks.Release(in(second), b.keys("k")); !ok || err != nil {
				t.Fatalf("its own: %t, %v", ok, err)
			}
			b.free(b.key("k"))
			b.held(b.key("foreign"))
		}},
		{"an attempt that has ended takes nothing and frees nothing", func(_ *testing.T, b *bench) {
			run := b.execution(time.Minute)
			step := run.Attempt("reserve", 1)
			lock := b.take(in(step), b.keys("k"))
			step.End()
			b.want(lock.Release(bg), nil)
			b.held(b.key("k"))
			_, err := b.locks.TryAcquire(in(step), b.keys("late"))
			b.want(err, runctx.ErrScopeEnded)
			b.free(b.key("late"))
			b.surrender(run)
		}},
		{"execute inside a step is the execution's and frees after the job", func(t *testing.T, b *bench) {
			step := b.execution(time.Minute).Attempt("reserve", 1)
			err := b.locks.Execute(in(step), b.keys("k"), func(context.Context) error {
				if owner := holder(t, b, b.key("k")); !strings.HasPrefix(owner, "lockstep:") {
					t.Errorf("owner %q", owner)
				}
				return nil
			})
			b.want(err, nil)
			b.free(b.key("k"))
		}},
		{"a named owner inside a step is outside the execution", func(_ *testing.T, b *bench) {
			run := b.execution(time.Minute)
			step := run.Attempt("reserve", 1)
			b.take(in(step), b.keys("k"), locking.WithOwner("me"))
			step.End()
			b.surrender(run)
			b.held(b.key("k"))
			_, err := b.locks.Release(bg, b.keys("k"), locking.WithOwner("me"))
			b.want(err, nil)
		}},
	}
}

// surrender ends an execution, as an engine would.
func (b *bench) surrender(run *runctx.Scope) {
	b.t.Helper()
	var errs []error
	for _, h := range run.Surrender() {
		_, err := h.Free(context.Background())
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		b.t.Fatalf("surrender: %v", err)
	}
}
