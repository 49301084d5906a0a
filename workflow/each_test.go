package workflow_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/store/storemem"
	"github.com/lockstep-dev/lockstep/workflow"
)

// words are the items of a text.
func words(b builder, in value) workflow.Value[[]string] { return workflow.Map(b, in, strings.Fields) }

func joined(b builder, list workflow.Value[[]string]) value {
	return workflow.Map(b, list, func(l []string) string { return fmt.Sprintf("%q", l) })
}

// eachDoes is a workflow that does a step for each word of its input.
func eachDoes(s text, opts ...workflow.EachOption) *workflow.Workflow[string, string] {
	return flow(func(b builder, in value) value {
		return joined(b, workflow.ForEach(b, words(b, in), func(b builder, item value) value { return workflow.Do(b, s, item) }, opts...))
	})
}

// runsOn is runs on an input.
func runsOn(t *testing.T, w *workflow.Workflow[string, string], in string) (string, error) {
	t.Helper()
	r := start(t, workflow.Config{Workflows: workflow.Set{w}})
	return workflow.Run(t.Context(), r.Engine, w, in)
}

// crowd counts how many are in at once.
type crowd struct {
	mu           sync.Mutex
	inside, most int
}

func (c *crowd) stay(d time.Duration) {
	c.mu.Lock()
	c.inside++
	c.most = max(c.most, c.inside)
	c.mu.Unlock()
	time.Sleep(d)
	c.mu.Lock()
	c.inside--
	c.mu.Unlock()
}

// numbers is a text of that many words.
func numbers(n int) string { return strings.TrimSuffix(strings.Repeat("x ", n), " ") }

func TestForEachGivesWhatItsItemsGaveInTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := steps.New("s", func(_ *steps.Context, in string) (string, error) {
			time.Sleep(time.Duration(10-len(in)) * time.Second) // the later ones end first
			return in + "!", nil
		})
		if out, err := runsOn(t, eachDoes(s), "a bb ccc"); out != `["a!" "bb!" "ccc!"]` || err != nil {
			t.Error(out, err)
		}
	})
}

func TestForEachOfNothingGivesAnEmptyList(t *testing.T) {
	var j journal
	if out, err := runsOn(t, eachDoes(doing(&j, "s")), ""); out != "[]" || err != nil {
		t.Error(out, err)
	}
	j.want(t)
}

func TestForEachWorksOnAsManyAtOnceAsItsConcurrency(t *testing.T) {
	for _, c := range []struct {
		opts []workflow.EachOption
		want int
	}{{nil, workflow.DefaultConcurrency}, {[]workflow.EachOption{workflow.Concurrency(3)}, 3}, {[]workflow.EachOption{workflow.Concurrency(100)}, 50}} {
		synctest.Test(t, func(t *testing.T) {
			var there crowd
			s := body(&journal{}, "s", func(*steps.Context) error { there.stay(time.Second); return nil })
			if _, err := runsOn(t, eachDoes(s, c.opts...), numbers(50)); err != nil || there.most != c.want {
				t.Errorf("%d at once, want %d, %v", there.most, c.want, err)
			}
		})
	}
}

func TestForEachWithAConcurrencyOfOneIsOneAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		s := body(&j, "s", func(*steps.Context) error { time.Sleep(time.Second); j.addf("end"); return nil })
		if _, err := runsOn(t, eachDoes(s, workflow.Concurrency(1)), "a b c"); err != nil {
			t.Error(err)
		}
		j.want(t, "do s(a)", "end", "do s(b)", "end", "do s(c)", "end")
	})
}

func TestI4FailureOfAnItemCancelsThoseThatRunAndBeginsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		s := steps.New("s", func(ctx *steps.Context, in string) (string, error) {
			j.addf("do %s", in)
			switch in {
			case "bad":
				time.Sleep(time.Second)
				return "", errBoom
			case "slow":
				<-ctx.Done()
				time.Sleep(time.Second)
				j.addf("slow has returned")
				return "", ctx.Err()
			}
			return in, nil
		}, steps.Undo(func(ctx *steps.Context, out string) error {
			j.addf("undo %q %s", out, ctx.Outcome())
			return nil
		}))
		_, err := runsOn(t, eachDoes(s, workflow.Concurrency(2)), "good slow bad never neither")
		if !errors.Is(err, errBoom) || failure(t, err).State != store.Reverted {
			t.Error(err)
		}
		j.wantOrder(t, "do bad", "slow has returned", `undo "good" succeeded`)
		if got := j.count(`undo "" failed`); got != 2 || len(j.all()) != 7 {
			t.Error(j.all())
		}
	})
}

func TestI5ItemsAreCompensatedTheLastOnesFirstAndAsManyAtOnceAsRan(t *testing.T) {
	for limit, want := range map[int][]string{
		1: {"undo s(c)", "undo s(b)", "undo s(a)"},
		2: {"undo s(c)", "undo s(b)", "undo s(a)"},
	} {
		synctest.Test(t, func(t *testing.T) {
			var there crowd
			var j journal
			s := steps.New("s", func(_ *steps.Context, in string) (string, error) { return in, nil }, steps.Undo(func(_ *steps.Context, in string) error {
				time.Sleep(time.Duration(in[0]) * time.Nanosecond) // those that begin together begin in order
				there.stay(time.Second)
				j.addf("undo s(%s)", in)
				return nil
			}))
			w := flow(func(b builder, in value) value {
				workflow.ForEach(b, words(b, in), func(b builder, i value) value { return workflow.Do(b, s, i) }, workflow.Concurrency(limit))
				return workflow.Do(b, failing(&journal{}, "last", errBoom), in)
			})
			if _, err := runsOn(t, w, "a b c"); !errors.Is(err, errBoom) || there.most != limit {
				t.Error(err, there.most)
			}
			if limit == 1 {
				j.want(t, want...)
			} else if got := j.all(); len(got) != 3 || got[2] != want[2] {
				t.Errorf("%q", got)
			}
		})
	}
}

func TestI5StepsOfAnItemAreCompensatedInReverse(t *testing.T) {
	var j journal
	w := flow(func(b builder, in value) value {
		workflow.Do(b, doing(&j, "first"), in)
		workflow.ForEach(b, words(b, in), func(b builder, i value) value { return chain(i, doing(&j, "a"), doing(&j, "b"))(b) })
		return workflow.Do(b, failing(&j, "last", errBoom), in)
	})
	if _, err := runsOn(t, w, "1 2"); !errors.Is(err, errBoom) {
		t.Error(err)
	}
	for _, i := range []string{"1", "2"} {
		j.wantOrder(t, "undo last() failed", "undo b("+i+"ab) succeeded", "undo a("+i+"a) succeeded", "undo first(1 2first) succeeded")
	}
}

func TestItemsHaveIdempotencyKeysAndReferencesOfTheirOwn(t *testing.T) {
	var mu sync.Mutex
	keys, refs := map[string]bool{}, map[string]bool{}
	s := steps.New("s", func(ctx *steps.Context, in string) (string, error) {
		mu.Lock()
		defer mu.Unlock()
		keys[ctx.IdempotencyKey()], refs[ctx.Ref().String()] = true, true
		return in, nil
	})
	w := flow(func(b builder, in value) value {
		workflow.ForEach(b, words(b, in), func(b builder, _ value) workflow.Value[[]string] {
			return workflow.ForEach(b, words(b, in), func(b builder, i value) value { return workflow.Do(b, s, i) })
		})
		return in
	})
	if _, err := runsOn(t, w, "a b c"); err != nil || len(keys) != 9 || len(refs) != 9 {
		t.Error(len(keys), len(refs), err)
	}
}

func TestItemIsSeenInLoopsAndBranchesWithinItsLoop(t *testing.T) {
	w := flow(func(b builder, in value) value {
		all := workflow.ForEach(b, words(b, in), func(b builder, outer value) workflow.Value[[]string] {
			return workflow.ForEach(b, workflow.Map(b, outer, many), func(b builder, inner value) value {
				v, _ := workflow.Parallel2(b, func(b builder) value {
					return workflow.Transform3(b, in, outer, inner, func(in, outer, inner string) (string, error) {
						return fmt.Sprint(len(in), outer, inner), nil
					})
				}, giving(outer))
				return v
			})
		})
		return workflow.Map(b, all, func(l [][]string) string { return fmt.Sprint(l) })
	})
	if out, err := runsOn(t, w, "ab c"); out != "[[4aba 4abb] [4cc]]" || err != nil {
		t.Error(out, err)
	}
}

func TestItemIsTriedAgainByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		s := steps.New("s", func(ctx *steps.Context, in string) (string, error) {
			j.addf("do %s %d", in, ctx.Attempt())
			if in == "b" && ctx.Attempt() < 3 {
				return "", errBoom
			}
			return in, nil
		}, steps.Retry(steps.RetryPolicy{MaxAttempts: 3, Backoff: time.Second}))
		if out, err := runsOn(t, eachDoes(s), "a b c"); out != `["a" "b" "c"]` || err != nil {
			t.Error(out, err)
		}
		if j.wantOrder(t, "do b 1", "do b 2", "do b 3"); len(j.all()) != 5 {
			t.Error(j.all())
		}
	})
}

func TestErrorOfAnItemNamesIt(t *testing.T) {
	s := steps.New("s", func(_ *steps.Context, in string) (string, error) {
		if in == "bad" {
			return "", errBoom
		}
		return in, nil
	})
	_, err := runsOn(t, eachDoes(s, workflow.Concurrency(1)), "a bad")
	if e, ok := errors.AsType[*workflow.StepError](err); !ok || e.Step != "s[1]" || !errors.Is(err, errBoom) {
		t.Error(err)
	}
}

func TestItemThatDoesNotEncodeFailsTheLoopsDecision(t *testing.T) {
	var j journal
	w := flow(func(b builder, in value) value {
		v := workflow.Do(b, doing(&j, "a"), in)
		list := workflow.Map(b, v, func(string) [][]byte { return [][]byte{[]byte("1"), []byte("x")} })
		workflow.ForEach(b, list, func(b builder, i workflow.Value[[]byte]) workflow.Value[int] {
			return workflow.Transform(b, i, func(data []byte) (int, error) { return int(data[0]), nil })
		})
		bad := workflow.ForEach(b, list, func(b builder, i workflow.Value[[]byte]) value {
			return workflow.Transform(b, i, func(data []byte) (string, error) {
				if data[0] == 'x' {
					return "", errBoom
				}
				return "", nil
			})
		})
		return joined(b, bad)
	})
	_, err := runsOn(t, w, "-")
	j.want(t, "do a(-)", "undo a(-a) succeeded")
	if e, ok := errors.AsType[*workflow.StepError](err); !ok || e.Step != "Transform#2[1]" || !errors.Is(err, errBoom) {
		t.Error(err)
	}
}

func TestItemsExcludeEachOtherOnAKeyThatNothingAroundThemHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		if _, err := runsOn(t, eachDoes(stocked(&j, "s", "prod")), "line line line"); err != nil {
			t.Error(err)
		}
		j.wantTurns(t, 3)
	})
}

func TestItemsGoOnAfterARestartWhereTheyWere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		let := make(chan struct{})
		s := steps.New("s", func(ctx *steps.Context, in string) (string, error) {
			j.addf("do %s", in)
			if in == "c" {
				select {
				case <-let:
				case <-ctx.Done():
					return "", ctx.Err()
				}
			}
			return in, nil
		})
		w := eachDoes(s, workflow.Concurrency(1))
		st := storemem.New()
		r := start(t, workflow.Config{Workflows: workflow.Set{w}, Store: st})
		begin(t, r, w, "a b c d", workflow.WithExecutionID("x"))
		synctest.Wait()
		interrupt(t, r)
		close(let)
		r = start(t, workflow.Config{Workflows: workflow.Set{w}, Store: st})
		out, err := begin(t, r, w, "a b c d", workflow.WithExecutionID("x")).Wait(t.Context())
		if out != `["a" "b" "c" "d"]` || err != nil {
			t.Error(out, err)
		}
		j.want(t, "do a", "do b", "do c", "do c", "do d")
	})
}

func TestForEachOfThousandsOfItems(t *testing.T) {
	const n = 5000
	s := steps.New("s", func(_ *steps.Context, in string) (string, error) { return in, nil })
	out, err := runsOn(t, eachDoes(s), numbers(n))
	if err != nil || strings.Count(out, `"x"`) != n {
		t.Error(strings.Count(out, `"x"`), err)
	}
}

func TestStatusTellsOfEveryItem(t *testing.T) {
	w := eachDoes(doing(&journal{}, "s"))
	r := start(t, workflow.Config{Workflows: workflow.Set{w}})
	h := begin(t, r, w, "a b", workflow.WithExecutionID("x"))
	if _, err := h.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	s, err := h.Status(t.Context())
	var names []string
	for _, step := range s.Steps {
		names = append(names, step.Name)
	}
	if !slices.Equal(names, []string{"s[0]", "s[1]"}) || err != nil {
		t.Error(names, err)
	}
}
