package workflow_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockmem"
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/store/storemem"
	"github.com/lockstep-dev/lockstep/workflow"
)

// stubborn is a lock provider that gives no answer to who wants to wait no longer.
type stubborn struct {
	*lockmem.Provider

	silent atomic.Bool
}

func (s *stubborn) Cancel(ctx context.Context, t driver.Ticket) (bool, error) {
	if s.silent.Load() {
		return false, errBoom
	}
	return s.Provider.Cancel(ctx, t)
}

// The outer guard waits for its lock when another engine goes on with it, which first ends
// the wait of the inner one.
func TestCompensationHasItsGuardsLockAlsoWhereAWaitWithinThatWasEndedBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		a := doing(&j, "a", steps.Undo(func(ctx *steps.Context, _ string) error {
			if j.addf("undo a"); j.count("undo a") == 1 {
				return untilEnd(ctx)
			}
			_, err := locking.Held(ctx, "l")
			return err
		}))
		w := flow(func(b builder, in value) value {
			return workflow.Guard(b, workflow.Const(b, "l"), func(b builder) value {
				v := workflow.Do(b, a, in)
				return workflow.Guard(b, workflow.Const(b, "k"), chain(v, doing(&j, "never")))
			}, workflow.MaxHold(time.Hour))
		})
		cfg := workflow.Config{Workflows: workflow.Set{w}, Store: &lasting{storemem.New()}}
		p := &stubborn{Provider: lockmem.New(lockmem.Config{})}
		p.silent.Store(true)
		f := &oblivious{startWith(t, cfg, locking.Config{Providers: []locking.Registration{{ID: "m", Provider: p}}}), p.Provider}
		defer f.somebody(t)()
		h := begin(t, f.rig, w, "-", workflow.WithExecutionID("x"))
		synctest.Wait()
		if err := h.Cancel(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		f.forgets(t, "l")
		other, err := f.locks.Acquire(t.Context(), locking.Keys("l"), locking.WithOwner("other"))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute) // it knows, and waits for that
		interrupt(t, f.rig)
		p.silent.Store(false)
		after := f.again(t, cfg)
		last := begin(t, after, w, "-", workflow.WithExecutionID("x"))
		synctest.Wait()
		if err := other.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := last.Wait(t.Context()); failure(t, err).State != store.Reverted {
			t.Error(err)
		}
		j.want(t, "do a(-)", "undo a", "undo a")
	})
}
