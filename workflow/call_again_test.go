package workflow_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/container"
	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/store/storemem"
	"github.com/lockstep-dev/lockstep/workflow"
)

// stillborn is a store that gives no answer about a child before that has told its end,
// and an instance that dies when it has had one forgotten.
type stillborn struct {
	*mortal

	told atomic.Bool
}

func (s *stillborn) Create(ctx context.Context, x *store.Snapshot) (*store.Snapshot, error) {
	existing, err := s.mortal.Create(ctx, x)
	if x.Workflow == "child" && !s.told.Load() {
		return nil, errBoom
	}
	return existing, err
}

func (s *stillborn) Load(ctx context.Context, k store.Key) (*store.Snapshot, error) {
	x, err := s.mortal.Load(ctx, k)
	if err == nil && k.Workflow == "child" && !s.told.Load() {
		return nil, errBoom
	}
	return x, err
}

func (s *stillborn) Deliver(ctx context.Context, k store.Key, m store.Message) error {
	s.told.Store(true)
	return s.mortal.Deliver(ctx, k, m)
}

func (s *stillborn) Forget(ctx context.Context, k store.Key, runUID string) error {
	err := s.mortal.Forget(ctx, k, runUID)
	s.dead.Store(true)
	return err
}

// It does not know that its child was started, nor, when another goes on with it, that it
// was forgotten.
func TestI1ParentThatHasEndedDoesNotStartItsChildOnceMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		child := childOf("child", doing(&j, "a"))
		w := calling("w", child)
		shared := storemem.New()
		engine := func(s store.Store) *workflow.Engine {
			e, err := workflow.NewEngine(workflow.Config{Workflows: workflow.Set{w, child}, Store: s, Container: container.New(), Logger: quiet})
			if err != nil {
				t.Fatal(err)
			}
			if err := e.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = e.Stop(context.Background()) })
			return e
		}
		dying := &stillborn{mortal: &mortal{TaskQueue: shared}}
		one := engine(dying)
		beginOn(t, one, w, "-", workflow.WithExecutionID("x"))
		time.Sleep(time.Minute)
		if !dying.dead.Load() {
			t.Fatal("the child was not forgotten", j.all())
		}
		kill(t, one, dying.mortal)
		engine(shared)
		time.Sleep(time.Minute)
		j.want(t, "do a(-)")
	})
}
