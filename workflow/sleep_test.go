package workflow_test

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/store/storemem"
	"github.com/lockstep-dev/lockstep/workflow"
)

// sleeping is a workflow that sleeps between two steps.
func sleeping(j *journal, sleep func(b builder, in value)) *workflow.Workflow[string, string] {
	return flow(func(b builder, in value) value {
		v := workflow.Do(b, doing(j, "a"), in)
		sleep(b, in)
		return workflow.Do(b, doing(j, "b"), v)
	})
}

func forAMinute(b builder, _ value) { workflow.Sleep(b, time.Minute) }

func TestSleepLetsTimePassBeforeWhatFollowsIt(t *testing.T) {
	for what, c := range map[string]struct {
		sleep func(b builder, in value)
		want  time.Duration
	}{
		"Sleep": {forAMinute, time.Minute},
		"SleepFor": {func(b builder, in value) {
			workflow.SleepFor(b, workflow.Map(b, in, func(string) time.Duration { return 90 * time.Second }))
		}, 90 * time.Second},
		"SleepUntil": {func(b builder, in value) {
			workflow.SleepUntil(b, workflow.Map(b, in, func(string) time.Time { return time.Now().Add(time.Minute) }))
		}, time.Minute},
		"SleepFor what is over":   {func(b builder, _ value) { workflow.SleepFor(b, workflow.Const(b, -time.Second)) }, 0},
		"SleepUntil what is over": {func(b builder, _ value) { workflow.SleepUntil(b, workflow.Const(b, time.Unix(1, 0))) }, 0},
		"SleepUntil no time":      {func(b builder, _ value) { workflow.SleepUntil(b, workflow.Const(b, time.Time{})) }, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			var j journal
			zero := time.Now()
			_, out, err := runs(t, sleeping(&j, c.sleep))
			if out != "-ab" || err != nil || time.Since(zero) != c.want {
				t.Errorf("%s: %q, %v, after %s, want %s", what, out, err, time.Since(zero), c.want)
			}
			j.want(t, "do a(-)", "do b(-a)")
		})
	}
}

func TestSleepingExecutionsTakeNoGoroutineOfTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 1000
		w := sleeping(&journal{}, forAMinute)
		r := start(t, workflow.Config{Workflows: workflow.Set{w}})
		first := begin(t, r, w, "-")
		synctest.Wait()
		before := runtime.NumGoroutine()
		handles := make([]*workflow.Handle[string], n)
		for i := range handles {
			handles[i] = begin(t, r, w, "-")
		}
		synctest.Wait()
		if after := runtime.NumGoroutine(); after > before+n/3 {
			t.Errorf("%d goroutines with one that sleeps, %d with %d", before, after, n)
		}
		for _, h := range append(handles[:n:n], first) {
			if _, err := h.Wait(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestCancelEndsASleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		w := sleeping(&j, forAMinute)
		r := start(t, workflow.Config{Workflows: workflow.Set{w}})
		h := begin(t, r, w, "-")
		time.Sleep(time.Second)
		if err := h.Cancel(t.Context()); err != nil {
			t.Fatal(err)
		}
		zero := time.Now()
		if _, err := h.Wait(t.Context()); !errors.Is(err, workflow.ErrCancelled) || time.Since(zero) != 0 || failure(t, err).State != store.Reverted {
			t.Error(err, time.Since(zero))
		}
		j.want(t, "do a(-)", "undo a(-a) succeeded")
	})
}

func TestFailureInABranchEndsTheSleepOfTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		zero := time.Now()
		_, _, err := runs(t, flow(func(b builder, in value) value {
			workflow.Parallel2(b, func(b builder) value {
				v := workflow.Do(b, doing(&j, "a"), in)
				workflow.Sleep(b, time.Minute)
				return workflow.Do(b, doing(&j, "never"), v)
			}, func(b builder) value {
				workflow.Sleep(b, time.Second)
				return workflow.Do(b, failing(&j, "bad", errBoom), in)
			})
			return in
		}))
		if !errors.Is(err, errBoom) || time.Since(zero) != time.Second || j.count("undo a(-a) succeeded") != 1 || len(j.all()) != 4 {
			t.Error(err, time.Since(zero), j.all())
		}
	})
}

func TestSleepIsAsLongAsItWasWhateverComesBetween(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		var asked atomic.Int32
		w := sleeping(&j, func(b builder, in value) {
			workflow.SleepFor(b, workflow.Map(b, in, func(string) time.Duration { return time.Duration(asked.Add(1)) * time.Minute }))
		})
		st := storemem.New()
		zero := time.Now()
		r := start(t, workflow.Config{Workflows: workflow.Set{w}, Store: st})
		begin(t, r, w, "-", workflow.WithExecutionID("x"))
		time.Sleep(20 * time.Second)
		interrupt(t, r)
		time.Sleep(20 * time.Second)
		r = start(t, workflow.Config{Workflows: workflow.Set{w}, Store: st})
		out, err := begin(t, r, w, "-", workflow.WithExecutionID("x")).Wait(t.Context())
		if out != "-ab" || err != nil || asked.Load() != 1 {
			t.Error(out, err, asked.Load())
		}
		if late := time.Since(zero) - time.Minute; late < 0 || late > time.Second {
			t.Error("it slept for", time.Since(zero))
		}
		j.want(t, "do a(-)", "do b(-a)")
	})
}

func TestSleepThatEndsWhileNoEngineRunsIsOverAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := sleeping(&journal{}, forAMinute)
		st := storemem.New()
		r := start(t, workflow.Config{Workflows: workflow.Set{w}, Store: st})
		begin(t, r, w, "-", workflow.WithExecutionID("x"))
		synctest.Wait()
		interrupt(t, r)
		time.Sleep(2 * time.Minute)
		r = start(t, workflow.Config{Workflows: workflow.Set{w}, Store: st})
		zero := time.Now()
		out, err := begin(t, r, w, "-", workflow.WithExecutionID("x")).Wait(t.Context())
		if out != "-ab" || err != nil || time.Since(zero) > time.Second {
			t.Error(out, err, time.Since(zero))
		}
	})
}

func TestSleepsEndInTheOrderOfTheirTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		w := flow(func(b builder, in value) value {
			workflow.SleepFor(b, workflow.Transform(b, in, time.ParseDuration))
			return workflow.Do(b, doing(&j, "s"), in)
		})
		r := start(t, workflow.Config{Workflows: workflow.Set{w}})
		var handles []*workflow.Handle[string]
		for _, m := range []int{5, 1, 4, 2, 3} {
			handles = append(handles, begin(t, r, w, fmt.Sprint(m, "m")))
		}
		for _, h := range handles {
			if _, err := h.Wait(t.Context()); err != nil {
				t.Error(err)
			}
		}
		j.want(t, "do s(1m)", "do s(2m)", "do s(3m)", "do s(4m)", "do s(5m)")
	})
}
