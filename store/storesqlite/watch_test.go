package storesqlite

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

// told watches, and waits for a notice after an act, while nobody calls the store.
func told(t *testing.T, s *Store, want store.Notice, act func()) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	heard := make(chan store.Notice, 1000)
	var watch sync.WaitGroup
	watch.Go(func() { _ = s.Watch(ctx, me, func(n store.Notice) { heard <- n }) })
	defer func() { stop(); watch.Wait() }()
	<-heard
	act()
	var all []store.Notice
	for deadline := time.After(20 * time.Second); ; {
		select {
		case n := <-heard:
			if all = append(all, n); n == want {
				return
			}
		case <-deadline:
			t.Fatalf("not told %+v within 20 s, but %+v", want, all)
		}
	}
}

func TestWhoWatchesIsToldOfWhatFallsDueWithoutACall(t *testing.T) {
	t.Parallel()
	s := opened(t, newPath(t), Config{})
	soon := func() time.Time { return time.Now().Add(30 * time.Millisecond) }
	claimable := store.Notice{Claimable: true}
	told(t, s, claimable, func() {
		x := fresh("due")
		x.Owner, x.DueAt = store.Instance{}, soon()
		if _, err := s.Create(t.Context(), x); err != nil {
			t.Error(err)
		}
	})
	if list, err := s.Claim(t.Context(), store.Claim{Instance: me, ID: 1, Plans: []store.PlanID{thePlan}}); err != nil || len(list) != 1 {
		t.Errorf("what fell due: %v, %v", list, err)
	}
	told(t, s, claimable, func() {
		gone := store.Instance{Node: "gone", Incarnation: "1"}
		if err := s.Heartbeat(t.Context(), gone, time.Hour); err != nil {
			t.Error(err)
		}
		x := fresh("lapses")
		x.Owner = gone
		if _, err := s.Create(t.Context(), x); err != nil {
			t.Error(err)
		}
		if err := s.Heartbeat(t.Context(), gone, 30*time.Millisecond); err != nil {
			t.Error(err)
		}
	})
	told(t, s, store.Notice{Queue: "q"}, func() {
		x := fresh("task")
		x.Tasks = []store.Task{{ID: "t", Queue: "q", NotBefore: soon()}}
		if _, err := s.Create(t.Context(), x); err != nil {
			t.Error(err)
		}
	})
}

func TestWhatFellDueWhileNobodyWatchedIsToldToWhoBeginsTo(t *testing.T) {
	t.Parallel()
	s := opened(t, newPath(t), Config{})
	x := fresh("due")
	x.Owner, x.DueAt = store.Instance{}, time.Now().Add(50*time.Millisecond)
	if _, err := s.Create(t.Context(), x); err != nil {
		t.Fatal(err)
	}
	told(t, s, store.Notice{Claimable: true}, func() {})
}

func TestAnAlarmThatHasRungDoesNotRingAgainForTheSame(t *testing.T) {
	t.Parallel()
	s := opened(t, newPath(t), Config{})
	x := fresh("due")
	x.Owner, x.DueAt = store.Instance{}, time.Now().Add(-time.Second)
	x.Fingerprint = "one that nobody has"
	told(t, s, store.Notice{Claimable: true}, func() {
		if _, err := s.Create(t.Context(), x); err != nil {
			t.Error(err)
		}
	})
	within(t, s, func(w *writer) error {
		if err := w.ring(); err != nil {
			return err
		}
		w.alarmAt = time.Time{}
		if err := w.lookAhead(); err != nil {
			return err
		}
		if in := time.Until(w.alarmAt); in < time.Minute {
			t.Errorf("the next alarm is in %s, although nothing falls due", in)
		}
		return nil
	})
}
