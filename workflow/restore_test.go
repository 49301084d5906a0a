package workflow_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/container"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/workflow"
)

// memoryLost has the locks in memory be gone, as they are in the next process.
func (s *instances) memoryLost() {
	s.t.Helper()
	locks, err := locking.New(s.t.Context(), locking.Config{Logger: quiet})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = locks.Close(context.Background()) })
	s.locks, s.next = locks, true
}

// holder is a workflow of a guard, within which its process dies once, and which then has
// the guard's lock or fails.
func holder(name string, dies *atomic.Bool) *workflow.Workflow[string, string] {
	return workflow.New(name, func(b builder, in value) value {
		return workflow.Guard(b, in, func(b builder) value {
			return workflow.Do(b, steps.New("in", func(ctx *steps.Context, in string) (string, error) {
				if dies.Load() {
					return in, untilEnd(ctx)
				}
				lock, err := locking.Held(ctx, in)
				if err != nil {
					return in, err
				}
				return in, lock.Context().Err()
			}), in)
		})
	})
}

func TestLocksInMemoryAreTakenAgainWhereOneProcessHasTheStore(t *testing.T) {
	for name, c := range map[string]struct {
		shared  bool
		between bool
		before  func(t *testing.T, locks *locking.Service)
		want    error
	}{
		"and they go on": {},
		"unless another process has had the store in between": {
			between: true, want: workflow.ErrGuardLost,
		},
		"unless others have the store, too": {
			shared: true, want: workflow.ErrGuardLost,
		},
		"unless somebody has asked for a lock before the engine's start": {
			before: func(t *testing.T, locks *locking.Service) {
				l, err := locks.TryAcquire(t.Context(), locking.Keys("another"))
				if err != nil {
					t.Fatal(err)
				}
				l.Close()
			},
			want: workflow.ErrGuardLost,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var dies atomic.Bool
				dies.Store(true)
				w := holder("w", &dies)
				s := newInstances(t, w)
				s.node, s.shared = "n", c.shared
				one, m := s.start()
				beginOn(t, one, w, "k", workflow.WithExecutionID("x"))
				synctest.Wait()
				kill(t, one, m)
				dies.Store(false)
				s.memoryLost()
				s.next = !c.between
				if c.before != nil {
					c.before(t, s.locks)
				}
				two, _ := s.start()
				if _, err := workflow.Run(t.Context(), two, w, "k", workflow.WithExecutionID("x")); !errors.Is(err, c.want) || err != nil && c.want == nil {
					t.Errorf("%v, want %v", err, c.want)
				}
			})
		})
	}
}

// What a thief is quick enough to ask for is held by then.
func TestNothingGoesOnBeforeAllLocksInMemoryAreTakenAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const holders = 250
		var dies atomic.Bool
		dies.Store(true)
		w := holder("holder", &dies)
		var stolen atomic.Int64
		thief := workflow.New("thief", func(b builder, in value) value {
			return workflow.Do(b, steps.New("steals", func(ctx *steps.Context, in string) (string, error) {
				if dies.Load() {
					return in, untilEnd(ctx)
				}
				locks, err := container.Resolve(ctx, locking.ServiceKey)
				if err != nil {
					return in, err
				}
				for i := range holders {
					if l, err := locks.TryAcquire(ctx, locking.Keys(fmt.Sprint("k-", i))); err == nil {
						stolen.Add(1)
						l.Close()
					}
				}
				return in, nil
			}), in)
		})
		s := newInstances(t, w, thief)
		s.node = "n"
		one, m := s.start()
		for i := range holders {
			beginOn(t, one, w, fmt.Sprint("k-", i), workflow.WithExecutionID(fmt.Sprint("x-", i)))
			if i%50 == 0 {
				beginOn(t, one, thief, "-", workflow.WithExecutionID(fmt.Sprint("thief-", i)))
			}
		}
		synctest.Wait()
		kill(t, one, m)
		dies.Store(false)
		s.memoryLost()
		two, _ := s.start()
		for i := range holders {
			if _, err := workflow.Run(t.Context(), two, w, fmt.Sprint("k-", i), workflow.WithExecutionID(fmt.Sprint("x-", i))); err != nil {
				t.Fatalf("holder %d: %v", i, err)
			}
		}
		for i := 0; i < holders; i += 50 {
			if _, err := workflow.Run(t.Context(), two, thief, "-", workflow.WithExecutionID(fmt.Sprint("thief-", i))); err != nil {
				t.Fatal(err)
			}
		}
		t.Logf("after their ends, thieves had %d locks", stolen.Load())
	})
}

func TestLocksInMemoryThatAStepHasLeftAreTakenAgainToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dies atomic.Bool
		dies.Store(true)
		var token atomic.Uint64
		w := workflow.New("w", func(b builder, in value) value {
			v := workflow.Do(b, taking("takes", keep), in)
			return workflow.Do(b, steps.New("has", func(ctx *steps.Context, in string) (string, error) {
				lock, err := locking.Held(ctx, "k")
				if err != nil {
					return in, err
				}
				if now := lock.Token("k"); uint64(now) <= token.Swap(uint64(now)) {
					return in, steps.Permanent(fmt.Errorf("the token %d is not higher than the one before", now))
				}
				if dies.Load() {
					return in, untilEnd(ctx)
				}
				return in, nil
			}), v)
		})
		s := newInstances(t, w)
		s.node = "n"
		one, m := s.start()
		beginOn(t, one, w, "-", workflow.WithExecutionID("x"))
		synctest.Wait()
		kill(t, one, m)
		dies.Store(false)
		time.Sleep(time.Hour) // the next process comes when every lease has ended
		s.memoryLost()
		two, _ := s.start()
		if _, err := result(t, two, w); err != nil {
			t.Error(err)
		}
	})
}

// stopping has an engine be stopped at its second claim.
type stopping struct {
	*mortal

	claims int
	stop   func()
}

func (s *stopping) Claim(ctx context.Context, c store.Claim) ([]store.Claimed, error) {
	if s.claims++; s.claims == 2 {
		s.stop()
	}
	return s.mortal.Claim(ctx, c)
}

// End comes later than what was asked before it.
func (*stopping) End(context.Context, store.Instance) error { return nil }

func TestStartThatIsStoppedWhileLocksAreTakenAgainReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dies atomic.Bool
		dies.Store(true)
		w := holder("w", &dies)
		s := newInstances(t, w)
		s.node = "n"
		one, m := s.start()
		for i := range 150 { // more than are claimed at a time
			beginOn(t, one, w, fmt.Sprint("k-", i))
		}
		synctest.Wait()
		kill(t, one, m)
		s.memoryLost()
		c := container.New()
		container.MustRegister(c, locking.ServiceKey, s.locks)
		st := &stopping{mortal: &mortal{TaskQueue: s.store, next: true}}
		two, err := workflow.NewEngine(workflow.Config{Workflows: s.set, Store: st, Container: c, Logger: quiet, Node: "n"})
		if err != nil {
			t.Fatal(err)
		}
		var stopped atomic.Bool
		st.stop = func() {
			go func() {
				ctx, cancel := context.WithCancel(context.Background())
				cancel()
				_ = two.Stop(ctx) // they are left to the next one
				stopped.Store(true)
			}()
			time.Sleep(time.Second)
		}
		began := time.Now()
		if err := two.Start(t.Context()); err == nil || time.Since(began) > time.Minute {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		synctest.Wait()
		if !stopped.Load() {
			t.Error("it is not stopped")
		}
	})
}
