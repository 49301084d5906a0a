package workflow_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/store/storemem"
	"github.com/lockstep-dev/lockstep/workflow"
)

// forgetful is a store that gives no answer to the first question for an execution of a
// workflow.
type forgetful struct {
	store.Store

	workflow string
	asked    atomic.Bool
}

func (f *forgetful) Load(ctx context.Context, k store.Key) (*store.Snapshot, error) {
	if k.Workflow == f.workflow && !f.asked.Swap(true) {
		return nil, errors.New("no answer")
	}
	return f.Store.Load(ctx, k)
}

// unheard is a store that delivers the first message with a prefix and does not say so.
type unheard struct {
	store.Store

	prefix string
	done   atomic.Bool
}

func (u *unheard) Deliver(ctx context.Context, k store.Key, m store.Message) error {
	err := u.Store.Deliver(ctx, k, m)
	if err == nil && strings.HasPrefix(m.ID, u.prefix) && !u.done.Swap(true) {
		return errors.New("no answer")
	}
	return err
}

func TestChildThatWasDoneAtOnceTellsItsRevertApartFromThat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		child := workflow.New("child", func(b builder, in value) value {
			return workflow.Transform(b, in, func(s string) (string, error) { return s + "c", nil })
		})
		w := flow(func(b builder, in value) value {
			return workflow.Do(b, body(&j, "fail", func(*steps.Context) error { return steps.Permanent(errBoom) }), workflow.Call(b, child, in))
		})
		r := start(t, workflow.Config{Store: &unheard{Store: storemem.New(), prefix: "child/"}, Workflows: workflow.Set{w, child}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if _, err := workflow.Run(ctx, r.Engine, w, "-"); !errors.Is(err, errBoom) {
			t.Error(err)
		}
	})
}

func TestI8SleepEndsThoughAnErrandHadToBeTriedAgainMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		child := childOf("child", doing(&j, "a"))
		w := flow(func(b builder, in value) value {
			v, _ := workflow.Parallel2(b,
				func(b builder) value { return workflow.Call(b, child, in) },
				func(b builder) value {
					workflow.Sleep(b, 90*time.Second)
					return in
				})
			return v
		})
		r := start(t, workflow.Config{Store: &forgetful{Store: storemem.New(), workflow: "child"}, Workflows: workflow.Set{w, child}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if out, err := workflow.Run(ctx, r.Engine, w, "-"); out != "-a" || err != nil {
			t.Errorf("%q, %v", out, err)
		}
	})
}
