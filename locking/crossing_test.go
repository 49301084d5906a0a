package locking_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/internal/runctx"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/driver"
)

func TestARequestThatJoinedWhatIsBeingReleasedIsSentAgain(t *testing.T) {
	for name, cross := range map[string]func(t *testing.T, first *locking.Lock, p *scripted){
		"the release is answered": func(t *testing.T, first *locking.Lock, _ *scripted) {
			wantError(t, first.Release(t.Context()), nil)
		},
		"the release is on its way": func(t *testing.T, first *locking.Lock, p *scripted) {
			p.release = func([]driver.Hold) error { time.Sleep(time.Second); return nil }
			go first.Close()
			synctest.Wait()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, p, _ := service(t)
				me := locking.WithOwner("me")
				first := take(t, s, "k", me)
				p.acquired = func(context.Context, *driver.Grant) error {
					p.acquired = nil
					cross(t, first, p)
					return nil
				}
				second := take(t, s, "k", me)
				if second.Token("k") <= first.Token("k") {
					t.Errorf("the token is %d, and was %d before", second.Token("k"), first.Token("k"))
				}
				cause(t, "asked again", second, nil)
				if _, err := s.TryAcquire(t.Context(), locking.Keys("k"), locking.WithOwner("you")); err == nil {
					t.Error("it is free")
				}
			})
		})
	}
}

func TestARequestThatJoinedWhatCouldNotBeReleasedHasIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, _ := service(t)
		me := locking.WithOwner("me")
		first := take(t, s, "k", me)
		p.release = func([]driver.Hold) error { return errDown }
		p.acquired = func(context.Context, *driver.Grant) error {
			wantError(t, first.Release(t.Context()), errDown)
			return nil
		}
		second := take(t, s, "k", me)
		cause(t, "joined", second, nil)
		p.release = nil
		wantError(t, second.Release(t.Context()), nil)
	})
}

func TestAnExecutionSharesNoLockOfAnotherServiceUnderTheSameProviderID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, _, _ := service(t)
		two, _, _ := service(t)
		step := runctx.NewRoot("store", "run", 1, time.Minute).Attempt("step", 1)
		if _, err := one.TryAcquire(runctx.WithScope(t.Context(), step), locking.Keys("k")); err != nil {
			t.Fatal(err)
		}
		if _, err := two.TryAcquire(runctx.WithScope(t.Context(), step.Child("c")), locking.Keys("k")); err != nil {
			t.Fatal(err)
		}
		if _, err := two.TryAcquire(t.Context(), locking.Keys("k")); err == nil {
			t.Error("the second service has not taken it")
		}
	})
}
