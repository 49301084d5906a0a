package workflow_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/store/storemem"
	"github.com/lockstep-dev/lockstep/workflow"
)

// slowStore answers a create a while after it has been made.
type slowStore struct{ *storemem.Store }

func (s slowStore) Create(ctx context.Context, x *store.Snapshot) (*store.Snapshot, error) {
	existing, err := s.Store.Create(ctx, x)
	if existing == nil {
		time.Sleep(time.Second)
	}
	return existing, err
}

func TestI9SameIDJoinsAnExecutionWhoseCreationIsStillBeingAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		w := inTurn(doing(&j, "a"))
		e, err := workflow.NewEngine(workflow.Config{Store: slowStore{storemem.New()}, Workflows: workflow.Set{w}, Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		results := make(chan error)
		for range 5 {
			go func() {
				_, err := workflow.Run(t.Context(), e, w, "-", workflow.WithExecutionID("x"))
				results <- err
			}()
		}
		for range 5 {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		j.want(t, "do a(-)")
		if err := e.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestI9WaitForAnotherCreationEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := inTurn(doing(&journal{}, "a"))
		e, err := workflow.NewEngine(workflow.Config{Store: slowStore{storemem.New()}, Workflows: workflow.Set{w}, Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		first := make(chan error, 1)
		go func() {
			_, err := workflow.Run(t.Context(), e, w, "-", workflow.WithExecutionID("x"))
			first <- err
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		zero := time.Now()
		if _, err := workflow.Run(ctx, e, w, "-", workflow.WithExecutionID("x")); err == nil || time.Since(zero) > 100*time.Millisecond {
			t.Error(err, time.Since(zero))
		}
		if err := <-first; err != nil {
			t.Error(err)
		}
		if err := e.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
