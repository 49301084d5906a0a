package locking_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/internal/runctx"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/driver"
)

func wantError(t *testing.T, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func wantLog(t *testing.T, log *bytes.Buffer, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(log.String(), p) {
			t.Errorf("the log lacks %q: %s", p, log)
		}
	}
}

func TestAContextThatIsAskedForLateHasTheCauseOfTheLocksEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, _ := service(t)
		released := take(t, s, "released")
		wantError(t, released.Release(t.Context()), nil)
		cause(t, "released", released, locking.ErrLockReleased)

		lapsed := take(t, s, "lapsed", locking.Expire(time.Second))
		time.Sleep(time.Second)
		cause(t, "lapsed", lapsed, locking.ErrLockLost)

		ctx, cancel := context.WithCancel(t.Context())
		both, err := s.TryAcquire(ctx, locking.Keys("both"), locking.Expire(time.Second))
		wantError(t, err, nil)
		time.Sleep(time.Second)
		cancel()
		cause(t, "lapsed before its parent ended", both, locking.ErrLockLost)
	})
}

func TestTheHandleThatIsReleasedEndsAndTheOthersOfItsOwnerGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, _ := service(t)
		one, two := take(t, s, "k", locking.WithOwner("me")), take(t, s, "k", locking.WithOwner("me"))
		ctx := one.Context()
		wantError(t, one.Release(t.Context()), nil)
		if !errors.Is(context.Cause(ctx), locking.ErrLockReleased) {
			t.Errorf("the released one: %v", context.Cause(ctx))
		}
		cause(t, "the other one", two, nil)
		if _, err := s.Release(t.Context(), locking.Keys("k"), locking.WithOwner("me")); err != nil {
			t.Fatal(err)
		}
		cause(t, "released by name", two, locking.ErrLockReleased)
	})
}

func TestALockLostWithItsReleaseUnansweredIsReleasedAgainByItsHandle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, _ := service(t)
		l := take(t, s, "k")
		p.release = func([]driver.Hold) error { return errDown }
		wantError(t, l.Release(t.Context()), errDown)
		p.release = nil
		wantError(t, l.Release(t.Context()), nil)
		wantError(t, l.Release(t.Context()), nil)
		if got := p.releases(); got != "[k k]" {
			t.Errorf("released %s, want k twice", got)
		}
	})
}

func TestReleaseInAStepTakesOneCallForAllKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, _ := service(t)
		run := runctx.NewRoot("store", "run", 1, time.Minute)
		in := func(step string) context.Context { return runctx.WithScope(t.Context(), run.Attempt(step, 1)) }
		for _, keys := range [][]string{{"a", "b"}, {"c", "d"}} {
			if _, err := s.Acquire(in("take"+keys[0]), keys); err != nil {
				t.Fatal(err)
			}
		}
		freed, err := s.Release(in("none"), locking.Keys("a"))
		if freed || err != nil {
			t.Errorf("another step's: %t, %v", freed, err)
		}
		run = runctx.NewRoot("store", "other run", 1, time.Minute)
		step := in("step")
		for _, k := range []string{"e", "f", "g", "h"} {
			if _, err := s.Acquire(step, locking.Keys(k)); err != nil {
				t.Fatal(err)
			}
		}
		if freed, err := s.Release(step, locking.Keys("e", "f")); !freed || err != nil {
			t.Errorf("release: %t, %v", freed, err)
		}
		if n, err := s.ReleaseAll(step); n != 2 || err != nil {
			t.Errorf("release all: %d, %v", n, err)
		}
		if got := p.releases(); got != "[ef gh]" && got != "[ef hg]" {
			t.Errorf("calls %s, want one for e and f, one for g and h", got)
		}
	})
}

func TestHeldLocksHaveNoGoroutineOfTheirOwn(t *testing.T) {
	s := adding(t)
	before := runtime.NumGoroutine()
	locks := make([]*locking.Lock, 1000)
	for i := range locks {
		var err error
		if locks[i], err = s.Acquire(bg, locking.Keys(fmt.Sprint(i)), lapsing, locking.WarnBefore(time.Second, func(time.Duration) {})); err != nil {
			t.Fatal(err)
		}
		locks[i].Context()
	}
	if more := runtime.NumGoroutine() - before; more > 2 {
		t.Errorf("%d goroutines more for %d locks", more, len(locks))
	}
	for _, l := range locks {
		l.Close()
	}
}

func TestAnUncontendedLockAllocatesLittle(t *testing.T) {
	s := adding(t)
	keys := locking.Keys("k")
	got := testing.AllocsPerRun(1000, func() {
		l, err := s.Acquire(bg, keys, lapsing)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Release(bg); err != nil {
			t.Fatal(err)
		}
	})
	t.Logf("%.1f allocations", got)
	if got > 10 {
		t.Errorf("%.1f allocations for acquire and release, want at most 10", got)
	}
}
