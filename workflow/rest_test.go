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

// resting is an engine on a store that outlives it, with one workflow.
type resting struct {
	t      *testing.T
	store  *storemem.Store
	engine *workflow.Engine
	w      *workflow.Workflow[string, string]
	id     string
}

func rest(t *testing.T, w *workflow.Workflow[string, string], others ...workflow.Definition) *resting {
	t.Helper()
	s := newInstances(t, append([]workflow.Definition{w}, others...)...)
	e, _ := s.start()
	beginOn(t, e, w, "-", workflow.WithExecutionID("x"))
	synctest.Wait()
	return &resting{t, s.store, e, w, "x"}
}

// wantOwner says whether somebody drives the execution.
func (r *resting) wantOwner(want bool) {
	r.t.Helper()
	synctest.Wait()
	x, err := r.store.Load(r.t.Context(), store.Key{Workflow: r.w.Name(), ID: r.id})
	if err != nil {
		r.t.Fatal(err)
	}
	if owned := !x.Owner.None(); owned != want {
		r.t.Errorf("owned: %t, want %t; it is %s, due %s", owned, want, x.State, x.DueAt)
	}
}

func (r *resting) wantEnd(out string, cause error) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), workflow.DefaultLease)
	defer cancel()
	if got, err := workflow.Run(ctx, r.engine, r.w, "-", workflow.WithExecutionID(r.id)); got != out || !errors.Is(err, cause) {
		r.t.Errorf("%q, %v; want %q, %v", got, err, out, cause)
	}
}

func longSleep(j *journal, d time.Duration) *workflow.Workflow[string, string] {
	return workflow.New("w", func(b builder, in value) value {
		v := workflow.Do(b, doing(j, "a"), in)
		workflow.Sleep(b, d)
		return workflow.Do(b, doing(j, "b"), v)
	})
}

func TestLongSleepIsLetGoAtOnceAndEndsInItsMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		r := rest(t, longSleep(&j, time.Hour))
		r.wantOwner(false)
		time.Sleep(time.Hour - time.Nanosecond)
		r.wantOwner(false)
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		j.want(t, "do a(-)", "do b(-a)")
		r.wantEnd("-ab", nil)
	})
}

func TestShortSleepStaysWithItsEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		r := rest(t, longSleep(&j, workflow.DefaultRestAfter))
		time.Sleep(workflow.DefaultRestAfter - time.Nanosecond)
		r.wantOwner(true)
		time.Sleep(time.Nanosecond)
		r.wantEnd("-ab", nil)
	})
}

func TestWhatWaitsForAMessageIsLetGoWhenNoneHasComeAndGoesOnWithOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		r := rest(t, inTurn(d.async("s")))
		ref := <-d.refs
		time.Sleep(workflow.DefaultRestAfter - time.Nanosecond)
		r.wantOwner(true)
		time.Sleep(time.Nanosecond)
		r.wantOwner(false)
		time.Sleep(time.Hour)
		wants(t, workflow.CompleteStep(t.Context(), r.engine, ref, "out"))
		r.wantEnd("out", nil)
		d.want(t, "start s(-)") // not a second time
	})
}

func TestSenderIsToldWhatARestingExecutionMakesOfAMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		r := rest(t, inTurn(d.async("s"), d.async("late")))
		ref := <-d.refs
		wants(t, workflow.CompleteStep(t.Context(), r.engine, ref, "out"))
		late := <-d.refs
		time.Sleep(time.Hour)
		r.wantOwner(false)
		if err := workflow.CompleteStep(t.Context(), r.engine, ref, "again"); !errors.Is(err, workflow.ErrUnfit) {
			t.Error(err)
		}
		wants(t, workflow.CompleteStep(t.Context(), r.engine, late, "end"))
		r.wantEnd("end", nil)
	})
}

func TestRestingExecutionIsCancelledAndUndone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		r := rest(t, longSleep(&j, time.Hour))
		r.wantOwner(false)
		wants(t, r.engine.Cancel(t.Context(), workflow.Ref{Workflow: "w", ID: r.id}))
		r.wantEnd("", workflow.ErrCancelled)
	})
}

func TestRestingExecutionEndsAtItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		w := inTurn(d.async("s"))
		s := newInstances(t, w)
		e, _ := s.start()
		beginOn(t, e, w, "-", workflow.WithExecutionID("x"), workflow.WithTimeout(time.Hour))
		r := &resting{t, s.store, e, w, "x"}
		<-d.refs
		r.wantOwner(false) // a deadline that is far away is a time to wait for
		time.Sleep(time.Hour)
		r.wantEnd("", workflow.ErrDeadline)
	})
}

func TestRetryThatIsFarAwayIsLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		tries := 0
		w := inTurn(body(&j, "a", func(*steps.Context) error {
			if tries++; tries < 3 {
				return errBoom
			}
			return nil
		}, steps.Retry(steps.RetryPolicy{MaxAttempts: 3, Backoff: time.Hour})))
		r := rest(t, w)
		r.wantOwner(false)
		time.Sleep(5 * time.Hour)
		r.wantEnd("-a", nil)
		j.want(t, "do a(-)", "do a(-)", "do a(-)")
	})
}

func TestI8WhatHoldsALockStaysWithItsEngine(t *testing.T) {
	for name, inside := range map[string]func(j *journal, b builder, in value) value{
		"guard": func(_ *journal, b builder, in value) value {
			return workflow.Guard(b, workflow.Const(b, "k"), func(b builder) value {
				workflow.Sleep(b, time.Hour)
				return in
			}, workflow.MaxHold(2*time.Hour))
		},
		"left by a step": func(_ *journal, b builder, in value) value {
			v := workflow.Do(b, taking("takes", keep), in)
			workflow.Sleep(b, time.Hour)
			return v
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var j journal
				r := rest(t, workflow.New("w", func(b builder, in value) value { return inside(&j, b, in) }))
				time.Sleep(time.Hour - time.Second)
				r.wantOwner(true)
				time.Sleep(time.Second)
				synctest.Wait()
				if _, err := result(t, r.engine, r.w); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestI8WhatWaitsForALockStaysWithItsEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		w := workflow.New("w", func(b builder, in value) value {
			return workflow.Guard(b, workflow.Const(b, "k"), func(b builder) value { return workflow.Do(b, doing(&j, "a"), in) })
		})
		s := newInstances(t, w)
		l, err := s.locks.Acquire(t.Context(), locking.Keys("k"))
		if err != nil {
			t.Fatal(err)
		}
		e, _ := s.start()
		beginOn(t, e, w, "-", workflow.WithExecutionID("x"))
		r := &resting{t, s.store, e, w, "x"}
		time.Sleep(time.Hour)
		r.wantOwner(true)
		wants(t, l.Release(t.Context()))
		r.wantEnd("-a", nil)
	})
}

func TestWhatACallerWaitsForStaysUntilNobodyDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		w := longSleep(&j, 3*time.Hour)
		s := newInstances(t, w)
		e, _ := s.start()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		go func() { _, _ = workflow.Run(ctx, e, w, "-", workflow.WithExecutionID("x")) }()
		r := &resting{t, s.store, e, w, "x"}
		time.Sleep(time.Hour - time.Second)
		r.wantOwner(true)
		time.Sleep(2 * time.Second)
		r.wantOwner(false)
		if out, err := result(t, e, w); out != "-ab" || err != nil {
			t.Errorf("%q, %v", out, err)
		}
	})
}

func TestHandleOfAnExecutionThatRestsWaitsForItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		w := longSleep(&j, time.Hour)
		s := newInstances(t, w)
		e, _ := s.start()
		h, err := workflow.Start(t.Context(), e, w, "-")
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if out, err := h.Wait(t.Context()); out != "-ab" || err != nil {
			t.Errorf("%q, %v", out, err)
		}
	})
}

func TestParentOfALongChildRestsUntilThatHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		child := workflow.New("child", func(b builder, in value) value {
			workflow.Sleep(b, time.Hour)
			return workflow.Do(b, doing(&j, "c"), in)
		})
		r := rest(t, workflow.New("w", func(b builder, in value) value { return workflow.Call(b, child, in) }), child)
		time.Sleep(time.Minute)
		r.wantOwner(false)
		time.Sleep(time.Hour)
		r.wantEnd("-c", nil)
	})
}

func TestStopOnADurableStoreDoesNotWaitForWhatRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		r := rest(t, longSleep(&j, time.Hour))
		began := time.Now()
		wants(t, r.engine.Stop(t.Context()))
		if d := time.Since(began); d > time.Minute {
			t.Errorf("it took %s", d)
		}
		j.want(t, "do a(-)")
	})
}

func TestOnAStoreThatEndsWithTheProcessNothingRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		w := longSleep(&j, time.Hour)
		s := newInstances(t, w)
		run := start(t, workflow.Config{Workflows: workflow.Set{w}, Store: s.store})
		beginOn(t, run.Engine, w, "-", workflow.WithExecutionID("x"))
		r := &resting{t, s.store, run.Engine, w, "x"}
		time.Sleep(time.Hour - time.Second)
		r.wantOwner(true)
		time.Sleep(time.Second)
		r.wantEnd("-ab", nil)
	})
}
