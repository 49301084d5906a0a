package workflow_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/store/storemem"
	"github.com/lockstep-dev/lockstep/workflow"
)

// Guards whose locks are on a Redis server. What they do in memory is specified, in
// simulated time, in guard_test.go and its neighbours.

// patience bounds every wait for something that has to come.
const patience = 20 * time.Second

// onRedis starts an engine with a lock service of its own on a server, as an instance
// in a process of its own has it.
func onRedis(t *testing.T, server *redistest.Server, cfg workflow.Config) *rig {
	t.Helper()
	return startWith(t, cfg, locking.Config{Providers: []locking.Registration{
		{ID: "redis", IsDefault: true, Provider: lockredis.New(lockredis.Config{RedisURL: server.URL()})},
	}})
}

// awaitLine waits until so many wait for "k".
func (r *rig) awaitLine(t *testing.T, want int) {
	t.Helper()
	redistest.Eventually(t, patience, func() string {
		state, err := r.locks.Inspect(t.Context(), "k")
		if err != nil {
			return err.Error()
		}
		if state.Waiting != want {
			return fmt.Sprintf("%d wait, want %d: %+v", state.Waiting, want, state)
		}
		return ""
	})
}

func (r *rig) awaitFree(t *testing.T) {
	t.Helper()
	redistest.Eventually(t, patience, func() string {
		if !r.free(t) {
			return "it is held"
		}
		return ""
	})
}

// finish waits for the end of an execution.
func finish(t *testing.T, h *workflow.Handle[string]) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return h.Wait(ctx)
}

func TestOnRedisGuardsOfTwoInstancesExcludeEachOtherFirstComeFirstServed(t *testing.T) {
	server, j := redistest.Start(t), &journal{}
	s := body(j, "s", func(ctx *steps.Context) error {
		if _, err := locking.Held(ctx, "k"); err != nil {
			return err
		}
		j.addf("end")
		return nil
	})
	w := guardedBy(nil, s)
	st := storemem.New()
	cfg := workflow.Config{Workflows: workflow.Set{w}, Store: st}
	instances := []*rig{onRedis(t, server, cfg), onRedis(t, server, cfg)}
	letGo := instances[0].somebody(t)
	var handles []*workflow.Handle[string]
	var want []string
	for i := range 20 {
		handles = append(handles, begin(t, instances[i%2], w, fmt.Sprint(i)))
		want = append(want, fmt.Sprintf("do s(%d)", i), "end")
		instances[0].awaitLine(t, i+1)
	}
	letGo()
	for _, h := range handles {
		if _, err := finish(t, h); err != nil {
			t.Error(err)
		}
	}
	j.want(t, want...)
}

func TestOnRedisGuardTakesAllOfItsKeysOrNone(t *testing.T) {
	w := flow(func(b builder, in value) value {
		return workflow.Guard(b, workflow.Const(b, []string{"z", "k", "a"}), giving(in))
	})
	r := onRedis(t, redistest.Start(t), workflow.Config{Workflows: workflow.Set{w}})
	letGo := r.somebody(t)
	h := begin(t, r, w, "-")
	r.awaitLine(t, 1)
	for _, key := range []string{"a", "z"} {
		if state, err := r.locks.Inspect(t.Context(), key); err != nil || state.Held || len(state.Waiters) != 1 {
			t.Errorf("%s while k is held by somebody: %+v, %v", key, state, err)
		}
	}
	letGo()
	if _, err := finish(t, h); err != nil {
		t.Error(err)
	}
}

func TestOnRedisI5FailureInAGuardIsCompensatedBeforeAnybodyElseGetsItsKeys(t *testing.T) {
	var r *rig
	j := &journal{}
	bad := guardedBy(nil, doing(j, "a"), body(j, "b", func(*steps.Context) error {
		r.awaitLine(t, 1)
		return errBoom
	}))
	next := workflow.New("next", func(b builder, in value) value {
		return workflow.Guard(b, in, chain(in, doing(j, "next")))
	})
	r = onRedis(t, redistest.Start(t), workflow.Config{Workflows: workflow.Set{bad, next}})
	first := begin(t, r, bad, "-")
	redistest.Eventually(t, patience, func() string {
		if j.count("do b(-a)") == 0 {
			return fmt.Sprint(j.all())
		}
		return ""
	})
	second := begin(t, r, next, "k")
	if _, err := finish(t, first); !errors.Is(err, errBoom) {
		t.Error(err)
	}
	if _, err := finish(t, second); err != nil {
		t.Error(err)
	}
	j.want(t, "do a(-)", "do b(-a)", "undo b() failed", "undo a(-a) succeeded", "do next(k)")
}

func TestOnRedisCompensationOfAGuardThatWasLeftHasItsLockBeforeThoseWhoWaitToGoForward(t *testing.T) {
	var r *rig
	j, gone := &journal{}, make(chan struct{})
	w := flow(func(b builder, in value) value {
		v := workflow.Guard(b, workflow.Const(b, "k"), chain(in, undoing(j, "s", func() {
			if r.free(t) {
				t.Error("it is compensated without the lock")
			}
		})))
		return workflow.Do(b, body(j, "last", func(*steps.Context) error { <-gone; return errBoom }), v)
	})
	other := workflow.New("other", func(b builder, in value) value {
		return workflow.Guard(b, workflow.Const(b, "k"), chain(in, doing(j, "other")))
	})
	r = onRedis(t, redistest.Start(t), workflow.Config{Workflows: workflow.Set{w, other}})
	h := begin(t, r, w, "-")
	redistest.Eventually(t, patience, func() string {
		if j.count("do last(-s)") == 0 {
			return fmt.Sprint(j.all())
		}
		return ""
	})
	letGo := r.somebody(t)
	late := begin(t, r, other, "o")
	r.awaitLine(t, 1)
	close(gone)
	r.awaitLine(t, 2)
	letGo()
	if _, err := finish(t, h); !errors.Is(err, errBoom) {
		t.Error(err)
	}
	if _, err := finish(t, late); err != nil {
		t.Error(err)
	}
	j.want(t, "do s(-)", "do last(-s)", "undo last() failed", "undo s", "do other(o)")
}

func TestOnRedisMaxWaitAndCancelTakeAGuardOutOfTheQueue(t *testing.T) {
	j := &journal{}
	brief := flow(func(b builder, in value) value {
		return workflow.Guard(b, workflow.Const(b, "k"), chain(in, doing(j, "never")), workflow.MaxWait(100*time.Millisecond))
	})
	long := workflow.New("long", func(b builder, in value) value {
		return workflow.Guard(b, workflow.Const(b, "k"), chain(in, doing(j, "s")))
	})
	r := onRedis(t, redistest.Start(t), workflow.Config{Workflows: workflow.Set{brief, long}})
	letGo := r.somebody(t)
	cancelled, last := begin(t, r, long, "1"), begin(t, r, long, "2")
	timed := begin(t, r, brief, "-")
	if _, err := finish(t, timed); !errors.Is(err, locking.ErrTimeout) {
		t.Error(err)
	}
	if err := cancelled.Cancel(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := finish(t, cancelled); !errors.Is(err, workflow.ErrCancelled) {
		t.Error(err)
	}
	r.awaitLine(t, 1)
	letGo()
	if _, err := finish(t, last); err != nil {
		t.Error(err)
	}
	j.want(t, "do s(2)")
}

func TestOnRedisDeadlockOfGuardsIsAnErrorOfOneOfThemAndTheOtherGoesOn(t *testing.T) {
	j := &journal{}
	var both [2]chan struct{}
	both[0], both[1] = make(chan struct{}), make(chan struct{})
	w := flow(func(b builder, in value) value {
		keys := workflow.Map(b, in, strings.Fields)
		at := func(i int) value { return workflow.Map(b, keys, func(l []string) string { return l[i] }) }
		first, second := at(0), at(1)
		return workflow.Guard(b, first, func(b builder) value {
			v := workflow.Do(b, body(j, "meet", func(ctx *steps.Context) error {
				mine, other := both[0], both[1]
				if ctx.ExecutionID() == "two" {
					mine, other = other, mine
				}
				close(mine)
				<-other
				return nil
			}), in)
			return workflow.Guard(b, second, chain(v, doing(j, "s")))
		}, workflow.MaxHold(time.Hour))
	})
	r := onRedis(t, redistest.Start(t), workflow.Config{Workflows: workflow.Set{w}})
	one, two := begin(t, r, w, "k l", workflow.WithExecutionID("one")), begin(t, r, w, "l k", workflow.WithExecutionID("two"))
	_, err1 := finish(t, one)
	_, err2 := finish(t, two)
	var deadlock *locking.DeadlockError
	if (err1 == nil) == (err2 == nil) || !errors.As(errors.Join(err1, err2), &deadlock) {
		t.Error(err1, err2, j.all())
	}
	r.awaitFree(t)
}

func TestOnRedisAnInstanceThatComesAfterTakesTheGuardsLockOverBeforeThoseWhoWait(t *testing.T) {
	j := &journal{}
	var tokens []locking.Token
	s := body(j, "s", func(ctx *steps.Context) error {
		lock, err := locking.Held(ctx, "k")
		if err != nil {
			return err
		}
		if tokens = append(tokens, lock.Token("k")); len(tokens) == 1 {
			return untilEnd(ctx)
		}
		return nil
	})
	w := guardedBy(nil, s)
	server := redistest.Start(t)
	cfg := workflow.Config{Workflows: workflow.Set{w}, Store: &lasting{storemem.New()}}
	r := onRedis(t, server, cfg)
	begin(t, r, w, "-", workflow.WithExecutionID("x"))
	redistest.Eventually(t, patience, func() string {
		if j.count("do s(-)") == 0 {
			return "the step has not begun"
		}
		return ""
	})
	waits := onRedis(t, server, workflow.Config{})
	got := make(chan error, 1)
	go func() {
		lock, err := waits.locks.Acquire(context.Background(), locking.Keys("k"), locking.Wait(patience))
		j.addf("somebody")
		if err == nil {
			err = lock.Release(context.Background())
		}
		got <- err
	}()
	waits.awaitLine(t, 1)
	interrupt(t, r)
	after := onRedis(t, server, cfg)
	if out, err := finish(t, begin(t, after, w, "-", workflow.WithExecutionID("x"))); out != "-s" || err != nil {
		t.Error(out, err)
	}
	if err := <-got; err != nil {
		t.Error(err)
	}
	j.want(t, "do s(-)", "do s(-)", "somebody")
	if len(tokens) != 2 || tokens[1] <= tokens[0] {
		t.Errorf("tokens %v: the later one is not the higher", tokens)
	}
}

func TestOnRedisAWaitingGuardKeepsItsPlaceWhenAnotherInstanceGoesOnWithIt(t *testing.T) {
	j := &journal{}
	w := guardedBy(nil, doing(j, "s"))
	server := redistest.Start(t)
	lives := onRedis(t, server, workflow.Config{Workflows: workflow.Set{w}})
	letGo := lives.somebody(t)
	cfg := workflow.Config{Workflows: workflow.Set{w}, Store: &lasting{storemem.New()}}
	r := onRedis(t, server, cfg)
	begin(t, r, w, "first", workflow.WithExecutionID("x"))
	lives.awaitLine(t, 1)
	second := begin(t, lives, w, "second")
	lives.awaitLine(t, 2)
	interrupt(t, r)
	after := onRedis(t, server, cfg)
	first := begin(t, after, w, "first", workflow.WithExecutionID("x"))
	redistest.Eventually(t, patience, func() string { // its ticket is its new owner's
		state, err := lives.locks.Inspect(t.Context(), "k")
		if err != nil || len(state.Waiters) != 2 || state.Waiters[0].Aside {
			return fmt.Sprintf("%+v, %v", state, err)
		}
		return ""
	})
	letGo()
	for _, h := range []*workflow.Handle[string]{first, second} {
		if _, err := finish(t, h); err != nil {
			t.Error(err)
		}
	}
	j.want(t, "do s(first)", "do s(second)")
}

func TestOnRedisI8GuardWaitsOnWhenItsServerHasForgottenTheQueue(t *testing.T) {
	j := &journal{}
	w := guardedBy(nil, doing(j, "s"))
	server := redistest.Start(t)
	r := onRedis(t, server, workflow.Config{Workflows: workflow.Set{w}})
	r.somebody(t)
	h := begin(t, r, w, "-")
	r.awaitLine(t, 1)
	server.Restart() // it keeps nothing: the lock is gone, and the queue with it
	if out, err := finish(t, h); out != "-s" || err != nil {
		t.Error(out, err)
	}
}

func TestOnRedisGuardWhoseLockWasLostFailsItsExecution(t *testing.T) {
	server := redistest.Start(t)
	j := &journal{}
	w := guardedBy(nil, doing(j, "a"), body(j, "b", func(ctx *steps.Context) error {
		lock, err := locking.Held(ctx, "k")
		if err != nil {
			return err
		}
		if err := server.Client().Set(ctx, lockredis.DefaultNamespace+"k", "somebody else", 0).Err(); err != nil {
			return err
		}
		<-lock.Context().Done()
		return nil // it has not noticed
	}))
	r := onRedis(t, server, workflow.Config{Workflows: workflow.Set{w}, Lease: 500 * time.Millisecond, LockLease: 2 * time.Second})
	h := begin(t, r, w, "-")
	redistest.Eventually(t, patience, func() string { // the other one lets go once the guard's compensation waits for it
		state, err := r.locks.Inspect(t.Context(), "k")
		if err != nil || !state.Foreign || len(state.Waiters) != 1 {
			return fmt.Sprintf("%+v, %v", state, err)
		}
		return ""
	})
	if err := server.Client().Del(t.Context(), lockredis.DefaultNamespace+"k").Err(); err != nil {
		t.Fatal(err)
	}
	_, err := finish(t, h)
	if x := failure(t, err); !errors.Is(err, workflow.ErrGuardLost) || x.State != store.Reverted {
		t.Error(err)
	}
	j.want(t, "do a(-)", "do b(-a)", "undo b(-ab) succeeded", "undo a(-a) succeeded")
}
