package workflow_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/workflow"
)

// The invariants that no other file of these tests names; docs/invariants.md lists all.

func TestI1ResultThatCameFromAnAttemptWhoseOwnerWasLostIsNotRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		s := newInstances(t)
		w := inTurn(body(&j, "a", func(ctx *steps.Context) error {
			if j.count("do a(-)") == 1 {
				time.Sleep(time.Hour) // it does not heed its end
				j.addf("late")
			}
			return nil
		}), doing(&j, "b"))
		s.set = workflow.Set{w}
		one, m := s.start()
		beginOn(t, one, w, "-", workflow.WithExecutionID("x"))
		synctest.Wait()
		m.dead.Store(true) // it hears of nothing, and lives
		two, _ := s.start()
		if out, err := result(t, two, w); out != "-ab" || err != nil {
			t.Error(out, err)
		}
		before, err := s.store.Load(t.Context(), store.Key{Workflow: "w", ID: "x"})
		if err != nil {
			t.Fatal(err)
		}
		m.dead.Store(false) // what it sends arrives again
		time.Sleep(2 * time.Hour)
		after, err := s.store.Load(t.Context(), before.Key)
		if err != nil || after.Fence != before.Fence {
			t.Errorf("%+v, %v; it was %+v", after.Fence, err, before.Fence)
		}
		j.want(t, "do a(-)", "do a(-)", "do b(-a)", "late")
	})
}

func TestI2InstanceThatLostItsLeaseEndsTheContextsOfItsBodies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error, 1)
		w := inTurn(body(&journal{}, "a", func(ctx *steps.Context) error {
			<-ctx.Done()
			ended <- context.Cause(ctx)
			return ctx.Err()
		}))
		s := newInstances(t, w)
		one, m := s.start()
		beginOn(t, one, w, "-", workflow.WithExecutionID("x"))
		synctest.Wait()
		m.dead.Store(true)
		silent := time.Now()
		var cause error
		select {
		case cause = <-ended:
		case <-time.After(time.Hour):
		}
		if took := time.Since(silent); !errors.Is(cause, workflow.ErrLostLease) || took > workflow.DefaultLease {
			t.Errorf("%v after %s", cause, took)
		}
	})
}

// gatedStore answers no write before it is let.
type gatedStore struct {
	store.Store

	mu   sync.Mutex
	gate chan struct{} // nil is open
}

func (s *gatedStore) shut() (open func()) {
	gate := make(chan struct{})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gate = gate
	return func() { close(gate) }
}

func (s *gatedStore) wait() {
	s.mu.Lock()
	gate := s.gate
	s.mu.Unlock()
	if gate != nil {
		<-gate
	}
}

func (s *gatedStore) Create(ctx context.Context, x *store.Snapshot) (*store.Snapshot, error) {
	s.wait()
	return s.Store.Create(ctx, x)
}

func (s *gatedStore) Commit(ctx context.Context, writes []store.Write) []error {
	s.wait()
	return s.Store.Commit(ctx, writes)
}

func TestI3NothingStartsBeforeWhatItFollowsFromIsDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		slow := &gatedStore{Store: newInstances(t).store}
		w := inTurn(body(&j, "a", func(*steps.Context) error { time.Sleep(time.Minute); return nil }), doing(&j, "b"))
		r := start(t, workflow.Config{Workflows: workflow.Set{w}, Store: slow})
		open := slow.shut()
		done := make(chan error, 1)
		go func() {
			_, err := workflow.Run(t.Context(), r.Engine, w, "-")
			done <- err
		}()
		synctest.Wait()
		j.want(t) // it is not created
		open()
		synctest.Wait()
		open = slow.shut()
		time.Sleep(time.Hour)
		j.want(t, "do a(-)") // that a is done is not written
		open()
		if err := <-done; err != nil {
			t.Error(err)
		}
		j.want(t, "do a(-)", "do b(-a)")
	})
}

func TestI10ExecutionWaitsForAnInstanceThatHasItsPlan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		old := inTurn(body(&j, "a", func(ctx *steps.Context) error {
			if j.count("do a(-)") == 1 {
				return untilEnd(ctx)
			}
			return nil
		}))
		changed := inTurn(doing(&j, "a"), doing(&j, "new"))
		s := newInstances(t, old)
		one, m := s.start()
		beginOn(t, one, old, "-", workflow.WithExecutionID("x"))
		synctest.Wait()
		kill(t, one, m)
		s.set = workflow.Set{changed}
		s.start()
		time.Sleep(time.Hour)
		j.want(t, "do a(-)")
		s.set = workflow.Set{old}
		two, _ := s.start()
		if out, err := result(t, two, old); out != "-a" || err != nil {
			t.Error(out, err)
		}
		if got := j.all(); slices.Contains(got, "do new(-a)") {
			t.Error(got)
		}
	})
}
