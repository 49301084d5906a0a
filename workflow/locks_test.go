package workflow_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/container"
	"github.com/lockstep-dev/lockstep/internal/runctx"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/workflow"
)

// take acquires a key by the service that the step's container has.
func take(ctx *steps.Context, key string) (*locking.Lock, error) {
	return takeUnder(ctx, ctx, key)
}

func takeUnder(ctx context.Context, from container.Resolver, key string) (*locking.Lock, error) {
	locks, err := locksOf(from)
	if err != nil {
		return nil, err
	}
	return locks.Acquire(ctx, locking.Keys(key))
}

func locksOf(from container.Resolver) (*locking.Service, error) {
	return container.Resolve(from, locking.ServiceKey)
}

// taking is a step that takes "k", tells of the lock, and does not release it.
func taking(name string, tell func(ctx *steps.Context, lock *locking.Lock) error, opts ...steps.Option) text {
	return body(&journal{}, name, func(ctx *steps.Context) error {
		lock, err := take(ctx, "k")
		if err != nil {
			return err
		}
		return tell(ctx, lock)
	}, opts...)
}

func keep(*steps.Context, *locking.Lock) error { return nil }

// free tells whether nobody has "k".
func (r *rig) free(t *testing.T) bool {
	t.Helper()
	lock, err := r.locks.TryAcquire(t.Context(), locking.Keys("k"), locking.WithOwner("probe"))
	if err != nil {
		if !errors.Is(err, locking.ErrNotAcquired) {
			t.Error(err)
		}
		return false
	}
	if err := lock.Release(t.Context()); err != nil {
		t.Error(err)
	}
	return true
}

func TestLockedImmediateRetryReentersWithAHigherTokenAndTheOlderHandleIsRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var locks []*locking.Lock
		var r *rig
		w := inTurn(taking("s", func(ctx *steps.Context, lock *locking.Lock) error {
			locks = append(locks, lock)
			if ctx.Attempt() == 1 {
				return errBoom
			}
			if err := locks[0].Release(context.WithoutCancel(ctx)); err == nil {
				t.Error("the revoked handle was released without an error")
			}
			if r.free(t) {
				t.Error("the revoked handle freed the lock")
			}
			return nil
		}, steps.Retry(steps.RetryPolicy{MaxAttempts: 2})))
		r = start(t, workflow.Config{Workflows: workflow.Set{w}})
		if _, err := workflow.Run(t.Context(), r.Engine, w, "-"); err != nil {
			t.Fatal(err)
		}
		if a, b := locks[0].Token("k"), locks[1].Token("k"); b <= a || a == 0 {
			t.Errorf("tokens %d, then %d", a, b)
		}
		if locks[0].Owner() != locks[1].Owner() {
			t.Error("owners differ:", locks[0].Owner(), locks[1].Owner())
		}
	})
}

func TestLockedRevokedHandlesContextTellsOfTheRevocation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cause error
		let := make(chan struct{})
		told := make(chan struct{})
		s := taking("s", func(ctx *steps.Context, lock *locking.Lock) error {
			if ctx.Attempt() == 2 {
				close(let)
				<-told
				return nil
			}
			detached, err := takeUnder(context.WithoutCancel(ctx), ctx, "k") // the same hold, under a context that does not end
			if err != nil {
				return err
			}
			<-let
			<-detached.Context().Done()
			cause = context.Cause(detached.Context())
			close(told)
			return nil
		}, steps.Timeout(time.Second), steps.Retry(steps.RetryPolicy{MaxAttempts: 2}))
		if _, _, err := runs(t, inTurn(s)); err != nil {
			t.Fatal(err)
		}
		if !errors.Is(cause, locking.ErrLockRevoked) {
			t.Error("cause:", cause)
		}
	})
}

func TestLockedZombieAttemptIsRefusedAndLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		let, done := make(chan struct{}), make(chan struct{})
		var r *rig
		var late, lateOther error
		s := body(&journal{}, "s", func(ctx *steps.Context) error {
			defer close(done)
			<-let
			zombie := context.WithoutCancel(ctx)
			_, late = takeUnder(zombie, ctx, "k")
			_, lateOther = takeUnder(ctx, ctx, "k")
			return nil
		}, steps.Timeout(time.Second))
		w := inTurn(s)
		r = start(t, workflow.Config{Workflows: workflow.Set{w}})
		if _, err := workflow.Run(t.Context(), r.Engine, w, "-"); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		close(let)
		<-done
		if late == nil || lateOther == nil {
			t.Error("a zombie got a lock:", late, lateOther)
		}
		if !r.free(t) {
			t.Error("a zombie left a lock behind")
		}
	})
}

func TestLockedZombieIsRefusedWhileALaterAttemptHasTheLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		let, done := make(chan struct{}), make(chan struct{})
		var late error
		s := steps.New("s", func(ctx *steps.Context, _ string) (string, error) {
			if ctx.Attempt() == 1 {
				<-let
				_, late = takeUnder(context.WithoutCancel(ctx), ctx, "k")
				close(done)
				return "", nil
			}
			lock, err := take(ctx, "k")
			if err != nil {
				return "", err
			}
			close(let)
			<-done
			return "", lock.Release(ctx)
		}, steps.Timeout(time.Second), steps.Retry(steps.RetryPolicy{MaxAttempts: 2}))
		_, _, err := runs(t, inTurn(s))
		if err != nil || late == nil {
			t.Error(err, late)
		}
	})
}

func TestLockedDelayedRetryGivesItsLockBackMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tokens []locking.Token
		w := inTurn(taking("s", func(ctx *steps.Context, lock *locking.Lock) error {
			tokens = append(tokens, lock.Token("k"))
			if ctx.Attempt() == 1 {
				return errBoom
			}
			return nil
		}, steps.Retry(steps.RetryPolicy{MaxAttempts: 2, Backoff: 10 * time.Second})))
		r := start(t, workflow.Config{Workflows: workflow.Set{w}})
		h := begin(t, r, w, "-")
		synctest.Wait()
		between, err := r.locks.TryAcquire(t.Context(), locking.Keys("k"), locking.WithOwner("other"))
		if err != nil {
			t.Fatal("the lock was not given back:", err)
		}
		time.Sleep(5 * time.Second)
		if err := between.Release(t.Context()); err != nil {
			t.Error(err)
		}
		if _, err := h.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(tokens) != 2 || tokens[0] >= between.Token("k") || between.Token("k") >= tokens[1] {
			t.Errorf("tokens %v, between %d", tokens, between.Token("k"))
		}
	})
}

func TestLockedLaterStepJoinsWithTheSameTokenAndItsReleaseLeavesTheLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tokens []locking.Token
		var r *rig
		note := func(_ *steps.Context, lock *locking.Lock) error {
			tokens = append(tokens, lock.Token("k"))
			return nil
		}
		w := inTurn(taking("first", note), taking("second", func(ctx *steps.Context, lock *locking.Lock) error {
			tokens = append(tokens, lock.Token("k"))
			if err := lock.Release(ctx); err != nil {
				t.Error(err)
			}
			if r.free(t) {
				t.Error("the release of a joined lock freed it")
			}
			return nil
		}), taking("third", note))
		r = start(t, workflow.Config{Workflows: workflow.Set{w}})
		if _, err := workflow.Run(t.Context(), r.Engine, w, "-"); err != nil {
			t.Fatal(err)
		}
		if len(tokens) != 3 || tokens[0] != tokens[1] || tokens[1] != tokens[2] || tokens[0] == 0 {
			t.Error("tokens", tokens)
		}
	})
}

func TestLockedReleaseInTheStepThatTookItFreesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r *rig
		w := inTurn(taking("s", func(ctx *steps.Context, lock *locking.Lock) error {
			if err := lock.Release(ctx); err != nil {
				return err
			}
			if !r.free(t) {
				t.Error("not free")
			}
			return nil
		}))
		r = start(t, workflow.Config{Workflows: workflow.Set{w}})
		if _, err := workflow.Run(t.Context(), r.Engine, w, "-"); err != nil {
			t.Error(err)
		}
	})
}

func TestLockedUnreleasedLockIsRenewedBeyondItsLeaseForTheStepsThatFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var held *locking.Lock
		var r *rig
		w := inTurn(taking("take", func(_ *steps.Context, lock *locking.Lock) error { held = lock; return nil }),
			body(&journal{}, "long", func(*steps.Context) error {
				for range 20 {
					time.Sleep(time.Second) // virtual
					if r.free(t) {
						t.Error("the lock lapsed")
					}
				}
				return nil
			}))
		r = start(t, workflow.Config{Workflows: workflow.Set{w}, LockLease: 3 * time.Second, Lease: 500 * time.Millisecond})
		h := begin(t, r, w, "-", workflow.WithExecutionID("x"))
		time.Sleep(10*time.Second + time.Millisecond)
		s, err := h.Status(t.Context())
		if err != nil || len(s.Locks) != 1 || s.Locks[0].Key != "k" || s.Locks[0].Token != uint64(held.Token("k")) {
			t.Errorf("recorded locks %+v, %v", s.Locks, err)
		}
		if _, err := h.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !r.free(t) {
			t.Error("held after the end")
		}
		if s, _ := h.Status(t.Context()); len(s.Locks) != 0 {
			t.Errorf("recorded after the end: %+v", s.Locks)
		}
	})
}

func TestLockedExpireBoundsTheRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r *rig
		w := inTurn(body(&journal{}, "s", func(ctx *steps.Context) error {
			locks := container.MustResolve(ctx, locking.ServiceKey)
			if _, err := locks.Acquire(ctx, locking.Keys("k"), locking.Expire(10*time.Second)); err != nil {
				return err
			}
			time.Sleep(9900 * time.Millisecond)
			if r.free(t) {
				t.Error("lapsed too soon")
			}
			time.Sleep(200 * time.Millisecond)
			if !r.free(t) {
				t.Error("lives too long")
			}
			return nil
		}))
		r = start(t, workflow.Config{Workflows: workflow.Set{w}, LockLease: 3 * time.Second, Lease: 500 * time.Millisecond})
		if _, err := workflow.Run(t.Context(), r.Engine, w, "-"); err != nil {
			t.Error(err)
		}
	})
}

func TestLockedLocksOfTwoChildScopesExcludeEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inside, most := 0, 0
		w := inTurn(body(&journal{}, "s", func(ctx *steps.Context) error {
			errs := make(chan error, 2)
			for _, name := range []string{"one", "two"} {
				scoped := runctx.WithScope(ctx, runctx.ScopeFrom(ctx).Child(name))
				go func() {
					lock, err := takeUnder(scoped, ctx, "k")
					if err != nil {
						errs <- err
						return
					}
					inside++ // the race detector watches over this, too
					most = max(most, inside)
					time.Sleep(time.Second)
					inside--
					errs <- lock.Release(scoped)
				}()
			}
			return errors.Join(<-errs, <-errs)
		}))
		zero := time.Now()
		_, _, err := runs(t, w)
		if err != nil || most != 1 || time.Since(zero) != 2*time.Second {
			t.Error(err, most, time.Since(zero))
		}
	})
}

func TestLockedChildScopesShareWhatTheStepHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := inTurn(taking("s", func(ctx *steps.Context, lock *locking.Lock) error {
			for _, name := range []string{"one", "two"} {
				scoped := runctx.WithScope(ctx, runctx.ScopeFrom(ctx).Child(name))
				inner, err := takeUnder(scoped, ctx, "k")
				if err != nil || inner.Token("k") != lock.Token("k") {
					t.Error(name, err)
				}
			}
			return nil
		}))
		if _, _, err := runs(t, w); err != nil {
			t.Error(err)
		}
	})
}
