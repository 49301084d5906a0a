package workflow_test

import (
	"context"
	"errors"
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

// restOn is rest on the store that wrap makes of a durable one.
func restOn(t *testing.T, wrap func(store.Store) store.Store, w *workflow.Workflow[string, string], others ...workflow.Definition) *resting {
	t.Helper()
	s := newInstances(t, append([]workflow.Definition{w}, others...)...)
	c := container.New()
	container.MustRegister(c, locking.ServiceKey, s.locks)
	e, err := workflow.NewEngine(workflow.Config{Workflows: s.set, Store: wrap(&mortal{Store: s.store}), Container: c, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	wants(t, e.Start(t.Context()))
	t.Cleanup(func() { _ = e.Stop(context.Background()) })
	beginOn(t, e, w, "-", workflow.WithExecutionID("x"))
	synctest.Wait()
	return &resting{t, s.store, e, w, "x"}
}

func TestMessageThatIsOfNoUseKeepsNobodyFromResting(t *testing.T) {
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
		r.wantOwner(true)
		time.Sleep(workflow.DefaultRestAfter)
		r.wantOwner(false)
		wants(t, workflow.CompleteStep(t.Context(), r.engine, late, "end"))
		r.wantEnd("end", nil)
	})
}

func TestErrandThatHadToBeTriedAgainKeepsNobodyFromResting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		child := workflow.New("child", func(b builder, in value) value {
			workflow.Sleep(b, time.Hour)
			return workflow.Do(b, doing(&j, "c"), in)
		})
		w := workflow.New("w", func(b builder, in value) value { return workflow.Call(b, child, in) })
		r := restOn(t, func(s store.Store) store.Store { return &forgetful{Store: s, workflow: "child"} }, w, child)
		time.Sleep(time.Minute)
		r.wantOwner(false)
		time.Sleep(time.Hour)
		r.wantEnd("-c", nil)
	})
}

func TestGuardThatWasLeftKeepsNobodyFromResting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		r := rest(t, workflow.New("w", func(b builder, in value) value {
			workflow.Sleep(b, time.Hour)
			v := workflow.Guard(b, workflow.Const(b, "k"), func(b builder) value { return workflow.Do(b, doing(&j, "a"), in) })
			workflow.Sleep(b, time.Hour)
			return v
		}))
		time.Sleep(time.Minute)
		r.wantOwner(false)
		time.Sleep(time.Hour)
		j.want(t, "do a(-)")
		r.wantOwner(false)
		time.Sleep(time.Hour)
		r.wantEnd("-a", nil)
	})
}

// sleepsFirst is a workflow that begins with a sleep of an hour.
func sleepsFirst(j *journal) *workflow.Workflow[string, string] {
	return workflow.New("w", func(b builder, in value) value {
		workflow.Sleep(b, time.Hour)
		return workflow.Do(b, doing(j, "a"), in)
	})
}

func TestExecutionThatBeginsWithALongSleepIsLetGoAtOnceAndItsHandleWaitsForItsEnd(t *testing.T) {
	for name, opts := range map[string][]workflow.RunOption{"with an id of its own": nil, "with the caller's": {workflow.WithExecutionID("y")}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var j journal
				r := rest(t, sleepsFirst(&j))
				h := beginOn(t, r.engine, r.w, "-", opts...)
				r.id = h.ID()
				r.wantOwner(false)
				began := time.Now()
				if out, err := h.Wait(t.Context()); out != "-a" || err != nil {
					t.Errorf("%q, %v", out, err)
				}
				if d := time.Since(began); d != time.Hour {
					t.Errorf("it took %s", d)
				}
			})
		})
	}
}

func TestExecutionThatBeginsWithALongSleepStaysForTheCallerThatWaitsForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		s := newInstances(t, sleepsFirst(&j))
		e, _ := s.start()
		w, _ := s.set[0].(*workflow.Workflow[string, string])
		r := &resting{t, s.store, e, w, "x"}
		done := make(chan error, 1)
		go func() {
			_, err := workflow.Run(t.Context(), e, w, "-", workflow.WithExecutionID("x"))
			done <- err
		}()
		r.wantOwner(true)
		time.Sleep(time.Hour - time.Nanosecond)
		r.wantOwner(true)
		wants(t, <-done)
	})
}

// writes counts the writes that a store is asked for, and has its creations fail.
type writes struct {
	store.Store

	commits, creates atomic.Int32
	create           func(ctx context.Context, x *store.Snapshot) (*store.Snapshot, error)
}

func (s *writes) Commit(ctx context.Context, list []store.Write) []error {
	s.commits.Add(int32(len(list)))
	return s.Store.Commit(ctx, list)
}

func (s *writes) Create(ctx context.Context, x *store.Snapshot) (*store.Snapshot, error) {
	s.creates.Add(1)
	if s.create != nil {
		return s.create(ctx, x)
	}
	return s.Store.Create(ctx, x)
}

func TestALongSleepThatAnExecutionBeginsWithIsPartOfItsCreation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		w := &writes{}
		r := restOn(t, func(s store.Store) store.Store { w.Store = s; return w }, sleepsFirst(&j))
		w.commits.Store(0)
		h := beginOn(t, r.engine, r.w, "-")
		time.Sleep(time.Hour - time.Second)
		if n := w.commits.Load(); n != 0 {
			t.Errorf("%d writes besides, want none", n)
		}
		if out, err := h.Wait(t.Context()); out != "-a" || err != nil {
			t.Errorf("%q, %v", out, err)
		}
	})
}

// An execution without an owner may be through, and forgotten, when its creation is asked
// for again.
func TestI1CreationOfWhatSleepsIsNotRepeatedWhenItsTimeMayHaveCome(t *testing.T) {
	for name, c := range map[string]struct {
		answered time.Duration
		creates  int32
	}{"long before": {time.Minute, 3}, "near it": {50 * time.Minute, 2}, "after it was forgotten": {2 * time.Hour, 2}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var j journal
				w := &writes{}
				r := restOn(t, func(s store.Store) store.Store { w.Store = s; return w }, sleepsFirst(&j))
				var lost atomic.Bool
				w.create = func(ctx context.Context, x *store.Snapshot) (*store.Snapshot, error) {
					existing, err := w.Store.Create(ctx, x)
					if !lost.Swap(true) {
						time.Sleep(c.answered)
						return nil, errBoom
					}
					return existing, err
				}
				_, err := workflow.Start(t.Context(), r.engine, r.w, "-")
				if n := w.creates.Load(); n != c.creates || (err != nil) != (c.creates == 2) {
					t.Errorf("%d calls, %v", n, err)
				}
				time.Sleep(3 * time.Hour)
				synctest.Wait()
				if n := j.count("do a(-)"); n != 2 { // this one, and that of restOn
					t.Errorf("its step was made %d times, want once", n-1)
				}
			})
		})
	}
}

// slowPost is a store that takes messages only when something has happened.
type slowPost struct {
	store.Store

	until func()
}

func (s *slowPost) Deliver(ctx context.Context, k store.Key, m store.Message) error {
	s.until()
	return s.Store.Deliver(ctx, k, m)
}

func TestSenderIsToldWhatBecameOfAMessageToWhatWasLetGoMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		wait := func(s store.Store) store.Store {
			return &slowPost{s, func() { time.Sleep(2 * workflow.DefaultRestAfter) }}
		}
		r := restOn(t, wait, inTurn(d.async("s"), d.async("late")))
		ref := <-d.refs
		wants(t, workflow.CompleteStep(t.Context(), r.engine, ref, "out"))
		late := <-d.refs
		synctest.Wait()
		if err := workflow.CompleteStep(t.Context(), r.engine, ref, "again"); !errors.Is(err, workflow.ErrUnfit) {
			t.Error(err)
		}
		wants(t, workflow.CompleteStep(t.Context(), r.engine, late, "end"))
		r.wantEnd("end", nil)
	})
}

func TestMessageIsNotUnfitThatTheNextOwnerHandles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		busy := make(chan struct{})
		stubborn := body(d.journal, "stubborn", func(*steps.Context) error { <-busy; return nil })
		s := newInstances(t, workflow.New("w", func(b builder, in value) value {
			v, _ := workflow.Parallel2(b,
				func(b builder) value { return workflow.Do(b, d.async("s"), in) },
				func(b builder) value { return workflow.Do(b, stubborn, in) })
			return v
		}))
		w := s.set[0].(*workflow.Workflow[string, string])
		one, _ := s.start()
		beginOn(t, one, w, "-", workflow.WithExecutionID("x"))
		ref := <-d.refs
		synctest.Wait()
		stopped := make(chan struct{})
		go func() {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_ = one.Stop(ctx)
			close(stopped)
		}()
		synctest.Wait()
		if err := workflow.CompleteStep(t.Context(), one, ref, "out"); err != nil {
			t.Error(err)
		}
		close(busy)
		<-stopped
		two, _ := s.start()
		if out, err := result(t, two, w); out != "out" || err != nil {
			t.Errorf("%q, %v", out, err)
		}
	})
}

// ahead is a store whose clock is ahead of its users'.
type ahead struct {
	store.Store

	by     time.Duration
	claims atomic.Int32
}

func (a *ahead) Commit(ctx context.Context, writes []store.Write) []error {
	for i := range writes {
		if at := &writes[i].Head.DueAt; !at.IsZero() {
			*at = at.Add(-a.by)
		}
	}
	return a.Store.Commit(ctx, writes)
}

func (a *ahead) Claim(ctx context.Context, c store.Claim) ([]store.Claimed, error) {
	got, err := a.Store.Claim(ctx, c)
	if a.claims.Add(int32(len(got))) > 1000 {
		<-ctx.Done() // it would go on for good, since no time passes
		return nil, ctx.Err()
	}
	return got, err
}

func TestWhatIsDueByTheStoresClockAloneIsNotLetGoAndClaimedWithoutAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		a := &ahead{by: time.Minute}
		r := restOn(t, func(s store.Store) store.Store { a.Store = s; return a }, longSleep(&j, time.Hour))
		r.wantOwner(false)
		time.Sleep(time.Hour)
		if n := a.claims.Load(); n > 20 {
			t.Errorf("it was claimed %d times", n)
		}
		r.wantEnd("-ab", nil)
	})
}
