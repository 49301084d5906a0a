package workflow_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/workflow"
)

func TestAfterAClaimStepHasItsGuardsLockBesideThatOfAnEarlierStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var first atomic.Bool
		first.Store(true)
		w := workflow.New("w", func(b builder, in value) value {
			return workflow.Guard(b, workflow.Const(b, "guard"), func(b builder) value {
				v := workflow.Do(b, taking("takes", keep), in)
				return workflow.Do(b, steps.New("has", func(ctx *steps.Context, in string) (string, error) {
					if first.Swap(false) {
						return in, untilEnd(ctx) // its process dies in here
					}
					for _, key := range []string{"k", "guard"} {
						if _, err := locking.Held(ctx, key); err != nil {
							return in, err
						}
					}
					return in, nil
				}), v)
			})
		})
		s := newInstances(t, w)
		one, m := s.start()
		beginOn(t, one, w, "-", workflow.WithExecutionID("x"))
		synctest.Wait()
		kill(t, one, m)
		two, _ := s.start()
		if _, err := result(t, two, w); err != nil {
			t.Error(err)
		}
	})
}

func TestAfterAClaimCompensationHasTheLocksOfAGuardThatHadNoneOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var first atomic.Bool
		first.Store(true)
		var missing atomic.Pointer[error]
		mid := steps.New("mid", func(ctx *steps.Context, in string) (string, error) {
			if first.Swap(false) {
				return in, untilEnd(ctx) // its process dies in here
			}
			return in, steps.Permanent(errBoom)
		}, steps.Undo(func(ctx *steps.Context, _ string) error {
			for _, key := range []string{"k", "j"} {
				if _, err := locking.Held(ctx, key); err != nil {
					missing.Store(&err)
				}
			}
			return nil
		}))
		w := workflow.New("w", func(b builder, in value) value {
			v := workflow.Do(b, taking("takes", keep), in)
			return workflow.Guard(b, workflow.Const(b, "k"), func(b builder) value {
				return workflow.Guard(b, workflow.Const(b, []string{"k", "j"}), func(b builder) value { return workflow.Do(b, mid, v) })
			}, workflow.MaxHold(time.Hour))
		})
		s := newInstances(t, w)
		one, m := s.start()
		beginOn(t, one, w, "-", workflow.WithExecutionID("x"))
		synctest.Wait()
		kill(t, one, m)
		two, _ := s.start()
		if _, err := result(t, two, w); !errors.Is(err, errBoom) {
			t.Error(err)
		}
		if err := missing.Load(); err != nil {
			t.Error(*err)
		}
	})
}
