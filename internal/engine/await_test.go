package engine

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/store/storemem"
)

// countingStore counts how often it is asked for an execution.
type countingStore struct {
	store.Store

	loads int
}

func (s *countingStore) Load(ctx context.Context, key store.Key) (*store.Snapshot, error) {
	s.loads++
	return s.Store.Load(ctx, key)
}

// Locks may be impossible to give back for long, such as while their server is away.
func TestEndOfAnExecutionThatDoesNotSettleIsAskedForOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &countingStore{Store: storemem.New()}
		x := &store.Snapshot{
			Identity: store.Identity{Key: store.Key{Workflow: "w", ID: "x"}, RunUID: "r"},
			Head:     store.Head{State: store.Done, Unsettled: true},
		}
		if existing, err := s.Create(t.Context(), x); existing != nil || err != nil {
			t.Fatal(existing, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		end, err := New(Config{Store: s}).AwaitEnd(ctx, x.Key)
		if !errors.Is(err, context.DeadlineExceeded) || s.loads > 620 {
			t.Errorf("%v, %v after it was asked for %d times in ten minutes", end, err, s.loads)
		}
	})
}

func TestWhoHasWaitedForAnExecutionLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := storemem.New()
		e := New(Config{Store: s})
		for id, state := range map[string]store.ExecutionState{"done": store.Done, "at work": store.Invoking, "not there": ""} {
			key := store.Key{Workflow: "w", ID: id}
			if state != "" {
				x := &store.Snapshot{Identity: store.Identity{Key: key, RunUID: id}, Head: store.Head{State: state}}
				if existing, err := s.Create(t.Context(), x); existing != nil || err != nil {
					t.Fatal(existing, err)
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			_, _ = e.AwaitEnd(ctx, key)
			cancel()
			if n := len(e.waits.byKey); n > 0 {
				t.Errorf("%s: it is known of %d executions that somebody waits", id, n)
			}
		}
	})
}

func TestWhoListensForAnExecutionIsTold(t *testing.T) {
	var w waiters
	one, other := store.Key{Workflow: "w", ID: "1"}, store.Key{Workflow: "w", ID: "2"}
	w.tell(one) // nobody
	heard, silent := w.listen(one), w.listen(other)
	w.tell(one)
	select {
	case <-heard.heard:
	default:
		t.Error("not told")
	}
	select {
	case <-silent.heard:
		t.Error("told of another one")
	default:
	}
}
