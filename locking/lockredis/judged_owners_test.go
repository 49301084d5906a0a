package lockredis_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/driver"
)

// tick is how often a process looks at what it waits for.
const tick = 500 * time.Millisecond

// called is what a call to a service came to, and when.
type called struct {
	at   time.Time
	lock *locking.Lock
	err  error
}

// asking acquires keys for an owner beside the test.
func asking(s *locking.Service, owner string, keys ...string) <-chan called {
	got := make(chan called, 1)
	go func() {
		lock, err := s.Acquire(bg, keys, locking.WithOwner(owner), locking.Wait(30*time.Second))
		got <- called{time.Now(), lock, err}
	}()
	return got
}

func mustAcquire(t *testing.T, s *locking.Service, owner string, keys ...string) *locking.Lock {
	t.Helper()
	lock, err := s.Acquire(bg, keys, locking.WithOwner(owner), locking.Wait(10*time.Second))
	if err != nil {
		t.Fatalf("%s acquires %q: %v", owner, keys, err)
	}
	return lock
}

func TestOfTwoOwnersThatTakeTwoKeysInTurnOneIsToldOfTheDeadlockAtOnceAndTheOtherGoesOn(t *testing.T) {
	server := redistest.Start(t)
	one, other := newService(t, server), newService(t, server)
	mustAcquire(t, one, "1", "A")
	b := mustAcquire(t, other, "2", "B")
	first := asking(one, "1", "B")
	queued(t, one, "B", 1)
	start := time.Now()
	_, err := other.Acquire(bg, locking.Keys("A"), locking.WithOwner("2"), locking.Wait(30*time.Second))
	within(t, "the deadlock error", time.Since(start), 50*time.Millisecond)
	deadlock, ok := errors.AsType[*locking.DeadlockError](err)
	if want := []locking.DeadlockEdge{{Owner: "2", Key: "A", Holder: "1"}, {Owner: "1", Key: "B", Holder: "2"}}; !ok || !errors.Is(err, locking.ErrDeadlock) || !slices.Equal(deadlock.Cycle, want) {
		t.Fatalf("got %v, want the cycle %v", err, want)
	}
	select {
	case got := <-first:
		t.Fatalf("the other got %v while the key was held", got.err)
	default:
	}
	if err := b.Release(bg); err != nil {
		t.Fatal(err)
	}
	if got := <-first; got.err != nil {
		t.Fatal(got.err)
	}
}

func TestAnOwnerPassesWhoWaitsForWhatItHolds(t *testing.T) {
	for name, alsoHas := range map[string][]string{"and holds nothing": nil, "and holds something too": {"k3"}} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t)
			one, other := newService(t, server), newService(t, server)
			k1 := mustAcquire(t, one, "A", "k1")
			for _, k := range alsoHas {
				mustAcquire(t, other, "B", k)
			}
			b := asking(other, "B", "k1", "k2")
			queued(t, one, "k1", 1)
			start := time.Now()
			k2 := mustAcquire(t, one, "A", "k2")
			within(t, "the free k2", time.Since(start), 50*time.Millisecond)
			for _, l := range []*locking.Lock{k1, k2} {
				select {
				case got := <-b:
					t.Fatalf("B got %v while A holds %q", got.err, l.Keys())
				default:
				}
				if err := l.Release(bg); err != nil {
					t.Fatal(err)
				}
			}
			if got := <-b; got.err != nil {
				t.Fatal(got.err)
			}
		})
	}
}

func TestAnAnonymousHandleThatLapsedFreesNothingOfTheNextAnonymousOne(t *testing.T) {
	server := redistest.Start(t)
	one, other := newService(t, server), newService(t, server)
	old, err := one.Acquire(bg, locking.Keys("k"), locking.Expire(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	next, err := other.Acquire(bg, locking.Keys("k"), locking.Wait(10*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if err := old.Release(bg); !errors.Is(err, locking.ErrLockLost) {
		t.Errorf("the release: %v", err)
	}
	if err := old.Extend(bg, time.Hour); !errors.Is(err, locking.ErrLockLost) {
		t.Errorf("the extension: %v", err)
	}
	p, err := one.Provider("")
	if err != nil {
		t.Fatal(err)
	}
	if freed, err := p.Release(bg, []driver.Hold{{Key: "k", Owner: driver.Anonymous, Token: old.Token("k")}}); err != nil || freed[0] {
		t.Errorf("the release at the provider: %v, %v", freed, err)
	}
	if s, err := one.Inspect(bg, "k"); err != nil || !s.Held || s.Token != next.Token("k") || next.Context().Err() != nil {
		t.Fatalf("got %+v, %v; the next one's context: %v", s, err, context.Cause(next.Context()))
	}
	if err := next.Release(bg); err != nil {
		t.Fatal(err)
	}
}

// With Medusa's provider one of twenty succeeds: see its behaviour in the docs.
func TestTwentyJobsOnKeysInOpposedOrderAllSucceed(t *testing.T) {
	for _, processes := range []int{1, 4} {
		t.Run(fmt.Sprint(processes, " services"), func(t *testing.T) {
			server := redistest.Start(t)
			services := make([]*locking.Service, processes)
			for i := range services {
				services[i] = newService(t, server)
			}
			var inside, most, done int
			var mu sync.Mutex
			step := func(by int) {
				mu.Lock()
				defer mu.Unlock()
				inside += by
				most = max(most, inside)
			}
			start := time.Now()
			var jobs sync.WaitGroup
			for i := range 20 {
				keys := locking.Keys("a", "b", "c")
				if i%2 == 1 {
					slices.Reverse(keys)
				}
				jobs.Go(func() {
					err := services[i%processes].Execute(bg, keys, func(context.Context) error {
						step(+1)
						time.Sleep(time.Millisecond) // the job
						step(-1)
						return nil
					})
					if err != nil {
						t.Errorf("job %d: %v", i, err)
						return
					}
					mu.Lock()
					defer mu.Unlock()
					done++
				})
			}
			jobs.Wait()
			t.Logf("%d of 20 jobs of 1 ms succeeded, in %s", done, time.Since(start).Round(time.Millisecond))
			if done != 20 || most != 1 {
				t.Errorf("%d succeeded, up to %d at a time", done, most)
			}
		})
	}
}
