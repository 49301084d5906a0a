package workflow_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/workflow"
)

// legacy is what one engine has left, and another one goes on with that may have a few of
// it at work.
type legacy struct {
	*instances

	journal
	let    chan struct{} // lets one body go on, each time
	second atomic.Bool   // the other engine is there
	inside atomic.Int32  // how many bodies run in that
	first  *workflow.Engine
	m      *mortal
	e      *workflow.Engine
	began  time.Time      // when that was started
	dead   store.Instance // the first engine, if it has died
}

func newLegacy(t *testing.T, most int, set func(c *legacy) workflow.Set) *legacy {
	t.Helper()
	c := &legacy{let: make(chan struct{})}
	c.instances = newInstances(t, set(c)...)
	c.node, c.most = "n", most
	c.first, c.m = c.start()
	return c
}

// plain is a workflow of one step, which waits to be let go on.
func (c *legacy) plain(name string) *workflow.Workflow[string, string] {
	return inTurnAs(name, c.step("plain"))
}

func inTurnAs(name string, list ...text) *workflow.Workflow[string, string] {
	return workflow.New(name, func(b builder, in value) value {
		for _, s := range list {
			in = workflow.Do(b, s, in)
		}
		return in
	})
}

// step is a step that the first engine never comes to the end of, and whose body waits in
// the second one until it is let go on.
func (c *legacy) step(name string) text {
	return steps.New(name, func(ctx *steps.Context, in string) (string, error) {
		if !c.second.Load() {
			return "", untilEnd(ctx)
		}
		c.inside.Add(1)
		defer c.inside.Add(-1)
		select {
		case <-c.let:
			c.addf("%s of %s", name, in)
			return in, nil
		case <-ctx.Done():
			return "", ctx.Err()
		}
	})
}

func (c *legacy) beginAll(w *workflow.Workflow[string, string], count int) {
	c.t.Helper()
	for i := range count {
		beginOn(c.t, c.first, w, fmt.Sprint(i), workflow.WithExecutionID(fmt.Sprint(i)))
		synctest.Wait()
		time.Sleep(time.Millisecond) // they have waited for longer that came first
	}
}

// stop ends the first engine, which lets go of what it has, and starts the second one.
func (c *legacy) stop() {
	c.t.Helper()
	now, cancel := context.WithCancel(c.t.Context())
	cancel()
	_ = c.first.Stop(now) // it names what it has left
	c.goOn()
}

// die ends the first engine as the death of its process does, and starts the second one.
func (c *legacy) die() {
	c.t.Helper()
	page, err := c.store.List(c.t.Context(), store.Query{Limit: 1})
	if err != nil || len(page.Executions) != 1 {
		c.t.Fatal(page, err)
	}
	c.dead = page.Executions[0].Owner
	kill(c.t, c.first, c.m)
	c.goOn()
}

func (c *legacy) goOn() {
	c.second.Store(true)
	c.began = time.Now()
	c.e, _ = c.start()
	synctest.Wait()
}

// owned counts the executions of a workflow that somebody alive drives; of all where it has no
// name.
func (c *legacy) owned(workflow string) (n int) {
	c.t.Helper()
	page, err := c.store.List(c.t.Context(), store.Query{Workflow: workflow, States: []store.ExecutionState{store.Invoking}, Limit: 1000})
	if err != nil {
		c.t.Fatal(err)
	}
	for i := range page.Executions {
		if o := page.Executions[i].Owner; !o.None() && o != c.dead {
			n++
		}
	}
	return n
}

func (c *legacy) wantAtWork(bodies, owned int) {
	c.t.Helper()
	synctest.Wait()
	if n := int(c.inside.Load()); n != bodies {
		c.t.Errorf("%d bodies run, want %d", n, bodies)
	}
	if n := c.owned(""); n != owned {
		c.t.Errorf("%d are driven, want %d", n, owned)
	}
}

// letOne lets one body come to its end, which has to be there by now: when nothing comes on
// for half a lease, more is claimed.
func (c *legacy) letOne() {
	c.letOneAtLast()
	if d := time.Since(c.began); d > workflow.DefaultLease/4 {
		c.t.Errorf("it took %s until a body was there", d)
	}
}

// letOneAtLast is letOne, however long that takes.
func (c *legacy) letOneAtLast() {
	c.let <- struct{}{}
	synctest.Wait()
}

func TestNoMoreIsClaimedThanMayBeAtWorkAndTheOthersFollowAsThatEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w *workflow.Workflow[string, string]
		c := newLegacy(t, 3, func(c *legacy) workflow.Set { w = c.plain("w"); return workflow.Set{w} })
		c.beginAll(w, 8)
		c.stop()
		for left := 8; left > 0; left-- {
			c.wantAtWork(min(left, 3), min(left, 3))
			c.letOne()
		}
		c.wantAtWork(0, 0)
		if n := len(c.all()); n != 8 {
			t.Errorf("%d came to their end: %q", n, c.all())
		}
	})
}

// They are made one after the other, and stand in line here meanwhile.
func TestI11OfThoseThatMayHaveKilledTheirProcessNoMoreAreClaimedThanMayBeAtWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w *workflow.Workflow[string, string]
		c := newLegacy(t, 3, func(c *legacy) workflow.Set { w = c.plain("w"); return workflow.Set{w} })
		c.beginAll(w, 8)
		c.die()
		for left := 8; left > 0; left-- {
			c.wantAtWork(1, min(left, 3))
			c.letOne()
		}
		c.wantAtWork(0, 0)
	})
}

// The bodies take longer than the time after which more is claimed when nothing comes on.
func TestI11AsLongAsThoseInLineComeOnNoMoreAndMoreOfThemAreClaimed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const all, leases = 1000, 2
		var w *workflow.Workflow[string, string]
		c := newLegacy(t, 3, func(c *legacy) workflow.Set { w = c.plain("w"); return workflow.Set{w} })
		c.beginAll(w, all)
		c.die()
		most := 0
		const ended = 20
		for range ended {
			time.Sleep(leases * workflow.DefaultLease)
			most = max(most, c.ofTheSecond(all))
			c.letOneAtLast()
		}
		if want := 3 + 2*leases*100 + ended; most > want {
			t.Errorf("%d of %d were claimed by then, want %d at most", most, all, want)
		}
		for range all - ended {
			c.letOneAtLast()
		}
		c.wantAtWork(0, 0)
	})
}

// ofTheSecond is how many of all the second engine has claimed, or been through with.
func (c *legacy) ofTheSecond(all int) int {
	c.t.Helper()
	page, err := c.store.List(c.t.Context(), store.Query{States: []store.ExecutionState{store.Invoking}, Limit: all})
	if err != nil {
		c.t.Fatal(err)
	}
	for i := range page.Executions {
		if page.Executions[i].Epoch == 1 {
			all--
		}
	}
	return all
}

// waiting is a workflow whose body waits in the second engine, by ways of its own, for what
// the other one does, and that one, which sleeps for an hour first.
func (c *legacy) waiting(came chan struct{}) (w, needed *workflow.Workflow[string, string]) {
	w = inTurnAs("w", body(&c.journal, "waits", func(ctx *steps.Context) error {
		if !c.second.Load() {
			return untilEnd(ctx)
		}
		<-came
		return nil
	}))
	needed = workflow.New("needed", func(b builder, in value) value {
		workflow.Sleep(b, time.Hour)
		return workflow.Do(b, body(&c.journal, "comes", func(*steps.Context) error {
			close(came)
			return nil
		}), in)
	})
	return w, needed
}

func TestI8WhatTheFirstInLineWaitsForIsClaimedBehindAllThatStandThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w, needed *workflow.Workflow[string, string]
		came := make(chan struct{})
		c := newLegacy(t, 3, func(c *legacy) workflow.Set {
			w, needed = c.waiting(came)
			return workflow.Set{w, needed}
		})
		c.beginAll(needed, 1)
		time.Sleep(time.Hour - time.Second)
		c.beginAll(w, 450)
		c.die()
		time.Sleep(workflow.DefaultLease)
		select {
		case <-came:
			t.Error("it was claimed before those that came first")
		default:
		}
		time.Sleep(10 * workflow.DefaultLease)
		c.wantAtWork(0, 0)
	})
}

func TestWhatIsStartedHereIsNotBoundedByWhatIsClaimed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w, other *workflow.Workflow[string, string]
		c := newLegacy(t, 1, func(c *legacy) workflow.Set {
			w, other = c.plain("w"), c.plain("other")
			return workflow.Set{w, other}
		})
		c.beginAll(w, 2)
		c.stop()
		for i := range 3 {
			beginOn(t, c.e, other, "new", workflow.WithExecutionID(fmt.Sprint("new ", i)))
		}
		c.wantAtWork(1+3, 1+3)
		for range 5 {
			c.letOne()
		}
		c.wantAtWork(0, 0)
	})
}

// waiters are workflows that come to wait in the first engine, for something that is not
// there in the second one, either.
func waiters(c *legacy) map[string]*workflow.Workflow[string, string] {
	desk := newDesk()
	return map[string]*workflow.Workflow[string, string]{
		"a retry": inTurnAs("w", body(&c.journal, "fails", func(*steps.Context) error { return errBoom },
			steps.Retry(steps.RetryPolicy{MaxAttempts: 9, Backoff: workflow.DefaultRestAfter}))),
		"a time": workflow.New("w", func(b builder, in value) value {
			workflow.Sleep(b, workflow.DefaultRestAfter)
			return in
		}),
		"a message": inTurnAs("w", desk.async("asks")),
		"a lock": workflow.New("w", func(b builder, in value) value {
			return workflow.Guard(b, workflow.Const(b, "k"), func(b builder) value { return workflow.Do(b, doing(&c.journal, "a"), in) })
		}),
	}
}

func TestWhatWaitsIsNotAtWorkAndKeepsNobodyFromBeingClaimed(t *testing.T) {
	for _, what := range []string{"a retry", "a time", "a message", "a lock"} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var w, last *workflow.Workflow[string, string]
				c := newLegacy(t, 2, func(c *legacy) workflow.Set {
					w, last = waiters(c)[what], c.plain("last")
					return workflow.Set{w, last}
				})
				l, err := c.locks.Acquire(t.Context(), locking.Keys("k"))
				if err != nil {
					t.Fatal(err)
				}
				c.beginAll(w, 5)
				c.beginAll(last, 3)
				c.stop()
				c.letOne()
				c.letOne()
				c.letOne()
				c.wantAtWork(0, 5)
				wants(t, l.Release(t.Context()))
			})
		})
	}
}

func TestI8ParentsWhoseChildrenAreYetToBeClaimedAreNotAtWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w *workflow.Workflow[string, string]
		c := newLegacy(t, 2, func(c *legacy) workflow.Set {
			child := c.plain("child")
			w = workflow.New("w", func(b builder, in value) value { return workflow.Call(b, child, in) })
			return workflow.Set{w, child}
		})
		c.beginAll(w, 6)
		c.stop()
		for range 6 {
			c.letOne()
		}
		c.wantAtWork(0, 0)
		if n := len(c.all()); n != 6 {
			t.Errorf("%d children came to their end", n)
		}
	})
}

// guarded is a workflow whose step holds a lock of its own.
func (c *legacy) guarded() *workflow.Workflow[string, string] {
	step := c.step("guarded")
	return workflow.New("guarded", func(b builder, in value) value {
		return workflow.Guard(b, in, func(b builder) value { return workflow.Do(b, step, in) })
	})
}

func TestWhatHoldsLocksIsClaimedAlthoughThereIsNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var plain, guarded *workflow.Workflow[string, string]
		c := newLegacy(t, 2, func(c *legacy) workflow.Set {
			plain, guarded = c.plain("plain"), c.guarded()
			return workflow.Set{plain, guarded}
		})
		c.beginAll(plain, 4)
		c.beginAll(guarded, 7)
		c.stop()
		if n := c.owned("guarded"); n != 7 {
			t.Errorf("%d of 7 that hold a lock are driven", n)
		}
		if n := c.owned("plain"); n > 2 {
			t.Errorf("%d of the others are driven, want 2 at most", n)
		}
		for range 4 + 7 {
			c.letOne()
		}
		c.wantAtWork(0, 0)
	})
}

func TestWhatHoldsLocksIsClaimedAsSoonAsItMayBeAlthoughThereIsNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var plain, guarded *workflow.Workflow[string, string]
		c := newLegacy(t, 2, func(c *legacy) workflow.Set {
			plain, guarded = c.plain("plain"), c.guarded()
			return workflow.Set{plain, guarded}
		})
		c.beginAll(plain, 4)
		c.stop()
		c.node = "another"
		c.second.Store(false)
		c.first, c.m = c.start()
		c.beginAll(guarded, 3)
		c.second.Store(true)
		now, cancel := context.WithCancel(t.Context())
		cancel()
		_ = c.first.Stop(now)
		c.wantAtWork(2+3, 2+3)
		for range 4 + 3 {
			c.letOne()
		}
		c.wantAtWork(0, 0)
	})
}

func TestWhatACallerHereWaitsForIsClaimedAlthoughThereIsNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w, last *workflow.Workflow[string, string]
		c := newLegacy(t, 1, func(c *legacy) workflow.Set {
			w, last = c.plain("w"), inTurnAs("last", body(&c.journal, "last", func(ctx *steps.Context) error {
				if !c.second.Load() {
					return untilEnd(ctx)
				}
				return nil
			}))
			return workflow.Set{w, last}
		})
		c.beginAll(w, 3)
		c.beginAll(last, 1)
		c.stop()
		c.wantAtWork(1, 1)
		began := time.Now()
		if out, err := workflow.Run(t.Context(), c.e, last, "0", workflow.WithExecutionID("0")); out != "0last" || err != nil {
			t.Errorf("%q, %v", out, err)
		}
		if d := time.Since(began); d != 0 {
			t.Errorf("it took %s", d)
		}
		for range 3 {
			c.letOne()
		}
	})
}

func TestAMessageHasItsExecutionClaimedAlthoughThereIsNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w, asks *workflow.Workflow[string, string]
		desk := newDesk()
		c := newLegacy(t, 1, func(c *legacy) workflow.Set {
			w, asks = c.plain("w"), inTurnAs("asks", desk.async("asks"))
			return workflow.Set{w, asks}
		})
		c.beginAll(asks, 1)
		ref := <-desk.refs
		time.Sleep(workflow.DefaultRestAfter) // nobody claims it any more before it is told
		c.beginAll(w, 3)
		c.stop()
		c.wantAtWork(1, 1)
		began := time.Now()
		wants(t, workflow.CompleteStep(t.Context(), c.e, ref, "told"))
		synctest.Wait()
		if d := time.Since(began); d != 0 {
			t.Errorf("its sender was told after %s", d)
		}
		if x, err := c.store.Load(t.Context(), store.Key{Workflow: "asks", ID: "0"}); err != nil || x.State != store.Done {
			t.Errorf("it is %s, %v", x.State, err)
		}
		for range 3 {
			c.letOne()
		}
	})
}

func TestI8WhenNothingComesOnMoreIsClaimedAlthoughThereIsNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w, needed *workflow.Workflow[string, string]
		came := make(chan struct{})
		c := newLegacy(t, 2, func(c *legacy) workflow.Set {
			w, needed = c.waiting(came)
			return workflow.Set{w, needed}
		})
		c.beginAll(needed, 1)
		time.Sleep(time.Hour - time.Second)
		c.beginAll(w, 4)
		c.stop()
		c.wantAtWork(0, 2)
		time.Sleep(workflow.DefaultLease + time.Second)
		c.wantAtWork(0, 0)
	})
}
