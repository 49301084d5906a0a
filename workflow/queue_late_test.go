package workflow_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/container"
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store"
)

// whereabouts is a step on the queue "q" that tells where it was made, and waits for
// something there, without heeding its context.
func whereabouts(j *journal, wait map[string]chan struct{}) text {
	return steps.New("a", func(ctx *steps.Context, in string) (string, error) {
		at, err := container.Resolve(ctx, serverKey)
		j.addf("%s begins", at)
		<-wait[at]
		j.addf("%s ends", at)
		return in + at, err
	}, steps.OnQueue("q"))
}

func TestTheLateResultOfAnInstanceThatHasLostItsLeaseChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		wait := map[string]chan struct{}{"first": make(chan struct{}), "second": make(chan struct{})}
		w := inTurn(whereabouts(&j, wait))
		s := newInstances(t, w)
		driver, _ := s.serving("driver")
		_, m := s.serving("first", q)
		h := beginOn(t, driver, w, "-")
		synctest.Wait()
		m.asleep.Store(true)
		s.serving("second", q)
		time.Sleep(time.Minute)
		close(wait["first"])
		synctest.Wait()
		j.want(t, "first begins", "second begins", "first ends")
		if x, err := h.Status(t.Context()); err != nil || x.State != store.Invoking {
			t.Errorf("%+v, %v", x, err)
		}
		close(wait["second"])
		if out, err := h.Wait(t.Context()); out != "-second" || err != nil {
			t.Error(out, err)
		}
	})
}

func TestWhatAnEngineThatStopsHasOfAQueueOthersMakeAtOnceAndNotAsADeath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		w := inTurn(queued(&j, "a", func(ctx *steps.Context) error {
			if at, _ := container.Resolve(ctx, serverKey); at == "last" {
				return nil
			}
			return untilEnd(ctx)
		}))
		s := newInstances(t, w)
		driver, _ := s.serving("driver")
		h := beginOn(t, driver, w, "-")
		began := time.Now()
		for range 5 {
			e, _ := s.serving("one that stops", q)
			synctest.Wait()
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_ = e.Stop(ctx)
		}
		s.serving("last", q)
		if out, err := h.Wait(t.Context()); out != "-a" || err != nil {
			t.Error(out, err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %s", took)
		}
		if n := j.count("do a(-) at one that stops"); n != 5 {
			t.Errorf("%d times", n)
		}
	})
}

func TestStopWaitsForWhatTheEngineMakesOfAQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		w := inTurn(queued(&j, "a", func(*steps.Context) error { time.Sleep(time.Minute); return nil }))
		s := newInstances(t, w)
		driver, _ := s.serving("driver")
		one, _ := s.serving("one", q)
		h := beginOn(t, driver, w, "-")
		synctest.Wait()
		if err := one.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if out, err := h.Wait(t.Context()); out != "-a" || err != nil {
			t.Error(out, err)
		}
		j.want(t, "do a(-) at one")
	})
}
