package engine

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/internal/machine"
	"github.com/lockstep-dev/lockstep/internal/plan"
	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/store/storemem"
)

// rig is an engine with a workflow of one step.
type rig struct {
	*Engine

	plan *plan.Plan
	let  chan struct{} // lets the body go on
}

// newRig makes one whose body is as given, once it was let, or its context has ended.
func newRig(t *testing.T, policy plan.Attempts, body func() error) *rig {
	t.Helper()
	r := &rig{let: make(chan struct{})}
	step := &plan.Step{Name: "a", Policy: plan.Policy{Invoke: policy}, InType: "t", OutType: "t"}
	step.Invoke = func(ctx context.Context, _ plan.Codec, input []byte) plan.Result {
		select {
		case <-r.let:
		case <-ctx.Done():
		}
		return plan.Result{Output: input, Err: body()}
	}
	p, err := plan.New(plan.Plan{
		Name: "w", InType: "t", OutType: "t",
		Nodes:     []plan.Node{{Path: "a", Kind: plan.StepNode, Inputs: []plan.Ref{plan.Input}, OutType: "t", Step: step}},
		Sequences: []plan.Sequence{{Nodes: []int{0}, Output: plan.Ref{Node: 0}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	r.plan = p
	r.Engine = New(Config{
		Store: storemem.New(), Codec: store.JSON{}, Plans: map[string]*plan.Plan{"w": p}, Logger: slog.New(slog.DiscardHandler),
		Lease: time.Minute, LockLease: time.Hour, CancelGrace: time.Second, Retention: Retention{Given: time.Hour, Generated: time.Hour, MostGenerated: 10},
	})
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Stop(context.WithoutCancel(t.Context())) })
	return r
}

func (r *rig) begin(t *testing.T) *Run {
	t.Helper()
	run, err := r.Begin(t.Context(), Order{Plan: r.plan, Input: []byte("1")})
	if err != nil {
		t.Fatal(err)
	}
	synctest.Wait() // for the body
	return run
}

func good() error { return nil }

// givenBack says whether the run's memory was cleared for another one.
func givenBack(r *Run) bool { return r.key == (store.Key{}) && r.s == nil }

func TestTheMemoryOfARunIsUsedAgainOnceItIsOverAndReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, plan.Attempts{}, good)
		early := r.begin(t)
		early.Release()
		if givenBack(early) {
			t.Error("it was used again before it was over")
		}
		late := r.begin(t)
		close(r.let)
		synctest.Wait()
		if !givenBack(early) {
			t.Error("it is not used again once it is over")
		}
		if givenBack(late) {
			t.Error("it was used again before it was released")
		}
		if end, err := late.Wait(t.Context()); err != nil || string(end.Output) != "1" {
			t.Error(end, err)
		}
		late.Release()
		if !givenBack(late) {
			t.Error("it is not used again once it is released")
		}
	})
}

// Nobody knows when these have done with it.
func TestTheMemoryOfARunIsNotUsedAgainThatSomebodyElseMayHave(t *testing.T) {
	for name, c := range map[string]struct {
		policy plan.Attempts
		body   func() error
		other  func(t *testing.T, r *rig, run *Run)
	}{
		"who has found it": {other: func(_ *testing.T, r *rig, run *Run) { r.Find(run.Key()) }},
		"who interrupts all": {other: func(_ *testing.T, r *rig, _ *Run) {
			r.interrupt(ErrInterrupted)
		}},
		"who has been given the same id": {other: func(t *testing.T, r *rig, run *Run) {
			other, err := r.Begin(t.Context(), Order{Plan: r.plan, ID: run.Key().ID, Input: []byte("1")})
			if err != nil || other.first != run {
				t.Error(err)
			}
		}},
		"its next owner": {other: func(_ *testing.T, r *rig, run *Run) {
			r.adopt(store.Claimed{Snapshot: &store.Snapshot{
				Identity: store.Identity{Key: run.Key(), Fingerprint: r.plan.Fingerprint}, Head: store.Head{State: store.Done},
			}}).post(adopted{})
		}},
		"a sender":          {other: func(_ *testing.T, _ *rig, run *Run) { run.post(woke{}) }},
		"the line of turns": {other: func(_ *testing.T, r *rig, run *Run) { r.turns.ask(run, machine.AwaitTurn{}) }},
		"a timer that was set": {other: func(_ *testing.T, r *rig, run *Run) {
			r.timers.set(run, time.Now().Add(time.Hour))
		}},
		"the timer of a pause":   {policy: plan.Attempts{Most: 2, Pause: time.Second}, body: failsOnce()},
		"the timer of a timeout": {policy: plan.Attempts{Timeout: time.Hour}},
		"a body that has ended its goroutine": {body: func() error {
			runtime.Goexit()
			return nil
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if c.body == nil {
					c.body = good
				}
				r := newRig(t, c.policy, c.body)
				run := r.begin(t)
				if c.other != nil {
					c.other(t, r, run)
				}
				close(r.let)
				time.Sleep(time.Minute)
				run.Release()
				synctest.Wait()
				if givenBack(run) {
					t.Error("it was used again")
				}
			})
		})
	}
}

func failsOnce() func() error {
	failed := false
	return func() error {
		if failed {
			return nil
		}
		failed = true
		return errors.New("once")
	}
}
