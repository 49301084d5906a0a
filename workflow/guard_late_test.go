package workflow_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockmem"
	"github.com/lockstep-dev/lockstep/workflow"
)

// tardy is a lock provider which the first request to wait reaches when it is let through.
type tardy struct {
	*lockmem.Provider

	mu   sync.Mutex
	hung *driver.Ticket
}

func (p *tardy) Enqueue(ctx context.Context, t driver.Ticket) (driver.Place, error) {
	p.mu.Lock()
	first := p.hung == nil
	if first {
		p.hung = &t
	}
	p.mu.Unlock()
	if first {
		return driver.Place{}, errors.New("no answer")
	}
	return p.Provider.Enqueue(ctx, t)
}

// Nobody else would ever take the ticket out of the queue again.
func TestWaitThatHasEndedIsEndedOnceMoreWhenWhatAnOwnerBeforeHasSentArrivesAfterThat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		w := guardedBy(nil, doing(&j, "never"))
		s := newInstances(t, w)
		p := &tardy{Provider: lockmem.New(lockmem.Config{})}
		var err error
		s.locks, err = locking.New(t.Context(), locking.Config{Logger: quiet, Providers: []locking.Registration{{ID: "tardy", Provider: p}}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.locks.Close(context.Background()) })
		other, err := s.locks.Acquire(t.Context(), locking.Keys("k"))
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		one, m := s.start()
		beginOn(t, one, w, "-", workflow.WithExecutionID("x"))
		synctest.Wait()
		kill(t, one, m)
		time.Sleep(2 * workflow.DefaultLease)
		two, _ := s.start()
		synctest.Wait()
		waiting := func() int {
			t.Helper()
			at, err := s.locks.Inspect(t.Context(), "k")
			if err != nil {
				t.Fatal(err)
			}
			return len(at.Waiters)
		}
		if n := waiting(); n != 1 {
			t.Fatalf("%d wait, want the execution to do so", n)
		}
		if err := two.Cancel(t.Context(), workflow.Ref{Workflow: w.Name(), ID: "x"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := waiting(); n != 0 {
			t.Fatalf("%d wait for the execution that is cancelled", n)
		}
		if _, err := p.Provider.Enqueue(t.Context(), *p.hung); err != nil || waiting() != 1 {
			t.Fatal("the late request has not put its ticket into the queue:", err)
		}
		time.Sleep(3 * workflow.DefaultLease)
		if n := waiting(); n != 0 {
			t.Errorf("%d wait by a ticket of an execution that has ended", n)
		}
	})
}
