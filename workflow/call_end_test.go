package workflow_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/store/storemem"
	"github.com/lockstep-dev/lockstep/workflow"
)

// recorder is a store that notes what children are asked, and that they are to be
// forgotten. It gives no answer to one of the messages.
type recorder struct {
	*storemem.Store

	silence func(to store.Key, e store.Event) bool

	mu     sync.Mutex
	asked  []store.EventKind
	forget []string
}

func (r *recorder) Deliver(ctx context.Context, k store.Key, m store.Message) error {
	err := r.Store.Deliver(ctx, k, m)
	ev, _ := store.DecodeEvent(m.Data)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = append(r.asked, ev.Kind)
	if r.silence != nil && r.silence(k, ev) {
		r.silence = nil
		return errBoom
	}
	return err
}

func (r *recorder) Forget(ctx context.Context, k store.Key, runUID string) error {
	err := r.Store.Forget(ctx, k, runUID)
	r.mu.Lock()
	defer r.mu.Unlock()
	note := k.Workflow
	if err != nil {
		note += " refused"
	}
	r.forget = append(r.forget, note)
	return err
}

// recorded runs a workflow on a recorder to its end, and until all is settled.
func recorded(t *testing.T, silence func(to store.Key, e store.Event) bool, w *workflow.Workflow[string, string], children ...workflow.Definition) (*recorder, error) {
	t.Helper()
	s := &recorder{Store: storemem.New(), silence: silence}
	r := start(t, workflow.Config{Store: s, Workflows: append(children, w)})
	_, err := workflow.Run(t.Context(), r.Engine, w, "-", workflow.WithExecutionID("x"))
	time.Sleep(time.Minute)
	return s, err
}

func calling(name string, of *workflow.Workflow[string, string]) *workflow.Workflow[string, string] {
	return workflow.New(name, func(b builder, in value) value { return workflow.Call(b, of, in) })
}

func (r *recorder) wantForgotten(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(r.forget, want) {
		t.Errorf("forgotten: %q, want %q", r.forget, want)
	}
}

func TestParentThatHasEndedDoesNotAskItsChildOnceMoreToUndoWhatItDid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		child := childOf("child", doing(&j, "a"))
		w := flow(func(b builder, in value) value {
			return workflow.Do(b, failing(&j, "s", errBoom), workflow.Call(b, child, in))
		})
		s, err := recorded(t, func(_ store.Key, e store.Event) bool { return e.Kind == store.Revert }, w, child)
		if failure(t, err).State != store.Reverted {
			t.Error(err)
		}
		if want := []store.EventKind{store.ChildEnded, store.Revert, store.ChildEnded}; !slices.Equal(s.asked, want) {
			t.Errorf("what was told: %q, want %q", s.asked, want)
		}
		s.wantForgotten(t, "child")
	})
}

// One that is forgotten before its own children leaves them for ever, should whoever
// forgets them die in between.
func TestChildrenOfAChildAreForgottenBeforeIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		third := childOf("third", doing(&journal{}, "a"))
		second := calling("second", third)
		first := calling("first", second)
		s, err := recorded(t, nil, calling("w", first), first, second, third)
		if err != nil {
			t.Error(err)
		}
		s.wantForgotten(t, "third", "second", "first")
	})
}

// It may want something of its own children still.
func TestChildrenOfAChildThatHasNotSettledAreNotForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		third := childOf("third", doing(&journal{}, "a"))
		second := calling("second", third)
		s, err := recorded(t, func(to store.Key, e store.Event) bool { return e.Kind == store.ChildEnded && to.Workflow == "w" }, calling("w", second), second, third)
		if err != nil {
			t.Error(err)
		}
		s.wantForgotten(t, "third", "second")
	})
}
