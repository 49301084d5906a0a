package workflowtest

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/workflow"
)

// jury is a test that is expected to fail.
type jury struct {
	testing.TB

	mu     sync.Mutex
	faults []string
}

func (j *jury) add(text string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.faults = append(j.faults, text)
}

func (j *jury) Error(args ...any)                 { j.add(fmt.Sprintln(args...)) }
func (j *jury) Errorf(format string, args ...any) { j.add(fmt.Sprintf(format, args...)) }

func (j *jury) Fatal(args ...any) {
	j.Error(args...)
	runtime.Goexit()
}

func (j *jury) Fatalf(format string, args ...any) {
	j.Errorf(format, args...)
	runtime.Goexit()
}

// wants looks for one fault with the text, or for none where that is empty.
func (j *jury) wants(t *testing.T, text string) {
	t.Helper()
	if text == "" && len(j.faults) > 0 || text != "" && !slices.ContainsFunc(j.faults, func(f string) bool { return strings.Contains(f, text) }) {
		t.Errorf("%q\nwant %q", j.faults, text)
	}
}

// lossy is a store that acknowledges one write and loses it.
type lossy struct {
	store.Store

	at, writes int
}

func (l *lossy) Commit(ctx context.Context, writes []store.Write) []error {
	if l.writes++; l.writes == l.at {
		return make([]error, len(writes))
	}
	return l.Store.Commit(ctx, writes)
}

// miserly is a lock server that keeps what is given back.
type miserly struct{ *lockClient }

func (miserly) Release(_ context.Context, holds []driver.Hold) ([]bool, error) {
	return slices.Repeat([]bool{true}, len(holds)), nil
}

func twoSteps(t testing.TB, dir string) Program {
	t.Helper()
	l := OpenLedger(t, dir)
	noted := func(name string) *steps.Step[string, string] {
		return steps.New(name, func(ctx *steps.Context, in string) (string, error) {
			l.Enter(ctx)(nil)
			return in, nil
		})
	}
	w := workflow.New("w", func(b *workflow.Builder, in workflow.Value[string]) workflow.Value[string] {
		v := workflow.Do(b, noted("a"), in)
		return workflow.Guard(b, workflow.Const(b, "k"), func(b *workflow.Builder) workflow.Value[string] { return workflow.Do(b, noted("b"), v) })
	})
	return Program{Workflows: workflow.Set{w}, Run: func(ctx context.Context, e *workflow.Engine) error {
		_, err := workflow.Run(ctx, e, w, "-", workflow.WithExecutionID("x"))
		return err
	}}
}

func TestHistoriesOfABrokenWorldAreFaulted(t *testing.T) {
	for name, broken := range map[string]struct {
		change func(w *World)
		want   string
	}{
		"a whole world": {func(*World) {}, ""},
		"a store that loses a write": {func(w *World) {
			open := w.OpenStore
			w.OpenStore = func() (store.Store, error) {
				s, err := open()
				return &lossy{Store: s, at: 1}, err
			}
		}, `there is still: "w"/"x" is invoking`},
		"a lock server that keeps what is given back": {func(w *World) {
			locks := w.NewLocks
			w.NewLocks = func() driver.Queuer { return miserly{locks().(*lockClient)} }
		}, `there is still: "k" is held by`},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				j := &jury{TB: t}
				s := Subject{Program: twoSteps, Check: func(t testing.TB, _ string, err error) {
					if err != nil {
						t.Error(err)
					}
				}}
				s.setDefaults()
				s.Patience = lockLeases * s.Lease / 2 // before a lock lapses
				w := inMemory(t)
				broken.change(&w)
				s.history(j, w, dir, nil)
				j.wants(t, broken.want)
			})
		})
	}
}

func TestLedgerIsJudged(t *testing.T) {
	begin := func(step string) Entry { return Entry{Execution: "x", Step: step, Key: step} }
	returned := func(step string) Entry {
		e := begin(step)
		e.Returned = true
		return e
	}
	failed := func(step string) Entry {
		e := returned(step)
		e.Error = "boom"
		return e
	}
	undo := func(e Entry) Entry {
		e.Undo, e.Key = true, "undo "+e.Step
		return e
	}
	both := func(step string) []Entry { return []Entry{begin(step), returned(step)} }
	undone := func(step string) []Entry { return []Entry{undo(begin(step)), undo(returned(step))} }
	other := begin("b")
	other.Key = "a"
	for name, c := range map[string]struct {
		history History
		done    bool
		want    string
	}{
		"done": {slices.Concat(both("a"), both("b")), true, ""},
		"done, with an attempt that nobody has heard of": {slices.Concat(both("a"), both("a"), both("b")), true, ""},
		"a step without an effect":                       {both("a"), true, `"b" has not had its effect`},
		"a step that was only begun":                     {slices.Concat(both("a"), []Entry{begin("b")}), true, `"b" has not had its effect`},
		"a step that failed":                             {slices.Concat(both("a"), []Entry{begin("b"), failed("b")}), true, `"b" has not had its effect`},
		"a step again, behind the next":                  {slices.Concat(both("a"), both("b"), both("a")), true, `"a" begins when "b"`},
		"done, and undone":                               {slices.Concat(both("a"), both("b"), undone("b")), true, `"b" was undone`},
		"one key for two steps":                          {slices.Concat(both("a"), []Entry{other, returned("b")}), true, "the same idempotency key"},
		"undone":                                         {slices.Concat(both("a"), []Entry{begin("b"), failed("b")}, undone("b"), undone("a")), false, ""},
		"undone before the second had begun":             {slices.Concat(both("a"), undone("a")), false, ""},
		"not undone":                                     {slices.Concat(both("a"), both("b"), undone("b")), false, `"a" may have had its effect`},
		"undone in the wrong order":                      {slices.Concat(both("a"), both("b"), undone("a"), undone("b")), false, `"b" begins when "a"`},
		"forward when compensation has begun":            {slices.Concat(both("a"), undone("a"), both("b"), undone("b")), false, "(I4)"},
		"a step that is not named":                       {slices.Concat(both("a"), both("c"), both("b")), true, `"c" has run`},
		"a compensation that failed":                     {slices.Concat(both("a"), []Entry{undo(begin("a")), undo(failed("a"))}), false, `"a" may have had its effect`},
	} {
		t.Run(name, func(t *testing.T) {
			j := &jury{TB: t}
			if c.done {
				c.history.Done(j, "x", "a", "b")
			} else {
				c.history.Undone(j, "x", "a", "b")
			}
			j.wants(t, c.want)
		})
	}
}

func TestHistoriesThatAreNamedAreMadeThoughThoseBeforeAreLeftOut(t *testing.T) {
	var got []string
	only := func(named ...string) runner {
		return func(name string, test func(t *testing.T)) bool {
			if slices.Contains(named, name) {
				got = append(got, name)
				test(t)
			}
			return true
		}
	}
	reachesAll := func(_ *testing.T, points ...int) int { return len(points) }
	s := Subject{Twice: true}
	n := s.points(only("point 3", "points 40 and 70"), reachesAll)
	if want := []string{"point 3", "points 40 and 70"}; n != 1 || !slices.Equal(got, want) {
		t.Errorf("%d of %q, want 1 of %q", n, got, want)
	}
}

func TestOneInSoManyPointsIsExplored(t *testing.T) {
	var got []string
	all := func(name string, test func(t *testing.T)) bool {
		got = append(got, name)
		test(t)
		return true
	}
	s := Subject{Every: 3}
	s.points(all, func(_ *testing.T, points ...int) (reached int) {
		if points[0] < 9 {
			reached = 1
		}
		return reached
	})
	if want := []string{"point 1", "point 4", "point 7", "point 10"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
