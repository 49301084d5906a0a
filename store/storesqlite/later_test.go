package storesqlite

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/lockstep-dev/lockstep/store"
)

func TestWhatIsFarAwayIsLookedAtAgainInTimeAndWithManyOthers(t *testing.T) {
	now := time.Date(2026, 11, 28, 20, 0, 0, 123, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		due := now.Add(time.Duration(rapid.Int64Range(1, int64(100*365*24*time.Hour)).Draw(t, "in")))
		for looks, at := 0, now; ; looks++ {
			second, far := lookedAtAgain(due, at)
			left := due.Sub(at)
			if far != (left > near) {
				t.Fatalf("far: %t with %s left", far, left)
			}
			if !far {
				return
			}
			next := time.Unix(second, 0)
			if !next.After(at) || due.Sub(next) < left/16 || due.Sub(next) > left/4+time.Second {
				t.Fatalf("with %s left it is looked at %s before its time", left, due.Sub(next))
			}
			if looks == 20 {
				t.Fatal("it is looked at more than 20 times")
			}
			at = next
		}
	})
	seconds := map[int64]bool{}
	for i := range 1_000_000 {
		second, _ := lookedAtAgain(now.Add(time.Hour+time.Duration(i)*24*time.Hour/1_000_000), now)
		seconds[second] = true
	}
	if len(seconds) > 100 {
		t.Errorf("what falls due within a day is looked at in %d different seconds", len(seconds))
	}
}

// sleeping makes executions that nobody drives until a time.
func sleeping(t *testing.T, s *Store, ids int, due time.Time) {
	t.Helper()
	for i := range ids {
		x := fresh(fmt.Sprint(i))
		x.Owner, x.DueAt = store.Instance{}, due
		if _, err := s.Create(t.Context(), x); err != nil {
			t.Fatal(err)
		}
	}
}

// noted counts the executions that are found by their time, and those that are not yet.
func noted(t *testing.T, s *Store) (near, far int64) {
	t.Helper()
	within(t, s, func(w *writer) (err error) {
		if near, err = w.conn.number("SELECT count(*) FROM executions WHERE ready IS NOT NULL"); err != nil {
			return err
		}
		far, err = w.conn.number("SELECT count(*) FROM executions WHERE later IS NOT NULL")
		return err
	})
	return near, far
}

func claimed(t *testing.T, s *Store, limit int) int {
	t.Helper()
	list, err := s.Claim(t.Context(), store.Claim{Instance: me, Plans: []store.PlanID{thePlan}, Limit: limit})
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func TestWhoWatchesIsToldOfWhatSleptForADayInItsMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := opened(t, newPath(t), Config{})
		defer closed(t, s)
		heartbeats(t, s)
		due := time.Now().Add(24*time.Hour + 1234567*time.Microsecond)
		sleeping(t, s, 2*inStep, due)
		if near, far := noted(t, s); near != 0 || far != 2*inStep {
			t.Errorf("%d are found by their time, %d not yet", near, far)
		}
		ctx, stop := context.WithCancel(t.Context())
		var told []time.Time
		var watch sync.WaitGroup
		watch.Go(func() {
			_ = s.Watch(ctx, me, func(n store.Notice) {
				if n.Claimable {
					told = append(told, time.Now())
				}
			})
		})
		time.Sleep(time.Until(due) - time.Second)
		if near, far := noted(t, s); near != 2*inStep || far != 0 {
			t.Errorf("a second before, %d are found by their time, %d not yet", near, far)
		}
		if n := claimed(t, s, 10); n != 0 {
			t.Errorf("%d were claimed before their time", n)
		}
		time.Sleep(2 * time.Second)
		stop()
		watch.Wait()
		if len(told) == 0 || told[0].Before(due) || told[0].After(due.Add(10*time.Millisecond)) {
			t.Errorf("told at %v, want at %v", told, due)
		}
		if n := claimed(t, s, 10*inStep); n != 2*inStep {
			t.Errorf("%d were claimed, want %d", n, 2*inStep)
		}
	})
}

// heartbeats renews the lease of me as long as the test goes on.
func heartbeats(t *testing.T, s *Store) {
	t.Helper()
	within(t, s, func(w *writer) error {
		w.instances[me].until = time.Now().Add(365 * 24 * time.Hour)
		return nil
	})
}

func TestWhatFellDueWhileNobodyLookedIsClaimed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := opened(t, newPath(t), Config{})
		defer closed(t, s)
		heartbeats(t, s)
		sleeping(t, s, 2*inStep+10, time.Now().Add(24*time.Hour))
		time.Sleep(48 * time.Hour)
		all := 0
		for {
			n := claimed(t, s, 100)
			if all += n; n == 0 {
				break
			}
		}
		if all != 2*inStep+10 {
			t.Errorf("%d were claimed, want %d", all, 2*inStep+10)
		}
	})
}

func TestWhatFellDueWhileNobodyLookedIsClaimedBehindOthersThatTheClaimIsNotFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := opened(t, newPath(t), Config{})
		defer closed(t, s)
		heartbeats(t, s)
		due := time.Now().Add(24 * time.Hour)
		for i := range 2*inStep + 10 {
			x := fresh(fmt.Sprint("other ", i))
			x.Owner, x.DueAt, x.Fingerprint = store.Instance{}, due, "another"
			if _, err := s.Create(t.Context(), x); err != nil {
				t.Fatal(err)
			}
		}
		sleeping(t, s, 3, due)
		time.Sleep(48 * time.Hour)
		all := 0 // one claim looks at a part
		for range 10 {
			all += claimed(t, s, 100)
		}
		if all != 3 {
			t.Errorf("%d were claimed, want 3", all)
		}
	})
}

func TestWhatSleepsIsClaimedForAMessageBeforeItsTime(t *testing.T) {
	t.Parallel()
	s := opened(t, newPath(t), Config{})
	sleeping(t, s, 2, time.Now().Add(24*time.Hour))
	if err := s.Deliver(t.Context(), fresh("1").Key, store.Message{ID: "m"}); err != nil {
		t.Fatal(err)
	}
	if n := claimed(t, s, 10); n != 1 {
		t.Errorf("%d were claimed, want 1", n)
	}
	if near, far := noted(t, s); near != 0 || far != 1 {
		t.Errorf("%d are found by their time, %d not yet", near, far)
	}
}

func TestWhatFallsDueIsToldWhileCallsKeepComing(t *testing.T) {
	t.Parallel()
	s := opened(t, newPath(t), Config{Sync: Relaxed})
	var over atomic.Bool
	defer over.Store(true)
	within(t, s, func(w *writer) error {
		commit := w.commit
		w.commit = func() error { // the next call is there before this one is answered
			if !over.Load() {
				next := w.own(func(*writer) error { return nil })
				s.mu.Lock()
				s.queue = append(s.queue, next)
				s.mu.Unlock()
			}
			return commit()
		}
		return nil
	})
	told(t, s, store.Notice{Claimable: true}, func() {
		x := fresh("due")
		x.Owner, x.DueAt = store.Instance{}, time.Now().Add(30*time.Millisecond)
		if _, err := s.Create(t.Context(), x); err != nil {
			t.Error(err)
		}
	})
}

func TestAHeartbeatDoesNotWaitForTheCallsBeforeIt(t *testing.T) {
	t.Parallel()
	s := opened(t, newPath(t), Config{MostInGroup: 1})
	x := created(t, s, "x")
	there, let := held(t, s)
	var calls sync.WaitGroup
	calls.Go(func() {
		if err := commitOne(s, write(x, nil)); err != nil {
			t.Error(err)
		}
	})
	<-there
	const many = 50
	made, before := 0, -1 // the writer's: how many calls it has made, and made before the heartbeat
	for range many {
		calls.Go(func() {
			err := s.do(t.Context(), func(w *writer) error {
				if made++; before < 0 && w.instances[me].until.After(time.Now().Add(forLong)) {
					before = made - 1
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	untilQueued(t, s, many)
	calls.Go(func() {
		if err := s.Heartbeat(t.Context(), me, 2*forLong); err != nil {
			t.Error(err)
		}
	})
	untilQueued(t, s, many+1)
	let()
	calls.Wait()
	if before != 0 {
		t.Errorf("%d of %d calls that came before it were made first (-1 is all)", before, many)
	}
}
