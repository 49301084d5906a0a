package locking_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/driver"
)

// sleeper is a service on a machine whose wall clock can go on while the monotonic
// one, with all timers, stands still.
func sleeper(t *testing.T) (s *locking.Service, p *scripted, sleep func(time.Duration)) {
	t.Helper()
	s, p, _ = service(t)
	var slept atomic.Int64
	locking.ShiftWallClock(s, func() time.Duration { return time.Duration(slept.Load()) })
	return s, p, func(d time.Duration) { slept.Add(int64(d)) }
}

// endsAfter says after how much time of the timers the context ends.
func endsAfter(ctx context.Context) time.Duration {
	start := time.Now()
	<-ctx.Done()
	return time.Since(start)
}

func TestALockEndsAtTheMomentOfItsEndByTheTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, _ := service(t)
		l := take(t, s, "k", locking.Expire(7777*time.Millisecond))
		if got := endsAfter(l.Context()); got != 7777*time.Millisecond {
			t.Errorf("it ended after %s", got)
		}
	})
}

func TestALockWhoseEndPassedWhileTheMachineSleptEndsWithinATick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, sleep := sleeper(t)
		l := take(t, s, "k", locking.Expire(10*time.Second))
		ctx := l.Context()
		sleep(11 * time.Second)
		if got := endsAfter(ctx); got > 500*time.Millisecond {
			t.Errorf("it ended %s after the machine woke", got)
		}
		cause(t, "slept", l, locking.ErrLockLost)
	})
}

func TestALockWhoseEndPassedWhileTheMachineSleptEndsWithItsNextUse(t *testing.T) {
	for use, of := range map[string]func(l *locking.Lock){
		"Context": func(l *locking.Lock) { l.Context() },
		"Token":   func(l *locking.Lock) { l.Token("k") },
		"Extend":  func(l *locking.Lock) { _ = l.Extend(context.Background(), time.Minute) },
	} {
		t.Run(use, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, _, sleep := sleeper(t)
				l := take(t, s, "k", locking.Expire(10*time.Second))
				ctx := l.Context()
				sleep(11 * time.Second)
				of(l)
				if ctx.Err() == nil {
					t.Error("the context goes on")
				}
			})
		})
	}
}

func TestTimeThatTheMachineSleptCountsTowardsTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, sleep := sleeper(t)
		l := take(t, s, "k", locking.Expire(10*time.Second))
		time.Sleep(2 * time.Second)
		sleep(5 * time.Second)
		if got := endsAfter(l.Context()); got < 2900*time.Millisecond || got > 3*time.Second {
			t.Errorf("it ended %s later, want 3s", got)
		}
	})
}

func TestAWallClockThatIsSetBackLeavesTheEndWhereItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, sleep := sleeper(t)
		l := take(t, s, "k", locking.Expire(10*time.Second))
		sleep(-time.Hour)
		if got := endsAfter(l.Context()); got != 10*time.Second {
			t.Errorf("it ended after %s, want 10s", got)
		}
	})
}

func TestALeaseThatPassedWhileTheMachineSleptIsNotRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, sleep := sleeper(t)
		ctx, stop := job(t, s, "k", locking.Expire(30*time.Second))
		sleep(time.Minute)
		<-ctx.Done()
		time.Sleep(time.Minute)
		if n := len(p.extensions()); n > 0 {
			t.Errorf("renewed %d times", n)
		}
		wantError(t, stop(), locking.ErrLockLost)
	})
}

func TestALeaseEndsInTimeAlthoughTheProviderDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, _ := sleeper(t)
		p.extend = func(ctx context.Context, _ time.Duration, _ []driver.Hold) error {
			<-ctx.Done()
			return ctx.Err()
		}
		ctx, stop := job(t, s, "k", locking.Expire(30*time.Second))
		if got := endsAfter(ctx); got != 30*time.Second {
			t.Errorf("it ended after %s, want 30s", got)
		}
		wantError(t, stop(), locking.ErrLockLost)
	})
}

func TestAnAnswerThatTheMachineSleptOverGrantsNoMoreTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, sleep := sleeper(t)
		take(t, s, "other", locking.Expire(time.Hour))
		p.acquired = func(context.Context, *driver.Grant) error {
			sleep(5 * time.Second)
			time.Sleep(time.Second) // the clocks are looked at meanwhile
			return nil
		}
		l := take(t, s, "k", locking.Expire(10*time.Second))
		if got := endsAfter(l.Context()); got > 4*time.Second {
			t.Errorf("it ended after %s, want 4s", got)
		}
	})
}
