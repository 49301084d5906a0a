package workflow_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/store/storemem"
	"github.com/lockstep-dev/lockstep/workflow"
)

// witness is a store that notes which locks each write speaks of, and whether
// somebody else could have them by then.
type witness struct {
	*storemem.Store

	mu     sync.Mutex
	free   func() bool
	writes []string
}

func (w *witness) Commit(ctx context.Context, write store.Write) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	held := "held"
	if w.free() {
		held = "free"
	}
	w.writes = append(w.writes, fmt.Sprintf("%d kept, %d leaving, %s", len(write.Change.Head.Holds), len(write.Change.Head.Leaving), held))
	return w.Store.Commit(ctx, write)
}

// wantWrites runs a step and wants its writes to speak of its lock so.
func wantWrites(t *testing.T, s text, writes ...string) {
	t.Helper()
	w := inTurn(s)
	st := &witness{Store: storemem.New()}
	r := start(t, workflow.Config{Workflows: workflow.Set{w}, Store: st, CancelGrace: behindGrace, LockLease: behindLease})
	st.free = func() bool { return r.free(t) }
	_, _ = workflow.Run(t.Context(), r.Engine, w, "-") // how it ends is for other tests
	st.mu.Lock()
	defer st.mu.Unlock()
	if !slices.Equal(st.writes, writes) {
		t.Errorf("writes:\n\t%q\nwant:\n\t%q", st.writes, writes)
	}
}

func TestLockedLocksAreRecordedAsLeavingBeforeTheyAreGivenBackAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wantWrites(t, taking("s", keep), "0 kept, 1 leaving, held", "0 kept, 0 leaving, free")
	})
}

func TestLockedLocksAreRecordedAsLeavingBeforeTheyAreGivenBackForAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := body(&journal{}, "s", func(ctx *steps.Context) error {
			if ctx.Attempt() > 1 {
				return nil
			}
			if _, err := take(ctx, "k"); err != nil {
				t.Error(err)
			}
			return errBoom
		}, steps.Retry(steps.RetryPolicy{MaxAttempts: 2, Backoff: time.Minute}))
		wantWrites(t, s, "0 kept, 1 leaving, held", "0 kept, 0 leaving, free", "0 kept, 0 leaving, free")
	})
}

// There is nothing for anybody to do about it: a record of it would have it given
// back.
func TestI4LockThatIsLeftToLapseIsNotRecordedAsLeaving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		let := make(chan struct{})
		defer close(let)
		s := taking("s", deaf(let), steps.Timeout(time.Second))
		// The first write is that the compensation begins, which the lock is kept for.
		wantWrites(t, s, "1 kept, 0 leaving, held", "0 kept, 0 leaving, held")
	})
}
