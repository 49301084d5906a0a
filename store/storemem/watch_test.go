package storemem

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

var (
	missed    = store.Notice{Missed: true}
	claimable = store.Notice{Claimable: true}
)

// watching runs a watch in a bubble; what it returns was heard up to now.
func watching(t *testing.T, s *Store) (heard func() []store.Notice) {
	t.Helper()
	var mu sync.Mutex
	var list []store.Notice
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	go func() {
		_ = s.Watch(ctx, me, func(n store.Notice) {
			mu.Lock()
			defer mu.Unlock()
			list = append(list, n)
		})
	}()
	return func() []store.Notice {
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		defer func() { list = nil }()
		return list
	}
}

func TestWhatFallsDueIsToldWhenItDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := started(t)
		heard := watching(t, s)
		if got := heard(); !slices.Equal(got, []store.Notice{missed}) {
			t.Errorf("%v", got)
		}
		createMany(t, s, 3, func(i int, x *store.Snapshot) {
			x.Owner, x.DueAt = store.Instance{}, time.Now().Add(time.Duration(3-i)*time.Minute)
		})
		for minute := range 3 {
			time.Sleep(time.Minute - time.Nanosecond)
			if got := heard(); len(got) > 0 {
				t.Errorf("before %d minutes: %v", minute+1, got)
			}
			time.Sleep(time.Nanosecond)
			if got := heard(); !slices.Equal(got, []store.Notice{claimable}) {
				t.Errorf("after %d minutes: %v", minute+1, got)
			}
			if got := claim(t, s, store.Claim{Instance: me, Plans: []store.PlanID{thePlan}}); len(got) != 1 {
				t.Errorf("%q was claimed", got)
			}
		}
		time.Sleep(time.Hour)
		if got := heard(); len(got) > 0 {
			t.Errorf("after all are claimed: %v", got)
		}
	})
}

// An engine that cannot drive what is due must not be told of it for ever.
func TestWhatNobodyClaimsIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := started(t)
		heard := watching(t, s)
		createMany(t, s, 1, func(_ int, x *store.Snapshot) { x.Owner, x.DueAt = store.Instance{}, time.Now().Add(time.Minute) })
		heard()
		time.Sleep(time.Hour)
		if got := heard(); !slices.Equal(got, []store.Notice{claimable}) {
			t.Errorf("%v, want to be told once", got)
		}
	})
}

func TestALapseIsToldWhenItComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := started(t)
		heard := watching(t, s)
		heard()
		dying, idle := store.Instance{Node: "dying"}, store.Instance{Node: "idle"}
		for _, i := range []store.Instance{dying, idle} {
			if err := s.Heartbeat(t.Context(), i, time.Second); err != nil {
				t.Fatal(err)
			}
		}
		createMany(t, s, 1, func(_ int, x *store.Snapshot) { x.Owner = dying })
		time.Sleep(time.Second / 2)
		if err := s.Heartbeat(t.Context(), dying, time.Minute); err != nil {
			t.Fatal(err)
		}
		heard()
		time.Sleep(time.Minute - time.Nanosecond)
		if got := heard(); len(got) > 0 {
			t.Errorf("before the end of the lease: %v", got)
		}
		time.Sleep(time.Nanosecond)
		if got := heard(); !slices.Equal(got, []store.Notice{claimable}) {
			t.Errorf("at the end of the lease: %v", got)
		}
	})
}

func TestWhoIsFarBehindIsToldThatItHasMissedSomething(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := started(t)
		var heard []store.Notice
		held := make(chan struct{})
		go func() {
			_ = s.Watch(t.Context(), store.Instance{Node: "another"}, func(n store.Notice) {
				<-held
				heard = append(heard, n)
			})
		}()
		synctest.Wait()
		const over = 10
		list := createMany(t, s, mostNotices+over, func(_ int, x *store.Snapshot) { x.State = store.Done })
		if n := len(s.watchers[0].notices); n > mostNotices {
			t.Errorf("%d notices wait, want no more than %d", n, mostNotices)
		}
		close(held)
		synctest.Wait()
		if len(heard) != 2+over || heard[0] != missed || heard[1] != missed || heard[2].Finished != list[mostNotices].Key || heard[len(heard)-1].Finished != list[len(list)-1].Key {
			t.Errorf("%d notices: %v...", len(heard), heard[:min(3, len(heard))])
		}
	})
}

// To tell it would cost each short execution the waking of a goroutine.
func TestWhoHasDrivenAnExecutionToItsEndIsNotToldOfThat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := started(t)
		heard := make(map[store.Instance]int)
		for _, i := range []store.Instance{me, {Node: "another"}} {
			go func() {
				_ = s.Watch(t.Context(), i, func(n store.Notice) {
					if n.Finished != (store.Key{}) {
						heard[i]++
					}
				})
			}()
			synctest.Wait()
		}
		x := fresh("x")
		create(t, s, x)
		w := store.Write{Key: x.Key, Fence: store.Fence{Owner: me, Epoch: 1, Revision: 1}, Head: store.Head{State: store.Done}, Release: true}
		if err := s.Commit(t.Context(), []store.Write{w})[0]; err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if heard[me] != 0 || heard[store.Instance{Node: "another"}] != 1 {
			t.Error(heard)
		}
	})
}

func TestNobodyIsToldAfterTheEndOfTheirWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := started(t)
		ctx, cancel := context.WithCancel(t.Context())
		ended, held := make(chan error), make(chan struct{})
		heard := 0
		go func() {
			ended <- s.Watch(ctx, store.Instance{Node: "another"}, func(n store.Notice) {
				heard++
				if n == missed {
					<-held
					return
				}
				cancel() // with others waiting behind this one
			})
		}()
		synctest.Wait()
		createMany(t, s, 5, func(_ int, x *store.Snapshot) { x.State = store.Done })
		close(held)
		if err := <-ended; !errors.Is(err, context.Canceled) || heard != 2 {
			t.Errorf("%d notices, %v; want 2", heard, err)
		}
		if len(s.watchers) != 0 {
			t.Errorf("%d watchers are left", len(s.watchers))
		}
	})
}
