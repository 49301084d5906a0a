package workflow_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/container"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/workflow"
)

func TestLockedUnreleasedLockIsFreedAtTheEndOfASuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _, err := runs(t, inTurn(taking("s", keep)))
		if err != nil || !r.free(t) {
			t.Error("held after the end", err)
		}
	})
}

func TestLockedUnreleasedLockIsFreedAtTheEndOfAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _, err := runs(t, inTurn(taking("s", keep), failing(&journal{}, "f", errBoom)))
		if !errors.Is(err, errBoom) || !r.free(t) {
			t.Error("held after the end", err)
		}
	})
}

func TestLockedLockOfAFailedAttemptIsHeldForItsCompensationAndFreedAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r *rig
		held := false
		w := inTurn(taking("s", func(*steps.Context, *locking.Lock) error { return errBoom },
			steps.Undo(func(*steps.Context, string) error {
				held = !r.free(t)
				return nil
			})))
		r = start(t, workflow.Config{Workflows: workflow.Set{w}})
		_, err := workflow.Run(t.Context(), r.Engine, w, "-")
		if !errors.Is(err, errBoom) || !held || !r.free(t) {
			t.Error(err, held)
		}
	})
}

func TestLockedUnreleasedLockIsFreedAtTheEndOfACancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := inTurn(taking("take", keep), taking("s", func(ctx *steps.Context, _ *locking.Lock) error { return untilEnd(ctx) }))
		r := start(t, workflow.Config{Workflows: workflow.Set{w}})
		h := begin(t, r, w, "-")
		synctest.Wait()
		if r.free(t) {
			t.Error("not held")
		}
		if err := h.Cancel(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Wait(t.Context()); !errors.Is(err, workflow.ErrCancelled) || !r.free(t) {
			t.Error("held after the end", err)
		}
	})
}

func TestLockedUnreleasedLockIsFreedWhenACompensationFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _, err := runs(t, inTurn(taking("s", func(*steps.Context, *locking.Lock) error { return errBoom },
			steps.Undo(func(*steps.Context, string) error { return errBoom }))))
		if err == nil || !r.free(t) {
			t.Error("held after the end", err)
		}
	})
}

func TestLockedAcquireStepAndReleaseStepPairByServiceRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r *rig
		released, again := false, true
		release := body(&journal{}, "release", func(ctx *steps.Context) (err error) {
			locks := container.MustResolve(ctx, locking.ServiceKey)
			if released, err = locks.Release(ctx, locking.Keys("k")); err != nil {
				return err
			}
			again, err = locks.Release(ctx, locking.Keys("k"))
			return err
		})
		after := body(&journal{}, "after", func(*steps.Context) error {
			if !r.free(t) {
				t.Error("held after the release step")
			}
			return nil
		})
		work := body(&journal{}, "work", func(*steps.Context) error {
			if r.free(t) {
				t.Error("not held between acquire and release")
			}
			return nil
		})
		w := inTurn(taking("acquire", keep), work, release, after)
		r = start(t, workflow.Config{Workflows: workflow.Set{w}})
		if _, err := workflow.Run(t.Context(), r.Engine, w, "-"); err != nil || !released || again {
			t.Error(err, released, again)
		}
	})
}

func TestLockedReleaseInAStepNeverFreesTheLockOfAnotherExecution(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		let := make(chan struct{})
		holder := inTurn(taking("s", func(*steps.Context, *locking.Lock) error { <-let; return nil }))
		thief := workflow.New("thief", func(b *workflow.Builder, in workflow.Value[string]) workflow.Value[string] {
			return workflow.Do(b, body(&journal{}, "s", func(ctx *steps.Context) error {
				freed, err := container.MustResolve(ctx, locking.ServiceKey).Release(ctx, locking.Keys("k"))
				if freed {
					t.Error("it said that it freed another's lock")
				}
				return err
			}), in)
		})
		r := start(t, workflow.Config{Workflows: workflow.Set{holder, thief}})
		h := begin(t, r, holder, "-")
		synctest.Wait()
		if _, err := workflow.Run(t.Context(), r.Engine, thief, "-"); err != nil || r.free(t) {
			t.Error("not held any more", err)
		}
		close(let)
		if _, err := h.Wait(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestLockedExecutionsExcludeEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inside, most := 0, 0
		w := inTurn(taking("s", func(ctx *steps.Context, lock *locking.Lock) error {
			inside++
			most = max(most, inside)
			time.Sleep(100 * time.Millisecond)
			inside--
			return lock.Release(ctx)
		}))
		r := start(t, workflow.Config{Workflows: workflow.Set{w}})
		var handles []*workflow.Handle[string]
		for range 20 {
			handles = append(handles, begin(t, r, w, "-"))
		}
		for _, h := range handles {
			if _, err := h.Wait(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if most != 1 {
			t.Errorf("%d were inside at once", most)
		}
	})
}

func TestLockedHandleKeptBeyondItsAttemptFreesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kept *locking.Lock
		var r *rig
		w := inTurn(taking("s", func(_ *steps.Context, lock *locking.Lock) error { kept = lock; return nil }),
			body(&journal{}, "next", func(ctx *steps.Context) error {
				kept.Close()
				if r.free(t) {
					t.Error("a handle of an ended attempt freed the execution's lock")
				}
				return nil
			}))
		r = start(t, workflow.Config{Workflows: workflow.Set{w}})
		if _, err := workflow.Run(t.Context(), r.Engine, w, "-"); err != nil {
			t.Error(err)
		}
	})
}

func TestLockedNamedOwnersLockStaysWhenTheExecutionEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _, err := runs(t, inTurn(body(&journal{}, "s", func(ctx *steps.Context) error {
			_, err := container.MustResolve(ctx, locking.ServiceKey).Acquire(ctx, locking.Keys("k"), locking.WithOwner("me"))
			return err
		})))
		if err != nil || r.free(t) {
			t.Error("freed with the execution", err)
		}
		if freed, err := r.locks.Release(t.Context(), locking.Keys("k"), locking.WithOwner("me")); !freed || err != nil {
			t.Error(freed, err)
		}
	})
}
