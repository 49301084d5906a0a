package workflow_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/container"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/workflow"
)

// The memory of an execution is used again for others: whoever may still have it has to
// have its own.
func TestAContextThatABodyHasKeptStaysThatOfItsOwnAttempt(t *testing.T) {
	const times = 50
	var mu sync.Mutex
	kept := make(map[string][]*steps.Context)
	keep := func(name string) text {
		return steps.New(name, func(ctx *steps.Context, in string) (string, error) {
			mu.Lock()
			defer mu.Unlock()
			kept[in] = append(kept[in], ctx)
			return in, nil
		})
	}
	w := inTurn(keep("a"), keep("b"))
	r := start(t, workflow.Config{Workflows: workflow.Set{w}})
	var wg sync.WaitGroup
	for i := range times {
		wg.Go(func() {
			if out, err := workflow.Run(t.Context(), r.Engine, w, fmt.Sprint(i)); out != fmt.Sprint(i) || err != nil {
				t.Error(out, err)
			}
			mu.Lock()
			mine := kept[fmt.Sprint(i)]
			mu.Unlock()
			for _, ctx := range mine {
				_, err := r.locks.Acquire(context.WithoutCancel(ctx), locking.Keys("k"))
				if err == nil || !errors.Is(ctx.Err(), context.Canceled) {
					t.Error("it can take locks still, or has not ended:", err, ctx.Err())
				}
			}
		})
	}
	wg.Wait()
	seen := make(map[string]bool)
	for _, list := range kept {
		for i, ctx := range list {
			if ctx.ExecutionID() != list[0].ExecutionID() || ctx.Step() != []string{"a", "b"}[i] || seen[ctx.IdempotencyKey()] {
				t.Errorf("step %d has become %s of %s", i, ctx.Step(), ctx.ExecutionID())
			}
			seen[ctx.IdempotencyKey()] = true
		}
	}
	if len(seen) != 2*times {
		t.Errorf("%d attempts, want %d", len(seen), 2*times)
	}
}

// Those who find executions by their ids, cancel them, stop waiting, or are told by
// timers are there at the very end of others, and of the same ones.
func TestExecutionsWhoseMemoryIsUsedAgainAreNotMistakenForEachOther(t *testing.T) {
	again := errors.New("again")
	one := steps.New("one", func(ctx *steps.Context, in string) (string, error) {
		if strings.HasPrefix(in, "retry") && ctx.Attempt() == 1 {
			return "", again
		}
		if locks := container.MustResolve(ctx, locking.ServiceKey); strings.HasPrefix(in, "lock") {
			if _, err := locks.Acquire(ctx, locking.Keys(in)); err != nil {
				return "", err
			}
		}
		return in + " " + ctx.ExecutionID(), nil
	}, steps.Retry(steps.RetryPolicy{MaxAttempts: 2, Backoff: time.Microsecond}))
	plain := func(name string) text {
		return steps.New(name, func(ctx *steps.Context, in string) (string, error) { return in + " " + ctx.ExecutionID(), nil })
	}
	inTurn := inTurn(one, plain("two"))
	quick := workflow.New("quick", func(b *workflow.Builder, in workflow.Value[string]) workflow.Value[string] {
		l, _ := workflow.Parallel2(b,
			func(b *workflow.Builder) workflow.Value[string] { return workflow.Do(b, plain("l"), in) },
			func(b *workflow.Builder) workflow.Value[string] { return workflow.Do(b, plain("r"), in) })
		return workflow.Do(b, plain("two"), l)
	})
	r := start(t, workflow.Config{Workflows: workflow.Set{inTurn, quick}})
	check := func(in, out string, err error) {
		if ids := strings.Fields(strings.TrimPrefix(out, in)); err != nil || len(ids) != 2 || ids[0] != ids[1] {
			t.Errorf("%s became %q, %v", in, out, err)
		}
	}
	for round := range 30 {
		var wg sync.WaitGroup
		for i, kind := range []string{"plain", "quick", "retry", "lock", "twice", "twice", "cancelled", "left"} {
			id := fmt.Sprint("id-", round)
			wg.Go(func() {
				in := fmt.Sprint(kind, i, round)
				w := inTurn
				switch kind {
				case "quick":
					w = quick
				case "twice":
					out, err := workflow.Run(t.Context(), r.Engine, w, kind, workflow.WithExecutionID(id))
					check(kind, out, err)
					return
				case "cancelled":
					h := begin(t, r, w, in)
					_ = h.Cancel(t.Context()) // it may have ended
					if out, err := h.Wait(t.Context()); !errors.Is(err, workflow.ErrCancelled) {
						check(in, out, err)
					}
					return
				case "left":
					ctx, cancel := context.WithCancel(t.Context())
					go cancel()
					if out, err := workflow.Run(ctx, r.Engine, w, in); !errors.Is(err, context.Canceled) {
						check(in, out, err)
					}
					return
				}
				out, err := workflow.Run(t.Context(), r.Engine, w, in)
				check(in, out, err)
			})
		}
		wg.Wait()
	}
}
