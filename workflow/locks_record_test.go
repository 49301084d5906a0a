package workflow_test

import (
	"bytes"
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
	cells  map[store.CellID][]byte
}

func (w *witness) Create(ctx context.Context, x *store.Snapshot) (*store.Snapshot, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.note(x.Cells)
	return w.Store.Create(ctx, x)
}

func (w *witness) note(cells []store.Cell) {
	if w.cells == nil {
		w.cells = make(map[store.CellID][]byte)
	}
	for _, c := range cells {
		if w.cells[c.ID] = bytes.Clone(c.Data); c.Data == nil { // a store keeps copies
			delete(w.cells, c.ID)
		}
	}
}

// locks counts the locks that are kept and those that are being given back.
func (w *witness) locks() (kept, leaving int) {
	for id, data := range w.cells {
		switch kind, _, _ := id.Split(); kind {
		case store.FrameKind:
			f, err := store.DecodeFrame(data)
			if err != nil {
				panic(err)
			}
			kept += len(f.Holds)
		case store.OutboxKind:
			e, err := store.DecodeErrand(data)
			if err != nil {
				panic(err)
			}
			leaving += len(e.Holds)
		}
	}
	return kept, leaving
}

func (w *witness) Commit(ctx context.Context, writes []store.Write) []error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range writes {
		w.note(writes[i].Cells)
	}
	held := "held"
	if w.free() {
		held = "free"
	}
	kept, leaving := w.locks()
	w.writes = append(w.writes, fmt.Sprintf("%d kept, %d leaving, %s", kept, leaving, held))
	return w.Store.Commit(ctx, writes)
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
