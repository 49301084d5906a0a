package workflow_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/workflow"
)

const (
	behindGrace = time.Second
	behindLease = 30 * time.Second
)

// deaf is a body that takes "k" and does not heed its context. It returns when let
// is closed.
func deaf(let <-chan struct{}) func(*steps.Context, *locking.Lock) error {
	return func(*steps.Context, *locking.Lock) error { <-let; return nil }
}

// deafOnce is deaf in the first attempt; the others call then.
func deafOnce(let <-chan struct{}, then func(*steps.Context, *locking.Lock) error) func(*steps.Context, *locking.Lock) error {
	return func(ctx *steps.Context, lock *locking.Lock) error {
		if ctx.Attempt() == 1 {
			<-let
			return nil
		}
		return then(ctx, lock)
	}
}

// leavesBehind runs the workflow on an engine that soon leaves bodies behind.
func leavesBehind(t *testing.T, list ...text) (*rig, error) {
	t.Helper()
	w := inTurn(list...)
	r := start(t, workflow.Config{Workflows: workflow.Set{w}, CancelGrace: behindGrace, LockLease: behindLease})
	_, err := workflow.Run(t.Context(), r.Engine, w, "-")
	return r, err
}

// wantLapse wants "k" to be held now, and to lapse within the lease.
func (r *rig) wantLapse(t *testing.T, lease time.Duration) {
	t.Helper()
	if r.free(t) {
		t.Error("handed on before its lease has lapsed")
	}
	time.Sleep(lease)
	if !r.free(t) {
		t.Errorf("still held a lease of %s later", lease)
	}
}

func TestI4LocksOfABodyLeftBehindLapseAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		let := make(chan struct{})
		defer close(let)
		r, err := leavesBehind(t, taking("s", deaf(let), steps.Timeout(time.Second)))
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		r.wantLapse(t, behindLease)
	})
}

func TestI4LocksOfACancelledBodyLeftBehindLapseAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		let := make(chan struct{})
		defer close(let)
		w := inTurn(taking("s", deaf(let)))
		r := start(t, workflow.Config{Workflows: workflow.Set{w}, CancelGrace: behindGrace, LockLease: behindLease})
		h := begin(t, r, w, "-")
		time.Sleep(time.Hour) // it is renewed until then
		if err := h.Cancel(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Wait(t.Context()); !errors.Is(err, workflow.ErrCancelled) {
			t.Error(err)
		}
		r.wantLapse(t, behindLease)
	})
}

func TestI4LocksOfACompensationLeftBehindLapseAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		let := make(chan struct{})
		defer close(let)
		r, err := leavesBehind(t, failing(&journal{}, "s", errBoom, steps.CompensationTimeout(time.Second),
			steps.Undo(func(ctx *steps.Context, _ string) error {
				if _, err := take(ctx, "k"); err != nil {
					t.Error(err)
				}
				<-let
				return nil
			})))
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		r.wantLapse(t, behindLease)
	})
}

func TestI4LocksOfABodyLeftBehindLapseDuringAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		let := make(chan struct{})
		defer close(let)
		w := inTurn(taking("s", deafOnce(let, keep), steps.Timeout(time.Second), steps.Retry(steps.RetryPolicy{MaxAttempts: 2, Backoff: time.Hour})))
		r := start(t, workflow.Config{Workflows: workflow.Set{w}, CancelGrace: behindGrace, LockLease: behindLease})
		h := begin(t, r, w, "-", workflow.WithExecutionID("x"))
		time.Sleep(time.Second + behindGrace + time.Millisecond)
		if s, err := h.Status(t.Context()); err != nil || s.Steps[0].Invoke.DueAt.IsZero() || len(s.Locks) != 0 {
			t.Fatalf("not in a pause without locks: %+v, %v", s, err)
		}
		r.wantLapse(t, behindLease)
		if _, err := h.Wait(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestI4LaterAttemptTakesOverWhatABodyLeftBehindHasWithoutWaiting(t *testing.T) {
	for name, backoff := range map[string]time.Duration{"at once": 0, "after a pause": time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				let := make(chan struct{})
				defer close(let)
				zero := time.Now()
				var second time.Duration
				r, err := leavesBehind(t, taking("s", deafOnce(let, func(*steps.Context, *locking.Lock) error {
					second = time.Since(zero)
					return nil
				}), steps.Timeout(time.Second), steps.Retry(steps.RetryPolicy{MaxAttempts: 2, Backoff: backoff})))
				if want := time.Second + behindGrace + backoff; err != nil || second != want {
					t.Errorf("taken over after %s, want %s; %v", second, want, err)
				}
				r.wantLapse(t, behindLease) // the first body runs
			})
		})
	}
}

func TestI4LockOfTheSequenceThatABodyLeftBehindSharesLapsesAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		let := make(chan struct{})
		defer close(let)
		r, err := leavesBehind(t, taking("first", keep), taking("s", deaf(let), steps.Timeout(time.Second)))
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		r.wantLapse(t, behindLease)
	})
}

func TestI4LocksThatABodyLeftBehindDoesNotHaveAreFreedAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		let := make(chan struct{})
		defer close(let)
		r, err := leavesBehind(t, taking("first", keep), body(&journal{}, "s", func(ctx *steps.Context) error {
			if _, err := take(ctx, "other"); err != nil {
				return err
			}
			<-let
			return nil
		}, steps.Timeout(time.Second)))
		if !errors.Is(err, context.DeadlineExceeded) || !r.free(t) {
			t.Error("not free", err)
		}
	})
}

func TestI4LocksOfABodyLeftBehindAreFreedAtTheEndWhenItHasReturned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		let := make(chan struct{})
		r, err := leavesBehind(t, taking("s", deaf(let), steps.Timeout(time.Second), steps.Undo(func(*steps.Context, string) error {
			close(let)
			time.Sleep(time.Second)
			return nil
		})))
		if !errors.Is(err, context.DeadlineExceeded) || !r.free(t) {
			t.Error("not free", err)
		}
	})
}

func TestI4LocksOfABodyLeftBehindLapseAfterAStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		let := make(chan struct{})
		defer close(let)
		w := inTurn(taking("s", deaf(let)))
		r := start(t, workflow.Config{Workflows: workflow.Set{w}, CancelGrace: behindGrace, LockLease: behindLease})
		begin(t, r, w, "-")
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := r.Stop(ctx); !errors.Is(err, workflow.ErrInterrupted) {
			t.Error(err)
		}
		r.wantLapse(t, behindLease)
	})
}
