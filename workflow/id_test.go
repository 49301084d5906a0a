package workflow_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/workflow"
)

func TestI9SameIDAndInputJoinsWhatRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		let := make(chan struct{})
		w := inTurn(body(&j, "a", func(*steps.Context) error { <-let; return nil }))
		r := start(t, workflow.Config{Workflows: workflow.Set{w}})
		h1 := begin(t, r, w, "-", workflow.WithExecutionID("x"))
		synctest.Wait()
		h2 := begin(t, r, w, "-", workflow.WithExecutionID("x"))
		close(let)
		for _, h := range []*workflow.Handle[string]{h1, h2} {
			if out, err := h.Wait(t.Context()); out != "-a" || err != nil || h.ID() != "x" {
				t.Error(out, err)
			}
		}
		j.want(t, "do a(-)")
	})
}

func TestI9HandleThatJoinedCanCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := inTurn(body(&journal{}, "a", untilEnd))
		r := start(t, workflow.Config{Workflows: workflow.Set{w}})
		h1 := begin(t, r, w, "-", workflow.WithExecutionID("x"))
		h2 := begin(t, r, w, "-", workflow.WithExecutionID("x"))
		if err := h2.Cancel(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := h1.Wait(t.Context()); !errors.Is(err, workflow.ErrCancelled) {
			t.Error(err)
		}
	})
}

func TestI9SameIDAndInputReturnsTheResultAfterTheEnd(t *testing.T) {
	var j journal
	w := inTurn(doing(&j, "a"))
	r := start(t, workflow.Config{Workflows: workflow.Set{w}})
	for range 3 {
		if out, err := workflow.Run(t.Context(), r.Engine, w, "-", workflow.WithExecutionID("x")); out != "-a" || err != nil {
			t.Error(out, err)
		}
	}
	j.want(t, "do a(-)")
}

func TestI9SameIDAndInputReturnsTheErrorAfterTheEnd(t *testing.T) {
	var j journal
	w := inTurn(failing(&j, "a", errBoom))
	r := start(t, workflow.Config{Workflows: workflow.Set{w}})
	for range 3 {
		_, err := workflow.Run(t.Context(), r.Engine, w, "-", workflow.WithExecutionID("x"))
		if !errors.Is(err, errBoom) || failure(t, err).State != store.Reverted {
			t.Error(err)
		}
	}
	j.want(t, "do a(-)", "undo a() failed")
}

func TestI9ManyAtOnceWithOneIDAreOneExecution(t *testing.T) {
	var calls atomic.Int64
	s := steps.New("s", func(_ *steps.Context, in string) (string, error) {
		return fmt.Sprint(in, calls.Add(1)), nil
	})
	w := inTurn(s)
	r := start(t, workflow.Config{Workflows: workflow.Set{w}})
	const ids = 300
	var wg sync.WaitGroup
	for id := range ids {
		gate := make(chan struct{})
		results := make([]string, 8)
		for i := range results {
			wg.Go(func() {
				<-gate
				var err error
				results[i], err = workflow.Run(t.Context(), r.Engine, w, "-", workflow.WithExecutionID(fmt.Sprint(id)))
				if err != nil {
					t.Error(err)
				}
			})
		}
		close(gate)
		wg.Wait()
		for _, out := range results {
			if out != results[0] {
				t.Fatal("one id, several results:", results)
			}
		}
	}
	if calls.Load() != ids {
		t.Errorf("%d bodies ran for %d ids", calls.Load(), ids)
	}
}

func TestI9SameIDAndOtherInputIsAConflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		let := make(chan struct{})
		w := inTurn(body(&j, "a", func(*steps.Context) error { <-let; return nil }))
		r := start(t, workflow.Config{Workflows: workflow.Set{w}})
		h := begin(t, r, w, "-", workflow.WithExecutionID("x"))
		conflict := func(when string) {
			if _, err := workflow.Run(t.Context(), r.Engine, w, "other", workflow.WithExecutionID("x")); !errors.Is(err, workflow.ErrIDConflict) {
				t.Error(when, err)
			}
		}
		conflict("while it runs:")
		close(let)
		if _, err := h.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		conflict("after its end:")
		j.want(t, "do a(-)")
	})
}

func TestI9TheScopeOfAnIDIsTheWorkflow(t *testing.T) {
	var j journal
	w := inTurn(doing(&j, "a"))
	other := workflow.New("other", func(b *workflow.Builder, in workflow.Value[string]) workflow.Value[string] {
		return workflow.Do(b, doing(&j, "b"), in)
	})
	r := start(t, workflow.Config{Workflows: workflow.Set{w, other}})
	for _, w := range []*workflow.Workflow[string, string]{w, other} {
		if _, err := workflow.Run(t.Context(), r.Engine, w, "-", workflow.WithExecutionID("x")); err != nil {
			t.Error(err)
		}
	}
	j.want(t, "do a(-)", "do b(-)")
}

func TestI9GivenIDIsKeptForTheRetentionAndNoLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		w := inTurn(doing(&j, "a"))
		r := start(t, workflow.Config{Workflows: workflow.Set{w}, Retention: time.Hour})
		run := func() {
			if _, err := workflow.Run(t.Context(), r.Engine, w, "-", workflow.WithExecutionID("x")); err != nil {
				t.Error(err)
			}
		}
		run()
		time.Sleep(time.Hour - time.Millisecond)
		run()
		if n := j.count("do a(-)"); n != 1 {
			t.Errorf("forgotten too soon: %d runs", n)
		}
		time.Sleep(time.Millisecond)
		run()
		if n := j.count("do a(-)"); n != 2 {
			t.Errorf("kept too long: %d runs", n)
		}
	})
}

func TestI9DefaultRetentionOfAGivenIDIsADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := inTurn(doing(&journal{}, "a"))
		r, _, _ := runs(t, w, workflow.WithExecutionID("x"))
		x, err := r.store.Load(t.Context(), store.Key{Workflow: "w", ID: "x"})
		if err != nil || x.ForgetAt.Sub(x.FinishedAt) != 24*time.Hour {
			t.Error(x, err)
		}
	})
}

func TestI9OfTooManyUnfetchedResultsTheOldestGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := inTurn(doing(&journal{}, "a"))
		r := start(t, workflow.Config{Workflows: workflow.Set{w}, MaxUnfetched: 2})
		var handles []*workflow.Handle[string]
		for range 5 {
			handles = append(handles, begin(t, r, w, "-"))
			synctest.Wait()
			if len(handles) == 4 { // what is fetched is not counted
				_, err := handles[3].Wait(t.Context())
				wants(t, err)
			}
		}
		for i, kept := range []bool{false, false, true, false, true} {
			_, err := r.store.Load(t.Context(), store.Key{Workflow: "w", ID: handles[i].ID()})
			if kept != (err == nil) || !kept && !errors.Is(err, store.ErrNotFound) {
				t.Errorf("result %d: %v", i, err)
			}
		}
	})
}

func TestI9FailedExecutionIsKeptForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		w := inTurn(failing(&j, "a", errBoom, steps.Undo(func(*steps.Context, string) error { return errBoom })))
		r := start(t, workflow.Config{Workflows: workflow.Set{w}, Retention: time.Hour})
		for range 2 {
			_, err := workflow.Run(t.Context(), r.Engine, w, "-", workflow.WithExecutionID("x"))
			if failure(t, err).State != store.Failed {
				t.Error(err)
			}
			time.Sleep(48 * time.Hour)
		}
		j.want(t, "do a(-)")
	})
}

func TestI9GeneratedIDIsForgottenOnceItsResultWasHandedOver(t *testing.T) {
	w := inTurn(doing(&journal{}, "a"))
	r := start(t, workflow.Config{Workflows: workflow.Set{w}})
	h := begin(t, r, w, "-")
	for range 2 {
		if out, err := h.Wait(t.Context()); out != "-a" || err != nil {
			t.Error(out, err)
		}
	}
	if r.store.Len() != 0 {
		t.Errorf("%d executions are kept", r.store.Len())
	}
	if _, err := h.Status(t.Context()); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
}

func TestI9GeneratedIDWhoseResultNobodyFetchedIsForgottenAfterTenMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := inTurn(doing(&journal{}, "a"))
		r := start(t, workflow.Config{Workflows: workflow.Set{w}})
		h := begin(t, r, w, "-")
		time.Sleep(10*time.Minute - time.Millisecond)
		begin(t, r, w, "-")
		if _, err := h.Status(t.Context()); err != nil {
			t.Error("forgotten too soon:", err)
		}
		time.Sleep(time.Millisecond)
		begin(t, r, w, "-")
		if _, err := h.Status(t.Context()); !errors.Is(err, store.ErrNotFound) {
			t.Error("kept too long:", err)
		}
	})
}

func TestGeneratedIDsDiffer(t *testing.T) {
	w := inTurn()
	r := start(t, workflow.Config{Workflows: workflow.Set{w}})
	a, b := begin(t, r, w, "-"), begin(t, r, w, "-")
	if a.ID() == b.ID() || a.ID() == "" {
		t.Error(a.ID(), b.ID())
	}
}

func TestIDMayHoldAnyBytes(t *testing.T) {
	var j journal
	w := inTurn(doing(&j, "a"))
	r := start(t, workflow.Config{Workflows: workflow.Set{w}})
	for _, id := range []string{"a:b{c}", "a\xffb", "a\xfeb", "\x00", " "} {
		h := begin(t, r, w, "-", workflow.WithExecutionID(id))
		if _, err := h.Wait(t.Context()); err != nil || h.ID() != id {
			t.Errorf("%q: %v", id, err)
		}
	}
	if len(j.all()) != 5 {
		t.Error("ids ran together:", j.all())
	}
}

func TestTwoEnginesInOneProcessDoNotSeeEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		let := make(chan struct{})
		w := inTurn(body(&j, "a", func(ctx *steps.Context) error {
			if _, err := take(ctx, "k"); err != nil {
				return err
			}
			<-let
			return nil
		}))
		r1 := start(t, workflow.Config{Workflows: workflow.Set{w}})
		r2 := start(t, workflow.Config{Workflows: workflow.Set{w}})
		h1 := begin(t, r1, w, "-", workflow.WithExecutionID("x"))
		h2 := begin(t, r2, w, "-", workflow.WithExecutionID("x"))
		synctest.Wait()
		if n := j.count("do a(-)"); n != 2 {
			t.Errorf("%d bodies ran", n)
		}
		close(let)
		for _, h := range []*workflow.Handle[string]{h1, h2} {
			if _, err := h.Wait(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
}
