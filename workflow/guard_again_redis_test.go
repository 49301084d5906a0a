package workflow_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store/storemem"
	"github.com/lockstep-dev/lockstep/workflow"
)

// tokened is a step that notes its token for "k", and in its first attempt goes on until
// its context ends.
func tokened(j *journal, tokens *[]locking.Token) text {
	return body(j, "s", func(ctx *steps.Context) error {
		lock, err := locking.Held(ctx, "k")
		if err != nil {
			return err
		}
		if *tokens = append(*tokens, lock.Token("k")); len(*tokens) == 1 {
			j.addf("runs")
			return untilEnd(ctx)
		}
		return nil
	})
}

func (j *journal) await(t *testing.T, line string) {
	t.Helper()
	redistest.Eventually(t, patience, func() string {
		if j.count(line) == 0 {
			return fmt.Sprint(j.all())
		}
		return ""
	})
}

func wantRising(t *testing.T, tokens []locking.Token) {
	t.Helper()
	if len(tokens) != 2 || tokens[1] <= tokens[0] {
		t.Errorf("tokens %v: there are to be two, the later one the higher", tokens)
	}
}

// shortly is how long locks live where a test waits for one to be found lost.
var shortly = workflow.Config{Lease: 500 * time.Millisecond, LockLease: 2 * time.Second}

func TestOnRedisGuardTakesALostLockAgainWhenWhoHadItMeanwhileHasLetGo(t *testing.T) {
	server := redistest.Start(t)
	var tokens []locking.Token
	j := &journal{}
	w := guardedBy(again, doing(j, "a"), tokened(j, &tokens), doing(j, "c"))
	cfg := shortly
	cfg.Workflows = workflow.Set{w}
	r := onRedis(t, server, cfg)
	h := begin(t, r, w, "-")
	j.await(t, "runs")
	key := lockredis.DefaultNamespace + "k"
	if err := server.Client().Set(t.Context(), key, "somebody else", 0).Err(); err != nil {
		t.Fatal(err)
	}
	r.awaitLine(t, 1)
	if err := server.Client().Del(t.Context(), key).Err(); err != nil {
		t.Fatal(err)
	}
	if out, err := finish(t, h); out != "-asc" || err != nil {
		t.Error(out, err)
	}
	j.want(t, "do a(-)", "do s(-a)", "runs", "do s(-a)", "do c(-as)")
	wantRising(t, tokens)
	r.awaitFree(t)
}

func TestOnRedisGuardGoesOnWhenItsServerHasForgottenItsLock(t *testing.T) {
	server := redistest.Start(t)
	var tokens []locking.Token
	j := &journal{}
	w := guardedBy(again, tokened(j, &tokens))
	r := onRedis(t, server, workflow.Config{Workflows: workflow.Set{w}})
	h := begin(t, r, w, "-")
	j.await(t, "runs")
	server.Restart() // it keeps nothing
	if out, err := finish(t, h); out != "-s" || err != nil {
		t.Error(out, err)
	}
	wantRising(t, tokens)
}

func TestOnRedisAnInstanceThatComesAfterGoesOnWithAGuardThatWaitsForALostLock(t *testing.T) {
	server := redistest.Start(t)
	var tokens []locking.Token
	j := &journal{}
	w := guardedBy(again, tokened(j, &tokens))
	cfg := shortly
	cfg.Workflows, cfg.Store = workflow.Set{w}, &lasting{storemem.New()}
	r := onRedis(t, server, cfg)
	begin(t, r, w, "-", workflow.WithExecutionID("x"))
	j.await(t, "runs")
	key := lockredis.DefaultNamespace + "k"
	if err := server.Client().Set(t.Context(), key, "somebody else", 0).Err(); err != nil {
		t.Fatal(err)
	}
	r.awaitLine(t, 1)
	interrupt(t, r)
	after := onRedis(t, server, cfg)
	h := begin(t, after, w, "-", workflow.WithExecutionID("x"))
	redistest.Eventually(t, patience, func() string { // its ticket is its new owner's
		state, err := after.locks.Inspect(t.Context(), "k")
		if err != nil || len(state.Waiters) != 1 || state.Waiters[0].Aside {
			return fmt.Sprintf("%+v, %v", state, err)
		}
		return ""
	})
	if err := server.Client().Del(t.Context(), key).Err(); err != nil {
		t.Fatal(err)
	}
	if out, err := finish(t, h); out != "-s" || err != nil {
		t.Error(out, err)
	}
	wantRising(t, tokens)
	after.awaitFree(t)
}
