package workflow_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/container"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/store/storemem"
	"github.com/lockstep-dev/lockstep/workflow"
)

// serverKey is what engines of these tests are called.
var serverKey = container.NewKey[string]("server")

// serving starts an engine that has a name and serves queues, and no others.
func (s *instances) serving(name string, queues ...workflow.Queue) (*workflow.Engine, *mortal) {
	s.t.Helper()
	return s.start(func(cfg *workflow.Config) {
		container.MustRegister(cfg.Container, serverKey, name)
		cfg.Queues = append([]workflow.Queue{}, queues...)
	})
}

// queued is a step on the queue "q" that notes where it is made.
func queued(j *journal, name string, fn func(ctx *steps.Context) error, opts ...steps.Option) text {
	where := func(ctx *steps.Context) string {
		at, err := container.Resolve(ctx, serverKey)
		if err != nil {
			return err.Error()
		}
		return at
	}
	opts = append([]steps.Option{steps.OnQueue("q"), steps.Undo(func(ctx *steps.Context, out string) error {
		j.addf("undo %s(%s) %s at %s", name, out, ctx.Outcome(), where(ctx))
		return nil
	})}, opts...)
	return steps.New(name, func(ctx *steps.Context, in string) (string, error) {
		j.addf("do %s(%s) at %s", name, in, where(ctx))
		if err := fn(ctx); err != nil {
			return "lost", err
		}
		return in + name, nil
	}, opts...)
}

func nothing(*steps.Context) error { return nil }

var q = workflow.Queue{Name: "q"}

func TestStepOnAQueueIsMadeByWhoeverServesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		w := inTurn(doing(&j, "a"), queued(&j, "b", nothing), doing(&j, "c"))
		s := newInstances(t, w)
		driver, _ := s.serving("driver")
		h := beginOn(t, driver, w, "-")
		synctest.Wait()
		status, err := h.Status(t.Context())
		if err != nil || status.Steps[1].Invoke.Waits != store.WaitingForQueue {
			t.Errorf("while nobody serves the queue: %+v, %v", status, err)
		}
		began := time.Now()
		s.serving("server", q)
		if out, err := h.Wait(t.Context()); out != "-abc" || err != nil {
			t.Error(out, err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %s", took)
		}
		j.want(t, "do a(-)", "do b(-a) at server", "do c(-ab)")
	})
}

func TestStepOnAQueueIsUndoneThereInReverse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		fails := body(&j, "c", func(*steps.Context) error { return errBoom })
		w := inTurn(doing(&j, "a"), queued(&j, "b", nothing), fails)
		s := newInstances(t, w)
		driver, _ := s.serving("driver")
		s.serving("server", q)
		if _, err := workflow.Run(t.Context(), driver, w, "-"); !errors.Is(err, errBoom) {
			t.Error(err)
		}
		j.want(t, "do a(-)", "do b(-a) at server", "do c(-ab)", "undo c() failed", "undo b(-ab) succeeded at server", "undo a(-a) succeeded")
	})
}

func TestStepOnAQueueThatFailsIsTriedAgainByItsPolicyAndTellsItsError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		var tries atomic.Int32
		w := inTurn(queued(&j, "a", func(ctx *steps.Context) error {
			if tries.Add(1); ctx.Attempt() != int(tries.Load()) {
				t.Errorf("attempt %d is the %d.", ctx.Attempt(), tries.Load())
			}
			return errBoom
		}, steps.Retry(steps.RetryPolicy{MaxAttempts: 3, Backoff: time.Minute})))
		s := newInstances(t, w)
		driver, _ := s.serving("driver")
		s.serving("server", q)
		began := time.Now()
		_, err := workflow.Run(t.Context(), driver, w, "-")
		if e, ok := errors.AsType[*workflow.StepError](err); !ok || e.Step != "a" || e.Attempt != 3 || !errors.Is(err, errBoom) {
			t.Errorf("%v (%T)", err, err)
		}
		if took := time.Since(began); tries.Load() != 3 || took < 2*time.Minute || took > 3*time.Minute {
			t.Errorf("%d tries in %s", tries.Load(), took)
		}
	})
}

func TestTimeoutOfAStepOnAQueueEndsItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		w := inTurn(queued(&j, "a", untilEnd, steps.Timeout(time.Minute)))
		s := newInstances(t, w)
		one, _ := s.serving("one", q)
		began := time.Now()
		_, err := workflow.Run(t.Context(), one, w, "-")
		if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took != time.Minute {
			t.Errorf("%v after %s", err, took)
		}
		j.want(t, "do a(-) at one", "undo a() failed at one")
	})
}

func TestCancelEndsAnAttemptOnAQueueWhereverItIsMadeAndWaitsForItsBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		w := inTurn(queued(&j, "a", func(ctx *steps.Context) error {
			<-ctx.Done()
			j.addf("ends")
			return ctx.Err()
		}))
		s := newInstances(t, w)
		patient := func(cfg *workflow.Config) { cfg.CancelGrace = time.Minute }
		driver, _ := s.start(patient, func(cfg *workflow.Config) { cfg.Queues = []workflow.Queue{} })
		s.serving("server", q)
		h := beginOn(t, driver, w, "-")
		synctest.Wait()
		began := time.Now()
		if err := h.Cancel(t.Context()); err != nil {
			t.Error(err)
		}
		if _, err := h.Wait(t.Context()); !errors.Is(err, workflow.ErrCancelled) && err == nil {
			t.Error(err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %s, although the body has returned", took)
		}
		j.want(t, "do a(-) at server", "ends", "undo a() failed at server")
	})
}

func TestWhatIsCancelledOnAQueueThatNobodyServesIsAbandonedAfterTheGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		w := inTurn(doing(&j, "a"), queued(&j, "b", nothing, steps.CompensateOnlyDone()))
		s := newInstances(t, w)
		driver, _ := s.serving("driver")
		h := beginOn(t, driver, w, "-")
		synctest.Wait()
		if err := h.Cancel(t.Context()); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		if x, err := driver.Queues(t.Context()); err != nil || len(x) != 1 || x[0].Waiting != 1 {
			t.Errorf("%+v, %v: its compensation is to wait there, since its outcome is unknown", x, err)
		}
		s.serving("server", q)
		_, _ = h.Wait(t.Context())
		j.want(t, "do a(-)", "undo b() unknown at server", "undo a(-a) succeeded")
	})
}

func TestStepOnAQueueIsMadeAgainWhereItsInstanceHasDied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		var key string
		w := inTurn(queued(&j, "a", func(ctx *steps.Context) error {
			at, _ := container.Resolve(ctx, serverKey)
			if key == "" {
				key = ctx.IdempotencyKey()
			}
			if key != ctx.IdempotencyKey() || ctx.Attempt() != 1 {
				t.Errorf("attempt %d of %q, which was %q", ctx.Attempt(), ctx.IdempotencyKey(), key)
			}
			if at == "first" {
				_ = untilEnd(ctx)
			}
			return nil
		}))
		s := newInstances(t, w)
		driver, _ := s.serving("driver")
		first, m := s.serving("first", q)
		h := beginOn(t, driver, w, "-")
		synctest.Wait()
		s.serving("second", q)
		kill(t, first, m)
		if out, err := h.Wait(t.Context()); out != "-a" || err != nil {
			t.Error(out, err)
		}
		j.want(t, "do a(-) at first", "do a(-) at second")
	})
}

func TestStepOnAQueueThatKillsItsInstancesFailsAndItAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		w := inTurn(queued(&j, "a", untilEnd))
		s := newInstances(t, w)
		driver, _ := s.serving("driver")
		h := beginOn(t, driver, w, "-")
		for i := range 4 {
			e, m := s.serving(fmt.Sprint(i), q)
			for j.count(fmt.Sprintf("do a(-) at %d", i)) == 0 {
				time.Sleep(time.Second)
			}
			kill(t, e, m)
		}
		s.serving("last", q)
		_, err := h.Wait(t.Context())
		if loop, ok := errors.AsType[*workflow.CrashLoopError](err); !ok || loop.Deaths != 3 {
			t.Errorf("%v (%T)", err, err)
		}
		if list := j.all(); list[len(list)-1] != "undo a() unknown at last" {
			t.Errorf("%q", list)
		}
	})
}

func TestWhoeverGoesOnWithAnExecutionHasTheResultFromItsQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		hold := make(chan struct{})
		w := inTurn(queued(&j, "a", func(*steps.Context) error { <-hold; return nil }), doing(&j, "b"))
		s := newInstances(t, w)
		one, m := s.serving("one")
		s.serving("server", q)
		beginOn(t, one, w, "-", workflow.WithExecutionID("x"))
		synctest.Wait()
		kill(t, one, m)
		two, _ := s.serving("two")
		time.Sleep(time.Minute) // it has been claimed
		close(hold)
		if out, err := result(t, two, w); out != "-ab" || err != nil {
			t.Error(out, err)
		}
		j.want(t, "do a(-) at server", "do b(-a)")
	})
}

func TestWorkersAndLimitBoundHowManyOfAQueueRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		var now, most atomic.Int32
		w := inTurn(queued(&j, "a", func(*steps.Context) error {
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			time.Sleep(time.Second)
			now.Add(-1)
			return nil
		}))
		s := newInstances(t, w)
		bounded := workflow.Queue{Name: "q", Workers: 4, Limit: 6}
		one, _ := s.serving("one", bounded)
		s.serving("two", bounded)
		var list []*workflow.Handle[string]
		for range 30 {
			list = append(list, beginOn(t, one, w, "-"))
		}
		for _, h := range list {
			if _, err := h.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		at := map[string]int{}
		for _, line := range j.all() {
			at[line[strings.LastIndexByte(line, ' ')+1:]]++
		}
		if most.Load() != 6 || at["one"] < 6 || at["two"] < 6 {
			t.Errorf("%d ran at a time, and where: %v", most.Load(), at)
		}
	})
}

func TestIntervalSpacesTheStepsOfAQueueOverAllEngines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		var at []time.Time
		w := inTurn(queued(&j, "a", func(*steps.Context) error { at = append(at, time.Now()); return nil }))
		s := newInstances(t, w)
		spaced := workflow.Queue{Name: "q", Interval: 10 * time.Second}
		one, _ := s.serving("one", spaced)
		s.serving("two", spaced)
		var list []*workflow.Handle[string]
		for range 5 {
			list = append(list, beginOn(t, one, w, "-"))
		}
		for _, h := range list {
			if _, err := h.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		for i := 1; i < len(at); i++ {
			if d := at[i].Sub(at[i-1]); d < 10*time.Second || d > 11*time.Second {
				t.Errorf("%s between two", d)
			}
		}
	})
}

func TestPausedQueueBeginsNothingUntilItGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		w := inTurn(queued(&j, "a", nothing))
		s := newInstances(t, w)
		one, _ := s.serving("one", q)
		if err := one.PauseQueue(t.Context(), "q"); err != nil {
			t.Fatal(err)
		}
		h := beginOn(t, one, w, "-")
		time.Sleep(time.Minute)
		want := []workflow.QueueState{{Name: "q", Waiting: 1, Paused: true}}
		if got, err := one.Queues(t.Context()); err != nil || !slices.Equal(got, want) {
			t.Errorf("%+v, %v", got, err)
		}
		j.want(t)
		if err := one.ResumeQueue(t.Context(), "q"); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Wait(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestLockOfAStepOnAQueueIsGivenBackAtItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		in, out := make(chan struct{}), make(chan struct{})
		w := inTurn(queued(&j, "a", func(ctx *steps.Context) error {
			if _, err := take(ctx, "k"); err != nil {
				return err
			}
			close(in)
			<-out
			return nil
		}))
		s := newInstances(t, w)
		one, _ := s.serving("one", q)
		h := beginOn(t, one, w, "-")
		<-in
		if _, err := s.locks.TryAcquire(t.Context(), locking.Keys("k")); !errors.Is(err, locking.ErrNotAcquired) {
			t.Errorf("within the step: %v", err)
		}
		close(out)
		if _, err := h.Wait(t.Context()); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		l, err := s.locks.TryAcquire(t.Context(), locking.Keys("k"))
		if err != nil {
			t.Fatal("after it:", err)
		}
		l.Close()
	})
}

func TestStepOnAQueueCannotStandInAGuard(t *testing.T) {
	var j journal
	_, err := workflow.Build("w", func(b builder, in value) value {
		return workflow.Guard(b, in, func(b builder) value { return workflow.Do(b, queued(&j, "a", nothing), in) })
	})
	if err == nil || !strings.Contains(err.Error(), `"a" is on the queue "q", within guard`) {
		t.Error(err)
	}
}

func TestErrorsOfQueuesNameTheQueueAndWhatWasAsked(t *testing.T) {
	e, err := workflow.NewEngine(workflow.Config{Store: struct{ store.Store }{storemem.New()}})
	if err != nil {
		t.Fatal(err)
	}
	_, listed := e.Queues(t.Context())
	for want, err := range map[string]error{
		`pause queue "q"`: e.PauseQueue(t.Context(), "q"), `resume queue "q"`: e.ResumeQueue(t.Context(), "q"), "list queues": listed,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestQueuesThatCannotBeServedAreRefused(t *testing.T) {
	var j journal
	w := inTurn(queued(&j, "a", nothing))
	plain := struct{ store.Store }{storemem.New()}
	for want, cfg := range map[string]workflow.Config{
		"store.TaskQueue": {Store: plain, Workflows: workflow.Set{w}},
		"serve queues":    {Store: plain, Queues: []workflow.Queue{q}},
		"Queues[0].Name":  {Store: storemem.New(), Queues: []workflow.Queue{{}}},
		"no other queue":  {Store: storemem.New(), Queues: []workflow.Queue{q, q}},
		"Workers":         {Store: storemem.New(), Queues: []workflow.Queue{{Name: "q", Workers: -1}}},
		"Queues[0].Limit": {Store: storemem.New(), Queues: []workflow.Queue{{Name: "q", Limit: -1}}},
		"Interval":        {Store: storemem.New(), Queues: []workflow.Queue{{Name: "q", Interval: -1}}},
	} {
		_, err := workflow.NewEngine(cfg)
		if e, ok := errors.AsType[*workflow.ConfigError](err); !ok || !strings.Contains(e.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
