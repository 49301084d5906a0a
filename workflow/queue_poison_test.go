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
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/workflow"
)

// The killer's process dies a second after its body began, whatever else runs there.
func TestI11OnePoisonStepAmongInnocentsOnAQueueFailsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const innocents = 14
		var deadly atomic.Pointer[func()]
		w := inTurn(steps.New("a", func(ctx *steps.Context, in string) (string, error) {
			if in == "killer" {
				if dies := deadly.Swap(nil); dies != nil {
					(*dies)()
				}
				return in, untilEnd(ctx)
			}
			time.Sleep(3 * time.Second)
			return in, ctx.Err()
		}, steps.OnQueue("q")))
		s := newInstances(t, w)
		driver, _ := s.serving("driver")
		killer := beginOn(t, driver, w, "killer", workflow.WithExecutionID("killer"))
		var list []*workflow.Handle[string]
		for i := range innocents {
			list = append(list, beginOn(t, driver, w, fmt.Sprint(i), workflow.WithExecutionID(fmt.Sprint(i))))
		}
		for i := 0; ; i++ {
			died := make(chan struct{})
			var once atomic.Bool
			dies := func() {
				if !once.Swap(true) {
					time.AfterFunc(time.Second, func() { close(died) })
				}
			}
			deadly.Store(&dies)
			e, m := s.serving(fmt.Sprint("server ", i), workflow.Queue{Name: "q", Workers: 8})
			select {
			case <-died:
				kill(t, e, m)
				continue
			case <-time.After(10 * time.Minute):
			}
			break
		}
		_, err := killer.Wait(t.Context())
		if loop, ok := errors.AsType[*workflow.CrashLoopError](err); !ok || loop.Deaths != 3 {
			t.Errorf("the killer: %v", err)
		}
		for i, h := range list {
			if _, err := h.Wait(t.Context()); err != nil {
				t.Errorf("innocent %d: %v", i, err)
			}
		}
	})
}

// dropping drops a task between its taking and the moment in which its taker hears of it.
type dropping struct {
	*mortal

	taken func()
}

func (d *dropping) Take(ctx context.Context, ask store.Take) ([]store.Taken, time.Duration, error) {
	list, pause, err := d.mortal.Take(ctx, ask)
	if len(list) > 0 && d.taken != nil {
		d.taken()
	}
	return list, pause, err
}

func TestWhatIsDroppedWhileItIsTakenIsNotBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		w := inTurn(doing(&j, "a"), queued(&j, "b", func(*steps.Context) error { time.Sleep(time.Hour); return nil }, steps.CompensateOnlyDone()))
		s := newInstances(t, w)
		driver, _ := s.serving("driver")
		h := beginOn(t, driver, w, "-")
		synctest.Wait()
		d := &dropping{}
		d.taken = func() {
			d.taken = nil
			synctest.Wait() // it is told of what happens by now
			if err := h.Cancel(t.Context()); err != nil {
				t.Error(err)
			}
			synctest.Wait() // it is told of the drop before it has the answer
		}
		s.start(func(cfg *workflow.Config) {
			d.mortal, _ = cfg.Store.(*mortal)
			container.MustRegister(cfg.Container, serverKey, "server")
			cfg.Store, cfg.Queues = d, []workflow.Queue{q}
		})
		_, _ = h.Wait(t.Context())
		synctest.Wait()
		j.want(t, "do a(-)", "undo a(-a) succeeded")
	})
}

func TestStopBringsStepsOnQueuesToTheirEndWhereTheStoreEndsWithTheProcess(t *testing.T) {
	r := &journal{}
	synctest.Test(t, func(t *testing.T) {
		w := inTurn(body(r, "a", func(*steps.Context) error { time.Sleep(time.Minute); return nil }),
			steps.With(doing(r, "b"), steps.Background()))
		rig := start(t, workflow.Config{Workflows: workflow.Set{w}})
		h := beginOn(t, rig.Engine, w, "-")
		synctest.Wait()
		began := time.Now()
		if err := rig.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		if out, err := h.Wait(t.Context()); out != "-ab" || err != nil || time.Since(began) > 2*time.Minute {
			t.Error(out, err, time.Since(began))
		}
	})
}
