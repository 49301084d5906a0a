package workflow_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockmem"
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/workflow"
)

// mute is a lock provider that does not answer the next extension.
type mute struct {
	*lockmem.Provider

	next atomic.Bool
}

func (m *mute) Extend(ctx context.Context, ttl time.Duration, holds []driver.Hold) ([]driver.Extension, error) {
	if m.next.Swap(false) {
		return nil, errors.New("no answer")
	}
	return m.Provider.Extend(ctx, ttl, holds)
}

func TestWhatComesBeforeTheLocksOfAClaimAreTakenOverIsHandledAfterThat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		outside := steps.NewAsync[string, string]("outside", func(*steps.Context, string) error { return nil })
		slow := body(&j, "slow", func(*steps.Context) error {
			time.Sleep(5 * time.Second)
			return nil
		})
		w := workflow.New("w", func(b builder, in value) value {
			return workflow.Guard(b, workflow.Const(b, "k"), func(b builder) value {
				return workflow.Do(b, slow, workflow.Do(b, outside, in))
			}, workflow.MaxHold(time.Hour))
		})
		s := newInstances(t, w)
		p := &mute{Provider: lockmem.New(lockmem.Config{})}
		var err error
		s.locks, err = locking.New(t.Context(), locking.Config{Logger: quiet, Providers: []locking.Registration{{ID: "mute", Provider: p}}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.locks.Close(context.Background()) })
		one, m := s.start()
		beginOn(t, one, w, "-", workflow.WithExecutionID("x"))
		synctest.Wait()
		kill(t, one, m)
		time.Sleep(2 * workflow.DefaultLease)
		p.next.Store(true)
		two, _ := s.start()
		synctest.Wait()
		ref := steps.Ref{Workflow: "w", ExecutionID: "x", Step: "outside"}
		if err := workflow.CompleteStep(t.Context(), two, ref, "given"); err != nil {
			t.Fatal(err)
		}
		if out, err := result(t, two, w); out != "givenslow" || err != nil {
			t.Errorf("%q, %v", out, err)
		}
		j.want(t, "do slow(given)")
	})
}
