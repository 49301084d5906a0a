package workflow_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store/storemem"
	"github.com/lockstep-dev/lockstep/workflow"
)

// within is a workflow of a guard of "k" in one of "l".
func within(inner, behind text) *workflow.Workflow[string, string] {
	return flow(func(b builder, in value) value {
		return workflow.Guard(b, workflow.Const(b, "l"), func(b builder) value {
			v := workflow.Guard(b, workflow.Const(b, "k"), chain(in, inner))
			if behind != nil {
				v = workflow.Do(b, behind, v)
			}
			return v
		}, workflow.MaxHold(time.Hour))
	})
}

// The outer guard has a lock of its own, and one that the inner one has left to it.
func TestOfTheLocksThatANewOwnerFindsNotAllOfItGivesBackThoseThatItHasTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		w := within(doing(&j, "a"), body(&j, "b", untilEnd))
		cfg := workflow.Config{Workflows: workflow.Set{w}, Store: &lasting{storemem.New()}}
		f := startOblivious(t, cfg)
		begin(t, f.rig, w, "-", workflow.WithExecutionID("x"))
		synctest.Wait()
		interrupt(t, f.rig)
		f.forgets(t, "k")
		letGo := f.somebody(t)
		h := begin(t, f.again(t, cfg), w, "-", workflow.WithExecutionID("x"))
		synctest.Wait()
		if s, err := f.locks.Inspect(t.Context(), "l"); err != nil || s.Held {
			t.Errorf("it waits for k, and has l: %+v, %v", s, err)
		}
		letGo()
		if _, err := h.Wait(t.Context()); !errors.Is(err, workflow.ErrGuardLost) {
			t.Error(err)
		}
		j.want(t, "do a(-)", "do b(-a)", "undo b() unknown", "undo a(-a) succeeded")
	})
}

// left is a workflow whose first attempt is left behind in the inner of two guards, with
// the locks that it has.
func left(t *testing.T, let <-chan struct{}) (w *workflow.Workflow[string, string], has map[string]*locking.Lock, tokens map[string][]locking.Token) {
	t.Helper()
	has, tokens = map[string]*locking.Lock{}, map[string][]locking.Token{}
	var mu sync.Mutex // the attempts know nothing of each other
	s := steps.New("s", func(ctx *steps.Context, in string) (string, error) {
		for _, k := range []string{"k", "l"} {
			lock, err := locking.Held(context.WithoutCancel(ctx), k) // its context ends with the lock alone
			if err != nil {
				return "", err
			}
			mu.Lock()
			if tokens[k] = append(tokens[k], lock.Token(k)); ctx.Attempt() == 1 {
				has[k] = lock
			}
			mu.Unlock()
		}
		if ctx.Attempt() == 1 {
			<-let
		}
		return in, nil
	}, steps.Timeout(time.Second), steps.Retry(steps.RetryPolicy{MaxAttempts: 2}))
	return within(s, nil), has, tokens
}

func TestI4BodyThatIsLeftBehindIsFencedFromTheLocksOfAllGuardsAroundIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		let := make(chan struct{})
		w, _, tokens := left(t, let)
		_, _, err := runs(t, w)
		close(let)
		if err != nil {
			t.Error(err)
		}
		for _, k := range []string{"k", "l"} {
			if list := tokens[k]; len(list) != 2 || list[1] <= list[0] {
				t.Errorf("tokens of %s: %v", k, list)
			}
		}
	})
}

func TestI4BodyThatIsLeftBehindIsFencedFromTheOuterGuardAlsoWhereTheInnerOneHasLostItsLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		let := make(chan struct{})
		w, has, _ := left(t, let)
		f := startOblivious(t, workflow.Config{Workflows: workflow.Set{w}})
		h := begin(t, f.rig, w, "-")
		synctest.Wait()
		f.forgets(t, "k") // which nobody knows before the locks are renewed
		_, err := h.Wait(t.Context())
		close(let)
		if !errors.Is(err, workflow.ErrGuardLost) {
			t.Error(err)
		}
		if cause := context.Cause(has["l"].Context()); !errors.Is(cause, locking.ErrLockRevoked) {
			t.Errorf("its other lock has ended since: %v", cause)
		}
	})
}
