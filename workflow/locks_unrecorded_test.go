package workflow_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/store/storemem"
	"github.com/lockstep-dev/lockstep/workflow"
)

var errStore = errors.New("the store is gone")

// brittle is a store that creates executions and records nothing of them.
type brittle struct {
	*storemem.Store

	durable bool
}

func (b *brittle) Describe() store.Info {
	i := b.Store.Describe()
	i.Durable = b.durable
	return i
}

func (b *brittle) Commit(_ context.Context, writes []store.Write) []error {
	errs := make([]error, len(writes))
	for i := range errs {
		errs[i] = errStore
	}
	return errs
}

// unrecorded runs a step that takes "k", up to the write that its end needs.
func unrecorded(t *testing.T, s text, durable bool) *rig {
	t.Helper()
	w := inTurn(s)
	r := start(t, workflow.Config{
		Workflows: workflow.Set{w}, Store: &brittle{Store: storemem.New(), durable: durable}, LockLease: behindLease, CancelGrace: behindGrace,
	})
	if _, err := workflow.Run(t.Context(), r.Engine, w, "-"); !errors.Is(err, errStore) {
		t.Error(err)
	}
	return r
}

// ends are the ways in which an attempt can end that a store has to know of.
func ends() map[string]text {
	fail := func(*steps.Context, *locking.Lock) error { return errBoom }
	return map[string]text{
		"at the end":                taking("s", keep),
		"before a pause":            taking("s", fail, steps.Retry(steps.RetryPolicy{MaxAttempts: 3, Backoff: time.Minute})),
		"before an immediate retry": taking("s", fail, steps.Retry(steps.RetryPolicy{MaxAttempts: 3})),
	}
}

func TestLockedLocksOfARunThatCouldNotBeRecordedAreFreedWhereNobodyGoesOnWithIt(t *testing.T) {
	for name, s := range ends() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if r := unrecorded(t, s, false); !r.free(t) {
					t.Error("held after the run has ended")
				}
			})
		})
	}
}

func TestLockedLocksOfARunThatCouldNotBeRecordedAreLeftToWhoeverTakesItOverAndLapse(t *testing.T) {
	for name, s := range ends() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				unrecorded(t, s, true).wantLapse(t, behindLease)
			})
		})
	}
}

func TestI4LocksOfABodyLeftBehindLapseWhenItsRunCouldNotBeRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		let := make(chan struct{})
		defer close(let)
		unrecorded(t, taking("s", deaf(let), steps.Timeout(time.Second)), false).wantLapse(t, behindLease)
	})
}

func TestLockedLocksOfAnInterruptedExecutionLapseOnADurableStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := inTurn(taking("s", func(ctx *steps.Context, _ *locking.Lock) error { return untilEnd(ctx) }))
		r := start(t, workflow.Config{Workflows: workflow.Set{w}, Store: &brittle{Store: storemem.New(), durable: true}, LockLease: behindLease})
		begin(t, r, w, "-")
		time.Sleep(time.Hour) // it is renewed until then
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := r.Stop(ctx); !errors.Is(err, workflow.ErrInterrupted) {
			t.Error(err)
		}
		r.wantLapse(t, behindLease)
	})
}
