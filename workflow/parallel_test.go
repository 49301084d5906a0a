package workflow_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/container"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/workflow"
)

// flow is a workflow of text.
func flow(compose func(b builder, in value) value) *workflow.Workflow[string, string] {
	return workflow.New("w", compose)
}

// meeting is a place where that many have to be at once before any goes on. In a
// bubble of synctest a meeting that does not take place fails the test.
func meeting(n int) (arrive func()) {
	var all sync.WaitGroup
	all.Add(n)
	return func() {
		all.Done()
		all.Wait()
	}
}

// undoing is doing with a compensation that does something.
func undoing(j *journal, name string, undo func(), opts ...steps.Option) text {
	return doing(j, name, append([]steps.Option{steps.Undo(func(*steps.Context, string) error {
		undo()
		j.addf("undo %s", name)
		return nil
	})}, opts...)...)
}

// chain is a branch of steps that hand their output on.
func chain(in value, list ...text) func(b builder) value {
	return func(b builder) value {
		v := in
		for _, s := range list {
			v = workflow.Do(b, s, v)
		}
		return v
	}
}

// wantOrder wants lines to be there in this order, whatever else there is between.
func (j *journal) wantOrder(t *testing.T, lines ...string) {
	t.Helper()
	all := j.all()
	at := 0
	for _, line := range lines {
		i := slices.Index(all[at:], line)
		if i < 0 {
			t.Errorf("%q is not behind %q:\n\t%q", line, all[:at], all)
			return
		}
		at += i + 1
	}
}

func TestParallelRunsItsBranchesSideBySideAndGivesTheirValues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		meet := meeting(2)
		waits := func(name string) text {
			return body(&journal{}, name, func(*steps.Context) error { meet(); return nil })
		}
		_, out, err := runs(t, flow(func(b builder, in value) value {
			x, y := workflow.Parallel2(b, chain(in, waits("a"), doing(&journal{}, "b")), chain(in, waits("c")))
			return workflow.Transform2(b, x, y, func(x, y string) (string, error) { return x + "|" + y, nil })
		}))
		if out != "-ab|-c" || err != nil {
			t.Error(out, err)
		}
	})
}

func TestParallelOfThreeAndFourGiveTheirValuesInOrder(t *testing.T) {
	number := func(n int) func(b builder) workflow.Value[int] {
		return func(b builder) workflow.Value[int] { return workflow.Const(b, n) }
	}
	_, out, err := runs(t, flow(func(b builder, in value) value {
		a, c, d := workflow.Parallel3(b, number(1), on("x", in), number(3))
		e, f, g, h := workflow.Parallel4(b, number(4), number(5), on("y", in), giving(in))
		one := workflow.Transform3(b, a, c, d, func(a int, c string, d int) (string, error) { return strconv.Itoa(a) + c + strconv.Itoa(d), nil })
		two := workflow.Transform4(b, e, f, g, h, func(e, f int, g, h string) (string, error) {
			return strconv.Itoa(e) + strconv.Itoa(f) + g + h, nil
		})
		return workflow.Transform2(b, one, two, func(one, two string) (string, error) { return one + "," + two, nil })
	}))
	if out != "1-x3,45-y-" || err != nil {
		t.Error(out, err)
	}
}

func TestWhatFollowsParallelWaitsForAllOfItsBranches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		slow := body(&j, "slow", func(*steps.Context) error { time.Sleep(time.Hour); j.addf("slow is done"); return nil })
		_, _, err := runs(t, flow(func(b builder, in value) value {
			workflow.Parallel2(b, chain(in, slow), chain(in, doing(&j, "fast")))
			return workflow.Do(b, doing(&j, "behind"), in)
		}))
		if j.wantOrder(t, "slow is done", "do behind(-)"); err != nil || j.count("do fast(-)") != 1 {
			t.Error(err, j.all())
		}
	})
}

func TestI5BranchesAreCompensatedSideBySideAndEachInReverse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		meet := meeting(2)
		_, _, err := runs(t, flow(func(b builder, in value) value {
			in = workflow.Do(b, doing(&j, "first"), in)
			workflow.Parallel2(b, chain(in, undoing(&j, "a", func() {}), undoing(&j, "b", meet)), chain(in, undoing(&j, "c", func() {}), undoing(&j, "d", meet)))
			return workflow.Do(b, failing(&j, "last", errBoom), in)
		}))
		j.wantOrder(t, "do last(-first)", "undo last() failed", "undo b", "undo a", "undo first(-first) succeeded")
		j.wantOrder(t, "undo last() failed", "undo d", "undo c", "undo first(-first) succeeded")
		if !errors.Is(err, errBoom) || failure(t, err).State != store.Reverted || len(j.all()) != 12 {
			t.Error(err, j.all())
		}
	})
}

func TestI4FailureInABranchCancelsTheOtherAndWaitsForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		var cause error
		meet := meeting(2)
		slow := body(&j, "slow", func(ctx *steps.Context) error {
			meet()
			<-ctx.Done()
			cause = context.Cause(ctx)
			time.Sleep(time.Second)
			j.addf("slow has returned")
			return ctx.Err()
		})
		_, _, err := runs(t, flow(func(b builder, in value) value {
			workflow.Parallel2(b,
				chain(in, doing(&j, "a"), body(&j, "bad", func(*steps.Context) error { meet(); return errBoom }), doing(&j, "never")),
				chain(in, doing(&j, "b"), slow, doing(&j, "neither")))
			return in
		}))
		if !errors.Is(err, errBoom) || !errors.Is(cause, workflow.ErrTurned) || failure(t, err).State != store.Reverted {
			t.Error(err, cause)
		}
		for _, undone := range []string{"undo bad() failed", "undo slow() failed", "undo a(-a) succeeded", "undo b(-b) succeeded"} {
			j.wantOrder(t, "slow has returned", undone)
		}
		j.wantOrder(t, "undo bad() failed", "undo a(-a) succeeded")
		j.wantOrder(t, "undo slow() failed", "undo b(-b) succeeded")
		if text := strings.Join(j.all(), " "); strings.Contains(text, "never") || strings.Contains(text, "neither") {
			t.Error(j.all())
		}
	})
}

func TestI4BranchThatDoesNotHeedItsEndIsLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		let := make(chan struct{})
		defer close(let)
		meet := meeting(2)
		w := flow(func(b builder, in value) value {
			workflow.Parallel2(b,
				chain(in, body(&j, "bad", func(*steps.Context) error { meet(); return errBoom })),
				chain(in, body(&j, "deaf", func(*steps.Context) error { meet(); <-let; return nil })))
			return in
		})
		r := start(t, workflow.Config{Workflows: workflow.Set{w}, CancelGrace: 3 * time.Second})
		zero := time.Now()
		_, err := workflow.Run(t.Context(), r.Engine, w, "-")
		if !errors.Is(err, errBoom) || time.Since(zero) != 3*time.Second || j.count("undo deaf() unknown") != 1 || j.count("undo bad() failed") != 1 {
			t.Error(err, time.Since(zero), j.all())
		}
	})
}

func TestFailureInABranchDoesNotWaitForARetryInTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		meet := meeting(2)
		zero := time.Now()
		_, _, err := runs(t, flow(func(b builder, in value) value {
			workflow.Parallel2(b,
				chain(in, body(&j, "bad", func(*steps.Context) error { meet(); time.Sleep(time.Minute); return errBoom })),
				chain(in, body(&j, "again", func(*steps.Context) error { meet(); return errBoom }, steps.Retry(steps.RetryPolicy{MaxAttempts: 2, Backoff: time.Hour}))))
			return in
		}))
		if !errors.Is(err, errBoom) || time.Since(zero) != time.Minute || j.count("do again(-)") != 1 || j.count("undo again() failed") != 1 {
			t.Error(err, time.Since(zero), j.all())
		}
	})
}

func TestBranchThatWasCancelledByTheOtherIsNoErrorOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		meet := meeting(2)
		_, _, err := runs(t, flow(func(b builder, in value) value {
			workflow.Parallel2(b,
				chain(in, body(&journal{}, "bad", func(*steps.Context) error { meet(); return errBoom })),
				chain(in, body(&journal{}, "slow", func(ctx *steps.Context) error { meet(); return untilEnd(ctx) })))
			return in
		}))
		x := failure(t, err)
		if s, ok := errors.AsType[*workflow.StepError](x.Errs[0]); len(x.Errs) != 1 || !ok || s.Step != "bad" {
			t.Error(err)
		}
	})
}

func TestBranchesInBranchesRunSideBySideAndAreCompensatedInReverse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		meet, part := meeting(3), meeting(3)
		s := func(name string) text {
			return undoing(&j, name, part, steps.Timeout(time.Hour))
		}
		at := func(name string) text {
			return steps.New(name, func(_ *steps.Context, in string) (string, error) { meet(); return in + name, nil })
		}
		_, _, err := runs(t, flow(func(b builder, in value) value {
			x, _ := workflow.Parallel2(b, func(b builder) value {
				y, z := workflow.Parallel2(b, chain(in, at("1"), s("a")), chain(in, at("2"), s("b")))
				return workflow.Transform2(b, y, z, func(y, z string) (string, error) { return y + z, nil })
			}, chain(in, at("3"), s("c")))
			return workflow.Do(b, failing(&j, "last", errBoom), x)
		}))
		if !errors.Is(err, errBoom) || j.count("do last(-1a-2b)") != 1 {
			t.Error(err, j.all())
		}
		for _, name := range []string{"a", "b", "c"} {
			j.wantOrder(t, "undo last() failed", "undo "+name)
		}
	})
}

// stocked is a step that holds a lock for a while, and notes when two do at once.
func stocked(j *journal, name, key string) text {
	return steps.New(name, func(ctx *steps.Context, in string) (string, error) {
		lock, err := container.MustResolve(ctx, locking.ServiceKey).Acquire(ctx, locking.Keys(key))
		if err != nil {
			return "", err
		}
		j.addf("lock")
		time.Sleep(time.Second)
		j.addf("unlock")
		return in + name, lock.Release(ctx)
	})
}

// wantTurns wants locks to have been held one after the other.
func (j *journal) wantTurns(t *testing.T, n int) {
	t.Helper()
	if want := slices.Repeat([]string{"lock", "unlock"}, n); !slices.Equal(j.all(), want) {
		t.Errorf("%q", j.all())
	}
}

func TestBranchesExcludeEachOtherOnAKeyThatNothingAroundThemHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		_, _, err := runs(t, flow(func(b builder, in value) value {
			workflow.Parallel2(b, chain(in, stocked(&j, "a", "prod")), chain(in, stocked(&j, "b", "prod")))
			return in
		}))
		if err != nil {
			t.Error(err)
		}
		j.wantTurns(t, 2)
	})
}

func TestLockThatAStepLeavesStaysWithItsBranchUntilThatEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		take := func(name string) text {
			return body(&j, name, func(ctx *steps.Context) error {
				_, err := container.MustResolve(ctx, locking.ServiceKey).Acquire(ctx, locking.Keys("k"), locking.Wait(time.Hour))
				j.addf("%s has it", name)
				return err
			})
		}
		rest := body(&j, "rest", func(*steps.Context) error { time.Sleep(time.Minute); j.addf("rest is over"); return nil })
		_, _, err := runs(t, flow(func(b builder, in value) value {
			workflow.Parallel2(b, chain(in, take("a"), rest), func(b builder) value {
				workflow.Sleep(b, time.Second) // the other one is first
				return workflow.Do(b, take("b"), in)
			})
			return in
		}))
		if j.wantOrder(t, "a has it", "rest is over", "b has it"); err != nil {
			t.Error(err)
		}
	})
}
