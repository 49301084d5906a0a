package storesqlite

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

// backlog makes many executions at once, of which one is like the other.
func backlog(t *testing.T, s *Store, many int, change func(x *store.Snapshot)) {
	t.Helper()
	within(t, s, func(w *writer) error {
		for i := range many {
			x := fresh(fmt.Sprint("backlog ", i))
			change(x)
			if added, err := w.add(x); !added || err != nil {
				return fmt.Errorf("%s: added: %t, %w", x.Key, added, err)
			}
		}
		return nil
	})
}

// having counts the executions of which something is true.
func having(t *testing.T, s *Store, where string) (n int) {
	t.Helper()
	within(t, s, func(w *writer) error {
		got, err := w.conn.number("SELECT count(*) FROM executions WHERE " + where)
		n = int(got)
		return err
	})
	return n
}

const large = 10 * inStep

// follow claims what it is told of until the context ends.
func follow(ctx context.Context, t *testing.T, s *Store) (all map[string]bool) {
	t.Helper()
	all = map[string]bool{}
	var mu sync.Mutex
	told := make(chan struct{}, 1)
	var watch sync.WaitGroup
	watch.Go(func() {
		_ = s.Watch(ctx, me, func(n store.Notice) { // it ends with ctx
			if n.Claimable {
				select {
				case told <- struct{}{}:
				default:
				}
			}
		})
	})
	watch.Go(func() {
		for id := uint64(1); ; {
			select {
			case <-ctx.Done():
				return
			case <-told:
			}
			for got := 100; got == 100; id++ { // as engines do
				list, err := s.Claim(t.Context(), store.Claim{Instance: me, ID: id, Plans: []store.PlanID{thePlan}})
				if err != nil {
					t.Error(err)
					return
				}
				got = len(list)
				mu.Lock()
				for _, x := range list {
					if all[x.ID] {
						t.Errorf("%s was claimed twice", x.ID)
					}
					all[x.ID] = true
				}
				mu.Unlock()
			}
		}
	})
	watch.Wait()
	return all
}

func TestOneClaimLooksAtAPartOfWhatIsToBeLookedAtAgainAndTheOthersFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := opened(t, newPath(t), Config{Sync: Relaxed})
		defer closed(t, s)
		heartbeats(t, s)
		due := time.Now().Add(24 * time.Hour)
		backlog(t, s, large, func(x *store.Snapshot) { x.Owner, x.DueAt = store.Instance{}, due })
		second, _ := lookedAtAgain(due, time.Now())
		time.Sleep(time.Until(time.Unix(second, 0)))
		left := large
		for range 3 {
			if n := claimed(t, s, 100); n != 0 {
				t.Fatalf("%d were claimed before their time", n)
			}
			now := having(t, s, fmt.Sprint("later <= ", time.Now().Unix()))
			if now < left-inStep || now >= left {
				t.Fatalf("of %d to be looked at again %d are left after one claim", left, now)
			}
			left = now
		}
		ctx, stop := context.WithDeadline(t.Context(), due.Add(time.Minute))
		defer stop()
		if all := follow(ctx, t, s); len(all) != large {
			t.Errorf("%d of %d were claimed a minute after they fell due", len(all), large)
		}
	})
}

func TestAHeartbeatGoesBetweenTheStepsOfABacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := opened(t, newPath(t), Config{Sync: Relaxed})
		defer closed(t, s)
		heartbeats(t, s)
		backlog(t, s, large, func(x *store.Snapshot) { x.Owner, x.DueAt = store.Instance{}, time.Now().Add(24*time.Hour) })
		time.Sleep(48 * time.Hour)
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		var watch sync.WaitGroup
		watch.Go(func() {
			if all := follow(ctx, t, s); len(all) != large {
				t.Errorf("%d of %d were claimed", len(all), large)
			}
		})
		between := 0
		for left := large; left > 0; {
			if err := s.Heartbeat(t.Context(), me, forLong); err != nil {
				t.Fatal(err)
			}
			now := having(t, s, "later IS NOT NULL")
			if now < left {
				between++
			}
			left = now
			time.Sleep(time.Millisecond)
		}
		if between < large/(8*inStep) {
			t.Errorf("%d heartbeats were answered while it was worked on", between)
		}
		watch.Wait()
	})
}

func TestOneClaimMovesAPartOfWhatALapsedInstanceOwnedAndTheOthersFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := opened(t, newPath(t), Config{Sync: Relaxed})
		defer closed(t, s)
		gone := store.Instance{Node: "gone", Incarnation: "1"}
		if err := s.Heartbeat(t.Context(), gone, forLong); err != nil {
			t.Fatal(err)
		}
		heartbeats(t, s)
		backlog(t, s, large, func(x *store.Snapshot) { x.Owner, x.Fingerprint = gone, "another" })
		for i := range 10 {
			x := fresh(fmt.Sprint(i))
			x.Owner = gone
			if _, err := s.Create(t.Context(), x); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * forLong)
		if n := claimed(t, s, 100); n != 0 {
			t.Errorf("%d were claimed at once, and came last", n)
		}
		if n := having(t, s, "ready IS NOT NULL"); n > mostLooked+100+3*inStep {
			t.Errorf("one claim has moved %d", n)
		}
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		if all := follow(ctx, t, s); len(all) != 10 {
			t.Errorf("%d were claimed, want 10", len(all))
		}
	})
}

func TestWhatCanBeClaimedIsReachedBehindMuchThatCannotBe(t *testing.T) {
	for name, others := range map[string]int{"alone": 0, "beside what another engine can claim": 1} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := opened(t, newPath(t), Config{Sync: Relaxed})
				defer closed(t, s)
				gone := store.Instance{Node: "gone", Incarnation: "1"}
				if err := s.Heartbeat(t.Context(), gone, forLong); err != nil {
					t.Fatal(err)
				}
				heartbeats(t, s)
				last := fmt.Sprint("backlog ", large-1)
				backlog(t, s, large, func(x *store.Snapshot) {
					if x.Owner = gone; x.ID != last {
						x.State = store.Done
					}
				})
				for i := range others {
					x := fresh(fmt.Sprint(i))
					x.Owner, x.Fingerprint, x.DueAt = store.Instance{}, "another", time.Now()
					if _, err := s.Create(t.Context(), x); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(2 * forLong)
				ctx, stop := context.WithTimeout(t.Context(), time.Minute)
				defer stop()
				if all := follow(ctx, t, s); len(all) != 1 || !all[last] {
					t.Errorf("claimed were %v, want %q", all, last)
				}
			})
		})
	}
}

// An engine that starts relies on having all of them.
func TestAClaimOfHoldersReturnsThemHoweverMuchIsToBeMovedBefore(t *testing.T) {
	for _, id := range []uint64{0, 1} {
		t.Run(fmt.Sprint("with the id ", id), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := opened(t, newPath(t), Config{Sync: Relaxed})
				defer closed(t, s)
				gone := store.Instance{Node: "gone", Incarnation: "1"}
				if err := s.Heartbeat(t.Context(), gone, forLong); err != nil {
					t.Fatal(err)
				}
				heartbeats(t, s)
				const many = 2*mostLooked + inStep
				first, last := fmt.Sprint("backlog ", inStep), fmt.Sprint("backlog ", many-1)
				backlog(t, s, many, func(x *store.Snapshot) {
					if x.Owner, x.Holding = gone, true; x.ID != first && x.ID != last {
						x.Fingerprint = "another"
					}
				})
				time.Sleep(2 * forLong)
				commits := 0
				within(t, s, func(w *writer) error { commits = w.commits; return nil })
				list, err := s.Claim(t.Context(), store.Claim{Instance: me, ID: id, Plans: []store.PlanID{thePlan}, Holders: true})
				if len(list) != 2 || err != nil || list[0].ID != first || list[1].ID != last {
					t.Errorf("%d were claimed, want the two that it can drive, %v", len(list), err)
				}
				within(t, s, func(w *writer) error { commits = w.commits - commits - 1; return nil })
				if commits < 2 {
					t.Errorf("it was done in %d transactions", commits)
				}
			})
		})
	}
}
