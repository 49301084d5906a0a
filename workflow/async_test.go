package workflow_test

import (
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/store/storemem"
	"github.com/lockstep-dev/lockstep/workflow"
)

// desk is where asynchronous steps leave their references.
type desk struct {
	*journal

	refs chan steps.Ref
}

func newDesk() *desk { return &desk{&journal{}, make(chan steps.Ref, 100)} }

// async is an asynchronous step that leaves its reference at the desk.
func (d *desk) async(name string, opts ...steps.Option) text {
	opts = append([]steps.Option{steps.Undo(func(ctx *steps.Context, out string) error {
		d.addf("undo %s(%s) %s", name, out, ctx.Outcome())
		return nil
	})}, opts...)
	return steps.NewAsync[string, string](name, func(ctx *steps.Context, in string) error {
		d.addf("start %s(%s)", name, in)
		d.refs <- ctx.Ref()
		return nil
	}, opts...)
}

// wants a result from outside to be accepted.
func wants(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAsyncStepGivesWhatComesFromOutside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		w := inTurn(doing(d.journal, "a"), d.async("s"), doing(d.journal, "b"))
		r := start(t, workflow.Config{Workflows: workflow.Set{w}})
		h := begin(t, r, w, "-")
		ref, err := steps.ParseRef((<-d.refs).String()) // as it comes back from outside
		wants(t, err)
		synctest.Wait()
		wants(t, workflow.CompleteStep(t.Context(), r.Engine, ref, "out"))
		out, err := h.Wait(t.Context())
		if out != "outb" || err != nil {
			t.Error(out, err)
		}
		d.want(t, "do a(-)", "start s(-a)", "do b(out)")
	})
}

func TestResultThatComesBeforeItsStepHasStartedWaitsForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r *rig
		s := steps.NewAsync[string, string]("s", func(ctx *steps.Context, _ string) error {
			wants(t, workflow.CompleteStep(ctx, r.Engine, ctx.Ref(), "out"))
			time.Sleep(time.Second)
			return nil
		})
		w := inTurn(s)
		r = start(t, workflow.Config{Workflows: workflow.Set{w}})
		zero := time.Now()
		out, err := workflow.Run(t.Context(), r.Engine, w, "-")
		if out != "out" || err != nil || time.Since(zero) != time.Second {
			t.Error(out, err, time.Since(zero))
		}
	})
}

func TestAsyncStepThatFailsOutsideIsTriedAgainByItsPolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		w := inTurn(d.async("s", steps.Retry(steps.RetryPolicy{MaxAttempts: 2, Backoff: time.Minute})))
		r := start(t, workflow.Config{Workflows: workflow.Set{w}})
		h := begin(t, r, w, "-")
		zero := time.Now()
		first := <-d.refs
		synctest.Wait()
		wants(t, workflow.FailStep(t.Context(), r.Engine, first, errBoom))
		second := <-d.refs
		synctest.Wait()
		if first.String() != second.String() || time.Since(zero) != time.Minute {
			t.Error(first, second, time.Since(zero))
		}
		wants(t, workflow.CompleteStep(t.Context(), r.Engine, second, "out"))
		if out, err := h.Wait(t.Context()); out != "out" || err != nil {
			t.Error(out, err)
		}
	})
}

func TestAsyncStepThatFailsOutsideForGoodIsCompensatedAsFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		w := inTurn(doing(d.journal, "a"), d.async("s", steps.Retry(steps.RetryPolicy{MaxAttempts: 5})))
		r := start(t, workflow.Config{Workflows: workflow.Set{w}})
		h := begin(t, r, w, "-")
		ref := <-d.refs
		synctest.Wait()
		wants(t, workflow.FailStep(t.Context(), r.Engine, ref, steps.Permanent(errBoom)))
		_, err := h.Wait(t.Context())
		d.want(t, "do a(-)", "start s(-a)", "undo s() failed", "undo a(-a) succeeded")
		if s, ok := errors.AsType[*workflow.StepError](err); !ok || s.Step != "s" || !errors.Is(err, errBoom) || failure(t, err).State != store.Reverted {
			t.Error(err)
		}
	})
}

func TestAsyncStepThatFailsOutsideByAnErrorThatItsFilterRefusesIsNotTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		w := inTurn(d.async("s", steps.Retry(steps.RetryPolicy{MaxAttempts: 5, If: func(err error) bool { return !errors.Is(err, errBoom) }})))
		r := start(t, workflow.Config{Workflows: workflow.Set{w}})
		h := begin(t, r, w, "-")
		for _, cause := range []error{errors.New("worth another try"), errBoom} {
			ref := <-d.refs
			synctest.Wait()
			wants(t, workflow.FailStep(t.Context(), r.Engine, ref, cause))
		}
		_, err := h.Wait(t.Context())
		if s, ok := errors.AsType[*workflow.StepError](err); !ok || s.Attempt != 2 || !errors.Is(err, errBoom) {
			t.Error(err)
		}
	})
}

func TestAsyncStepIsCompensatedWithItsOutput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		w := inTurn(d.async("s"), failing(d.journal, "last", errBoom))
		r := start(t, workflow.Config{Workflows: workflow.Set{w}})
		h := begin(t, r, w, "-")
		ref := <-d.refs
		synctest.Wait()
		wants(t, workflow.CompleteStep(t.Context(), r.Engine, ref, "out"))
		if _, err := h.Wait(t.Context()); !errors.Is(err, errBoom) {
			t.Error(err)
		}
		d.want(t, "start s(-)", "do last(out)", "undo last() failed", "undo s(out) succeeded")
	})
}

func TestUndoDataOfStartIsThereHoweverTheStepEnds(t *testing.T) {
	for want, end := range map[string]func(t *testing.T, r *rig, h *workflow.Handle[string], ref steps.Ref){
		"undo 42 succeeded": func(t *testing.T, r *rig, _ *workflow.Handle[string], ref steps.Ref) {
			wants(t, workflow.CompleteStep(t.Context(), r.Engine, ref, "out"))
		},
		"undo 42 failed": func(t *testing.T, r *rig, _ *workflow.Handle[string], ref steps.Ref) {
			wants(t, workflow.FailStep(t.Context(), r.Engine, ref, errBoom))
		},
		"undo 42 unknown": func(*testing.T, *rig, *workflow.Handle[string], steps.Ref) { time.Sleep(time.Hour) },
	} {
		synctest.Test(t, func(t *testing.T) {
			d := newDesk()
			s := steps.NewReversibleAsync[string, string]("s", func(ctx *steps.Context, _ string) (int, error) { d.refs <- ctx.Ref(); return 42, nil },
				func(ctx *steps.Context, undo int) error { d.addf("undo %d %s", undo, ctx.Outcome()); return nil }, steps.Await(time.Minute))
			w := inTurn(s, failing(&journal{}, "last", errBoom))
			r := start(t, workflow.Config{Workflows: workflow.Set{w}})
			h := begin(t, r, w, "-")
			ref := <-d.refs
			synctest.Wait()
			end(t, r, h, ref)
			if _, err := h.Wait(t.Context()); failure(t, err).State != store.Reverted {
				t.Error(err)
			}
			d.want(t, want)
		})
	}
}

func TestAwaitBoundsTheTimeThatAResultMayTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		w := inTurn(d.async("s", steps.Await(time.Minute), steps.Retry(steps.RetryPolicy{MaxAttempts: 5})))
		zero := time.Now()
		_, _, err := runs(t, w)
		d.want(t, "start s(-)", "undo s() unknown")
		if s, ok := errors.AsType[*workflow.StepError](err); !ok || s.Step != "s" || !strings.Contains(err.Error(), "no result came") || time.Since(zero) != time.Minute {
			t.Error(err, time.Since(zero))
		}
	})
}

func TestCancelledAsyncStepHasAnUnknownOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		w := inTurn(doing(d.journal, "a"), d.async("s"))
		r := start(t, workflow.Config{Workflows: workflow.Set{w}})
		h := begin(t, r, w, "-")
		ref := <-d.refs
		synctest.Wait()
		wants(t, h.Cancel(t.Context()))
		if _, err := h.Wait(t.Context()); !errors.Is(err, workflow.ErrCancelled) {
			t.Error(err)
		}
		d.want(t, "do a(-)", "start s(-a)", "undo s() unknown", "undo a(-a) succeeded")
		if err := workflow.CompleteStep(t.Context(), r.Engine, ref, "late"); err == nil {
			t.Error("a result is taken that comes too late")
		}
	})
}

func TestAsyncStepThatHasNothingToDoAwaitsNothing(t *testing.T) {
	var j journal
	s := steps.NewAsync[string, string]("s", func(*steps.Context, string) error { return steps.Skip() },
		steps.Undo(func(*steps.Context, string) error { j.addf("undone"); return nil }))
	_, _, err := runs(t, inTurn(s, failing(&j, "last", errBoom)))
	if j.want(t, "do last()", "undo last() failed"); !errors.Is(err, errBoom) {
		t.Error(err)
	}
}

func TestAsyncStepWhoseStartFailsIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		s := steps.NewAsync[string, string]("s", func(ctx *steps.Context, _ string) error {
			d.addf("start %d", ctx.Attempt())
			if ctx.Attempt() == 1 {
				return errBoom
			}
			d.refs <- ctx.Ref()
			return nil
		}, steps.Retry(steps.RetryPolicy{MaxAttempts: 2}))
		w := inTurn(s)
		r := start(t, workflow.Config{Workflows: workflow.Set{w}})
		h := begin(t, r, w, "-")
		wants(t, workflow.CompleteStep(t.Context(), r.Engine, <-d.refs, "out"))
		if out, err := h.Wait(t.Context()); out != "out" || err != nil {
			t.Error(out, err)
		}
		d.want(t, "start 1", "start 2")
	})
}

func TestEachItemAwaitsItsOwnResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		w := flow(func(b builder, in value) value {
			all := workflow.ForEach(b, words(b, in), func(b builder, i value) value { return workflow.Do(b, d.async("s"), i) }, workflow.Name("region"))
			return joined(b, all)
		})
		r := start(t, workflow.Config{Workflows: workflow.Set{w}})
		h := begin(t, r, w, "a b c")
		for range 3 {
			ref := <-d.refs
			synctest.Wait()
			wants(t, workflow.CompleteStep(t.Context(), r.Engine, ref, ref.Step+string(rune('0'+ref.Items[0]))))
		}
		if out, err := h.Wait(t.Context()); out != `["region/s0" "region/s1" "region/s2"]` || err != nil {
			t.Error(out, err)
		}
	})
}

func TestAwaitingExecutionsTakeNoGoroutineOfTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 1000
		s := steps.NewAsync[string, string]("s", func(*steps.Context, string) error { return nil })
		w := inTurn(s)
		r := start(t, workflow.Config{Workflows: workflow.Set{w}})
		begin(t, r, w, "-")
		synctest.Wait()
		before := runtime.NumGoroutine()
		for range n {
			begin(t, r, w, "-")
		}
		synctest.Wait()
		if after := runtime.NumGoroutine(); after > before+n/3 {
			t.Errorf("%d goroutines with one that waits, %d with %d", before, after, n)
		}
		interrupt(t, r)
	})
}

func TestResultIsTakenByAnEngineThatCameAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		w := inTurn(d.async("s"), doing(d.journal, "b"))
		st := storemem.New()
		r := start(t, workflow.Config{Workflows: workflow.Set{w}, Store: st})
		begin(t, r, w, "-", workflow.WithExecutionID("x"))
		ref := <-d.refs
		synctest.Wait()
		interrupt(t, r)
		r = start(t, workflow.Config{Workflows: workflow.Set{w}, Store: st})
		wants(t, workflow.CompleteStep(t.Context(), r.Engine, ref, "out"))
		out, err := begin(t, r, w, "-", workflow.WithExecutionID("x")).Wait(t.Context())
		if out != "outb" || err != nil {
			t.Error(out, err)
		}
		d.want(t, "start s(-)", "do b(out)")
	})
}

func TestResultThatFitsNothingIsAnErrorToItsSender(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		w := inTurn(doing(d.journal, "a"), d.async("s"))
		r := start(t, workflow.Config{Workflows: workflow.Set{w}})
		h := begin(t, r, w, "-")
		ref := <-d.refs
		synctest.Wait()
		for what, c := range map[string]struct {
			change func(ref *steps.Ref)
			want   error
		}{
			"another workflow":                   {func(ref *steps.Ref) { ref.Workflow = "v" }, workflow.ErrNotRegistered},
			"another execution":                  {func(ref *steps.Ref) { ref.ExecutionID = "none" }, store.ErrNotFound},
			"no step":                            {func(ref *steps.Ref) { ref.Step = "none" }, workflow.ErrNoAsyncStep},
			"a step that is no asynchronous one": {func(ref *steps.Ref) { ref.Step = "a" }, workflow.ErrNoAsyncStep},
		} {
			bad := ref
			c.change(&bad)
			if err := workflow.CompleteStep(t.Context(), r.Engine, bad, "out"); !errors.Is(err, c.want) {
				t.Errorf("%s: %v", what, err)
			}
			if err := workflow.FailStep(t.Context(), r.Engine, bad, errBoom); !errors.Is(err, c.want) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if err := workflow.CompleteStep(t.Context(), r.Engine, ref, 7); !errors.Is(err, workflow.ErrNoAsyncStep) {
			t.Error("another type:", err)
		}
		wants(t, workflow.CompleteStep(t.Context(), r.Engine, ref, "out"))
		if out, err := h.Wait(t.Context()); out != "out" || err != nil {
			t.Error(out, err)
		}
	})
}

func TestSecondResultOfAStepIsAnErrorToItsSender(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		let := make(chan struct{})
		w := inTurn(d.async("s"), body(d.journal, "b", func(*steps.Context) error { <-let; return nil }))
		r := start(t, workflow.Config{Workflows: workflow.Set{w}})
		h := begin(t, r, w, "-")
		ref := <-d.refs
		synctest.Wait()
		wants(t, workflow.CompleteStep(t.Context(), r.Engine, ref, "first"))
		synctest.Wait()
		if err := workflow.CompleteStep(t.Context(), r.Engine, ref, "second"); !errors.Is(err, workflow.ErrUnfit) {
			t.Error(err)
		}
		close(let)
		if out, err := h.Wait(t.Context()); out != "firstb" || err != nil {
			t.Error(out, err)
		}
	})
}
