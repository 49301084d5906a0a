package locking_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/internal/runctx"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/driver"
)

// withoutAnswer makes a provider answer for all holds but those of one key.
func withoutAnswer(key string, until time.Time) func(context.Context, driver.Hold) error {
	return func(_ context.Context, h driver.Hold) error {
		if h.Key == key && time.Now().Before(until) {
			return io.EOF
		}
		return nil
	}
}

func TestAHoldWithoutAnAnswerIsLostAtItsOwnEndAndTheOthersStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, log := service(t)
		start := time.Now()
		locks := many(t, s, 2, 30*time.Second)
		p.silent = withoutAnswer("k0", start.Add(time.Hour))
		silent := locks[0].Context()
		time.Sleep(30*time.Second - time.Millisecond)
		cause(t, "which may have been extended, or not", locks[0], nil)
		<-silent.Done()
		if lived := time.Since(start); lived != 30*time.Second || !errors.Is(context.Cause(silent), locking.ErrLockLost) {
			t.Errorf("it ended after %s: %v", lived, context.Cause(silent))
		}
		time.Sleep(2 * time.Minute)
		cause(t, "which has an answer", locks[1], nil)
		wantLog(t, log, "could not renew leases", "locks=1")
	})
}

func TestAHoldWithoutAnAnswerIsRenewedAsSoonAsThereIsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, _ := service(t)
		p.silent = withoutAnswer("k0", time.Now().Add(29*time.Second))
		locks := many(t, s, 2, 30*time.Second)
		time.Sleep(2 * time.Minute)
		cause(t, "renewed in the last second", locks[0], nil)
		cause(t, "renewed all the time", locks[1], nil)
	})
}

func TestHoldsWithoutAnAnswerAreAskedForApartAndAloneUntilThereIsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, _ := service(t)
		p.silent = withoutAnswer("k0", time.Now().Add(25*time.Second))
		many(t, s, 3, 30*time.Second)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := p.extensions(); !slices.Equal(got, []int{3}) {
			t.Fatalf("at first commands of %v locks, want all at once", got)
		}
		time.Sleep(14 * time.Second) // the others are due at 20 s
		synctest.Wait()
		got := p.extensions()[1:]
		apart := slices.DeleteFunc(slices.Clone(got), func(n int) bool { return n == 1 })
		if !slices.Equal(apart, []int{2}) || len(got) < 50 {
			t.Errorf("then commands of %v locks, want many of 1 and one of 2", got)
		}
		time.Sleep(26 * time.Second)
		synctest.Wait()
		if got := p.extensions(); got[len(got)-1] != 3 && got[len(got)-2]+got[len(got)-1] != 3 {
			t.Errorf("in the end commands of %v locks", got[len(got)-4:])
		}
	})
}

func TestAnErrorOfOneHoldDividesNoBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, _ := service(t)
		p.silent = func(_ context.Context, h driver.Hold) error {
			if h.Key < "k2" { // k0, k1, k10 to k19
				return errors.New("WRONGTYPE")
			}
			return nil
		}
		many(t, s, 100, 30*time.Second)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := p.extensions(); !slices.Equal(got, []int{100}) {
			t.Errorf("commands of %v locks, want one of 100", got)
		}
	})
}

func TestALeaseStaysThoughEachAnswerTakesNearlyAThirdOfIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, _ := service(t)
		p.extended = func(answers []driver.Extension) {
			for i := range answers { // what clocks may drift apart
				answers[i].Until = answers[i].Until.Add(-150 * time.Millisecond)
			}
			time.Sleep(990 * time.Millisecond)
		}
		l := many(t, s, 1, 3*time.Second)[0]
		time.Sleep(time.Minute)
		cause(t, "renewed slowly", l, nil)
	})
}

// A provider waits for the slowest of its servers, for as long as it may.
func TestShortLeasesStayBesideOneWhoseServerHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, _ := service(t)
		p.silent = func(ctx context.Context, h driver.Hold) error {
			if h.Key == "k0" {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
		locks := many(t, s, 4, 300*time.Millisecond)
		time.Sleep(time.Minute)
		for i, l := range locks {
			want := error(nil)
			if i == 0 {
				want = locking.ErrLockLost
			}
			cause(t, l.Keys()[0], l, want)
		}
	})
}

func TestAHoldThatHadNoAnswerOnceIsHeldBesideOneWhoseServerHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, _ := service(t)
		slow := true
		p.silent = func(ctx context.Context, h driver.Hold) error {
			switch {
			case h.Key == "k0":
				<-ctx.Done()
				return ctx.Err()
			case slow:
				slow = false
				return io.EOF
			}
			return nil
		}
		locks := many(t, s, 2, 1500*time.Millisecond)
		time.Sleep(time.Minute)
		cause(t, "whose server hangs", locks[0], locking.ErrLockLost)
		cause(t, "without an answer once", locks[1], nil)
	})
}

// The provider is back, and slow, while ever another of the locks is about to end.
func TestHoldsThatAreAboutToEndCostTheOthersNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, _ := service(t)
		start := time.Now()
		p.extend = func(ctx context.Context, _ time.Duration, _ []driver.Hold) error {
			if d := time.Since(start); d > 9*time.Second && d < 29500*time.Millisecond {
				return io.EOF
			}
			select {
			case <-time.After(200 * time.Millisecond):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		var locks []*locking.Lock
		step := runctx.NewRoot("store", "run", 1, 30*time.Second).Attempt("step", 1)
		for i := range 100 { // they end from 30 s to 35 s
			l, err := s.TryAcquire(runctx.WithScope(t.Context(), step), locking.Keys(fmt.Sprint("k", i)))
			wantError(t, err, nil)
			locks = append(locks, l)
			time.Sleep(50 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		held := 0
		for _, l := range locks {
			if l.Context().Err() == nil {
				held++
			}
		}
		if held < 70 {
			t.Errorf("%d of 100 are held, want all that had more than a second to go", held)
		}
	})
}

func TestAShortLeaseIsTriedAgainInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, _ := service(t)
		p.silent = withoutAnswer("k0", time.Now().Add(70*time.Millisecond))
		l := many(t, s, 1, 200*time.Millisecond)[0]
		time.Sleep(time.Minute)
		cause(t, "renewed at the second try", l, nil)
	})
}

func TestExtendingByHandTellsOfAHoldWithoutAnAnswerAndExtendsTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, _ := service(t)
		l, err := s.TryAcquire(t.Context(), locking.Keys("a", "b"), locking.Expire(time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		p.silent = withoutAnswer("a", time.Now().Add(time.Second))
		wantError(t, l.Extend(t.Context(), time.Hour), io.EOF)
		cause(t, "which may have been extended", l, nil)
		if state, err := s.Inspect(t.Context(), "b"); err != nil || state.TTL < 59*time.Minute {
			t.Errorf("b has %s to live, %v", state.TTL, err)
		}
		time.Sleep(time.Second)
		wantError(t, l.Extend(t.Context(), time.Hour), nil)
		time.Sleep(59 * time.Minute)
		cause(t, "extended", l, nil)
	})
}

func TestExtendingByHandTellsOfALossAlthoughAnotherKeyHasNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, _ := service(t)
		l, err := s.TryAcquire(t.Context(), locking.Keys("a", "b"), locking.Expire(time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		if ok, err := p.Provider.Release(t.Context(), []driver.Hold{hold(l, "b")}); err != nil || !ok[0] {
			t.Fatal(ok, err)
		}
		p.silent = withoutAnswer("a", time.Now().Add(time.Hour))
		wantError(t, l.Extend(t.Context(), time.Hour), locking.ErrLockLost)
	})
}
