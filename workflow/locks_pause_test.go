package workflow_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockmem"
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/workflow"
)

func TestLockedPauseGivesBackWhatAnEarlierAttemptLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := inTurn(body(&journal{}, "s", func(ctx *steps.Context) error {
			switch ctx.Attempt() {
			case 1:
				_, err := take(ctx, "k")
				return steps.RetryAfter(errors.Join(errBoom, err), 0)
			case 2:
				return steps.RetryAfter(errBoom, time.Minute)
			}
			return nil
		}, steps.Retry(steps.RetryPolicy{MaxAttempts: 3})))
		r := start(t, workflow.Config{Workflows: workflow.Set{w}})
		h := begin(t, r, w, "-", workflow.WithExecutionID("x"))
		time.Sleep(time.Second)
		if !r.free(t) {
			t.Error("held over the pause")
		}
		if s, err := h.Status(t.Context()); err != nil || s.Steps[0].Invoke.Attempts != 2 || len(s.Locks) != 0 {
			t.Errorf("recorded: %+v, %v", s, err)
		}
		if _, err := h.Wait(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestLockedImmediateRetryKeepsWhatTheAttemptBeforeLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r *rig
		w := inTurn(body(&journal{}, "s", func(ctx *steps.Context) error {
			if ctx.Attempt() == 1 {
				_, err := take(ctx, "k")
				return errors.Join(errBoom, err)
			}
			if r.free(t) {
				t.Error("given back")
			}
			return nil
		}, steps.Retry(steps.RetryPolicy{MaxAttempts: 2})))
		r = start(t, workflow.Config{Workflows: workflow.Set{w}})
		if _, err := workflow.Run(t.Context(), r.Engine, w, "-"); err != nil {
			t.Error(err)
		}
	})
}

func TestLockedPauseKeepsWhatAnEarlierStepLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := inTurn(taking("first", keep), taking("s", func(ctx *steps.Context, _ *locking.Lock) error {
			if ctx.Attempt() == 1 {
				return errBoom
			}
			return nil
		}, steps.Retry(steps.RetryPolicy{MaxAttempts: 2, Backoff: time.Minute})))
		r := start(t, workflow.Config{Workflows: workflow.Set{w}})
		h := begin(t, r, w, "-")
		time.Sleep(time.Second)
		if r.free(t) {
			t.Error("given back")
		}
		if _, err := h.Wait(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// The lock of an invoke that has ended is the sequence's, whichever attempt of the
// compensation takes it over.
func TestLockedPauseOfACompensationKeepsWhatTheInvokeLeft(t *testing.T) {
	for name, again := range map[string]bool{"when it is taken over": true, "when it is not asked for": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var j journal
				w := inTurn(taking("s", func(*steps.Context, *locking.Lock) error { return errBoom },
					steps.Undo(func(ctx *steps.Context, _ string) error {
						j.addf("undo")
						if again {
							if _, err := take(ctx, "k"); err != nil {
								t.Error(err)
							}
						}
						return errBoom
					}), steps.RetryCompensation(steps.RetryPolicy{MaxAttempts: 2, Backoff: time.Minute})))
				r := start(t, workflow.Config{Workflows: workflow.Set{w}})
				h := begin(t, r, w, "-")
				time.Sleep(time.Second)
				if r.free(t) || j.count("undo") != 1 {
					t.Error("given back", j.all())
				}
				if _, err := h.Wait(t.Context()); !errors.Is(err, errBoom) || j.count("undo") != 2 || !r.free(t) {
					t.Error(err, j.all())
				}
			})
		})
	}
}

// counted notes the calls that give locks back.
type counted struct {
	driver.Provider

	calls journal
}

func (c *counted) Release(ctx context.Context, holds []driver.Hold) ([]bool, error) {
	c.calls.addf("release of %d", len(holds))
	return c.Provider.Release(ctx, holds)
}

func TestLockedLocksAreGivenBackWithOneCallAProvider(t *testing.T) {
	for name, fail := range map[string]error{"at the end": nil, "before a pause": errBoom} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				one, two := &counted{Provider: lockmem.New(lockmem.Config{})}, &counted{Provider: lockmem.New(lockmem.Config{})}
				s := body(&journal{}, "s", func(ctx *steps.Context) error {
					locks, err := locksOf(ctx)
					if err != nil {
						return err
					}
					for i := range 10 {
						for _, provider := range []string{"lp_one", "lp_two"} {
							if _, err := locks.Acquire(ctx, locking.Keys(string(rune('a'+i))), locking.WithProvider(provider)); err != nil {
								return err
							}
						}
					}
					return fail
				}, steps.Retry(steps.RetryPolicy{MaxAttempts: 2, Backoff: time.Minute}))
				w := inTurn(s)
				r := startWith(t, workflow.Config{Workflows: workflow.Set{w}}, locking.Config{Providers: []locking.Registration{
					{ID: "one", IsDefault: true, Provider: one}, {ID: "two", Provider: two},
				}})
				begin(t, r, w, "-")
				synctest.Wait()
				for _, c := range []*counted{one, two} {
					c.calls.want(t, "release of 10")
				}
			})
		})
	}
}
