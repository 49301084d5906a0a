package locking_test

import (
	"context"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/driver"
)

// warning is an option that notes when its lock was warned.
func warning(before time.Duration) (opt locking.WarnOption, warned func() []time.Duration) {
	var mu sync.Mutex
	var lefts []time.Duration
	note := func(left time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		lefts = append(lefts, left)
	}
	return locking.WarnBefore(before, note), func() []time.Duration {
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(lefts)
	}
}

func TestALockThatIsRenewedIsNotWarned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, _ := service(t)
		opt, warned := warning(10 * time.Second)
		_, stop := job(t, s, "k", locking.Expire(30*time.Second), opt)
		time.Sleep(time.Hour)
		wantError(t, stop(), nil)
		if got := warned(); len(got) > 0 {
			t.Errorf("warned: %v", got)
		}
	})
}

func TestALockIsWarnedOnceWhenTheProviderCannotBeReached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, _ := service(t)
		p.extend = func(context.Context, time.Duration, []driver.Hold) error { return io.EOF }
		opt, warned := warning(10 * time.Second)
		start := time.Now()
		ctx, stop := job(t, s, "k", locking.Expire(30*time.Second), opt)
		time.Sleep(20 * time.Second)
		if got := warned(); len(got) != 1 || got[0] != 10*time.Second {
			t.Errorf("after %s it was warned %v, want once with 10s left", time.Since(start), got)
		}
		<-ctx.Done()
		if got := warned(); len(got) != 1 {
			t.Errorf("warned %v, want once", got)
		}
		wantError(t, stop(), locking.ErrLockLost)
	})
}

func TestALockOfManyKeysIsWarnedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, _ := service(t)
		opt, warned := warning(time.Second)
		if _, err := s.TryAcquire(t.Context(), locking.Keys("a", "b", "c"), locking.Expire(3*time.Second), opt); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if got := warned(); len(got) != 1 || got[0] != time.Second {
			t.Errorf("warned %v, want once with 1s left", got)
		}
	})
}

func TestALockThatWasReleasedIsNotWarnedAlthoughItIsStillHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, _ := service(t)
		opt, warned := warning(time.Second)
		l := take(t, s, "k", locking.WithOwner("me"), locking.Expire(3*time.Second), opt)
		other := take(t, s, "k", locking.WithOwner("me"))
		l.Close()
		<-other.Context().Done()
		if got := warned(); len(got) > 0 {
			t.Errorf("warned: %v", got)
		}
	})
}

func TestTheEndOfAnOfferIsNoReasonToWarn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, _ := service(t)
		p.acquired = offer
		opt, warned := warning(5 * time.Second)
		take(t, s, "k", opt)
		time.Sleep(time.Minute)
		if got := warned(); len(got) > 0 {
			t.Errorf("warned: %v", got)
		}
	})
}

func TestAnOfferThatCannotBeConfirmedIsWarned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, _ := service(t)
		p.acquired = offer
		p.extend = func(context.Context, time.Duration, []driver.Hold) error { return io.EOF }
		opt, warned := warning(time.Second)
		take(t, s, "k", opt)
		time.Sleep(time.Minute)
		if got := warned(); len(got) != 1 {
			t.Errorf("warned %v, want once", got)
		}
	})
}

func TestAWarningMayUseTheLockAndClosingTheServiceWaitsForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, _ := service(t)
		handle := make(chan *locking.Lock, 1)
		var ended bool
		handle <- take(t, s, "k", locking.Expire(3*time.Second), locking.WarnBefore(time.Second, func(time.Duration) {
			l := <-handle
			wantError(t, l.Release(context.Background()), nil)
			cause(t, "released", l, locking.ErrLockReleased)
			time.Sleep(time.Second)
			ended = true
		}))
		time.Sleep(2 * time.Second)
		synctest.Wait()
		wantError(t, s.Close(context.Background()), nil)
		if !ended {
			t.Error("the warning was still being called")
		}
	})
}

func TestClosingTheServiceWaitsForAWarningNoLongerThanItsContextAllows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, _ := service(t)
		take(t, s, "k", locking.Expire(3*time.Second), locking.WarnBefore(time.Second, func(time.Duration) { time.Sleep(time.Minute) }))
		time.Sleep(2 * time.Second)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		wantError(t, s.Close(ctx), context.DeadlineExceeded)
		time.Sleep(time.Hour)
	})
}

func TestALockThatHasLostOneKeyIsNotWarnedOfTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, _ := service(t)
		opt, warned := warning(time.Second)
		l, err := s.TryAcquire(t.Context(), locking.Keys("a", "b"), locking.Expire(3*time.Second), opt)
		wantError(t, err, nil)
		p.notify(driver.Event{Revoked: hold(l, "a")})
		time.Sleep(time.Minute)
		if got := warned(); len(got) > 0 {
			t.Errorf("warned: %v", got)
		}
	})
}

func TestClosingAServiceThatIsIdleNeedsNoTime(t *testing.T) {
	for range 20 {
		s, _, err := open(t)
		wantError(t, err, nil)
		take(t, s, "k", locking.Expire(time.Minute))
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		wantError(t, s.Close(ctx), nil)
	}
}
