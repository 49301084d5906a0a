package workflow_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/workflow"
)

// nestedGuards composes a guard of "outer" with branches beside each other, each of which
// has a guard of "inner" around one step.
func nestedGuards(list ...text) *workflow.Workflow[string, string] {
	return flow(func(b builder, in value) value {
		return workflow.Guard(b, workflow.Const(b, "outer"), func(b builder) value {
			branch := func(s text) func(b builder) value {
				return func(b builder) value {
					return workflow.Guard(b, workflow.Const(b, "inner"), func(b builder) value { return workflow.Do(b, s, in) })
				}
			}
			if len(list) == 1 {
				return branch(list[0])(b)
			}
			v, _ := workflow.Parallel2(b, branch(list[0]), branch(list[1]))
			return v
		}, workflow.MaxHold(time.Hour))
	})
}

// has is a body that wants both keys to be held around it.
func has(ctx *steps.Context) error {
	for _, key := range []string{"outer", "inner"} {
		l, err := locking.Held(ctx, key)
		if err != nil {
			return err
		}
		l.Close()
	}
	return nil
}

func TestI8GuardGoesOnThatWaitsForAKeyWhichTheGuardAroundItGetsFromOneBeside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		slow := body(&j, "slow", func(ctx *steps.Context) error {
			time.Sleep(time.Second)
			return has(ctx)
		})
		w := nestedGuards(slow, body(&j, "waits", has))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		r := start(t, workflow.Config{Workflows: workflow.Set{w}})
		if _, err := workflow.Run(ctx, r.Engine, w, "-"); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		for _, key := range []string{"outer", "inner"} {
			if at, err := r.locks.Inspect(t.Context(), key); err != nil || at.Held || len(at.Waiters) > 0 {
				t.Errorf("%s is left behind: %+v, %v", key, at, err)
			}
		}
	})
}

func TestI5WhatAGuardWithinAnotherHasLostIsHeldWhenItsStepsAreCompensated(t *testing.T) {
	for _, key := range []string{"outer", "inner"} {
		t.Run(key, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var j journal
				var found error
				s := steps.New("s", func(ctx *steps.Context, in string) (string, error) {
					l, err := locking.Held(ctx, key)
					if err != nil {
						return "", err
					}
					<-l.Context().Done()
					return in, context.Cause(l.Context())
				},
					steps.Undo(func(ctx *steps.Context, _ string) error {
						j.addf("undo")
						found = has(ctx)
						return nil
					}))
				w := nestedGuards(s)
				r := start(t, workflow.Config{Workflows: workflow.Set{w}})
				h := begin(t, r, w, "-")
				synctest.Wait()
				at, err := r.locks.Inspect(t.Context(), key)
				if err != nil {
					t.Fatal(err)
				}
				if ok, err := r.locks.ForceRelease(t.Context(), key, at.Owner, at.Token, "test"); !ok || err != nil {
					t.Fatal(ok, err)
				}
				_, _ = h.Wait(t.Context())
				if found != nil {
					t.Error(found)
				}
				j.want(t, "undo")
			})
		})
	}
}
