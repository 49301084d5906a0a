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

// many takes locks of one execution, whose lease is the given one.
func many(t *testing.T, s *locking.Service, count int, lease time.Duration) []*locking.Lock {
	t.Helper()
	step := runctx.NewRoot("store", "run", 1, lease).Attempt("step", 1)
	locks := make([]*locking.Lock, count)
	for i := range locks {
		var err error
		if locks[i], err = s.TryAcquire(runctx.WithScope(t.Context(), step), locking.Keys(fmt.Sprint("k", i))); err != nil {
			t.Fatal(err)
		}
	}
	return locks
}

func TestLeasesAreRenewedAtAThirdOfTheirLengthAHundredToACommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, _ := service(t)
		locks := many(t, s, 250, 30*time.Second)
		time.Sleep(10*time.Second - time.Millisecond)
		synctest.Wait()
		if early := p.extensions(); len(early) > 0 {
			t.Errorf("renewed early: %v", early)
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if got := slices.Sorted(slices.Values(p.extensions())); !slices.Equal(got, []int{50, 100, 100}) {
			t.Errorf("commands of %v locks, want 50, 100, 100", got)
		}
		time.Sleep(time.Minute)
		cause(t, "renewed", locks[0], nil)
	})
}

func TestAnOfferIsConfirmedAlthoughAnotherRenewalHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, _ := service(t)
		p.extend = func(ctx context.Context, _ time.Duration, holds []driver.Hold) error {
			if holds[0].Key == "slow" {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
		_, stop := job(t, s, "slow", locking.Expire(30*time.Second))
		time.Sleep(9900 * time.Millisecond) // its renewal is due in 100 ms
		p.acquired = offer
		l := take(t, s, "offered")
		time.Sleep(5 * time.Second)
		cause(t, "offered", l, nil)
		wantError(t, stop(), nil)
	})
}

func TestAnOfferWhoseConfirmationHangsIsConfirmedAgainInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, _ := service(t)
		hung := 0
		p.extend = func(ctx context.Context, _ time.Duration, _ []driver.Hold) error {
			if hung++; hung == 1 {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
		p.acquired = offer
		l := take(t, s, "k")
		time.Sleep(time.Minute)
		cause(t, "offered", l, nil)
	})
}

func TestOneKeyThatCannotBeRenewedCostsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, _ := service(t)
		p.extend = func(_ context.Context, _ time.Duration, holds []driver.Hold) error {
			if slices.ContainsFunc(holds, func(h driver.Hold) bool { return h.Key == "k13" }) {
				return errors.New("WRONGTYPE")
			}
			return nil
		}
		locks := many(t, s, 100, 30*time.Second)
		time.Sleep(time.Minute)
		synctest.Wait()
		for i, l := range locks {
			if i == 13 {
				cause(t, "that cannot be renewed", l, locking.ErrLockLost)
			} else {
				cause(t, fmt.Sprint("lock ", i), l, nil)
			}
		}
	})
}

func TestABatchIsNotDividedWhenTheProviderCannotBeReachedOrRefusesAll(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		most int // commands of the first round
	}{
		"the connection is lost": {fmt.Errorf("read: %w", io.EOF), 1},
		"all is refused":         {errors.New("LOADING"), 32},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, p, _ := service(t)
				p.extend = func(context.Context, time.Duration, []driver.Hold) error { return c.err }
				many(t, s, 100, 30*time.Second)
				time.Sleep(10 * time.Second)
				synctest.Wait()
				if n := len(p.extensions()); n == 0 || n > c.most {
					t.Errorf("%d commands, want at most %d", n, c.most)
				}
			})
		})
	}
}

func TestARenewalThatFailsIsTriedUntilTheTrueEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, log := service(t)
		start := time.Now()
		p.extend = func(context.Context, time.Duration, []driver.Hold) error {
			if time.Since(start) < 29*time.Second {
				return io.EOF
			}
			return nil
		}
		l := many(t, s, 1, 30*time.Second)[0]
		time.Sleep(2 * time.Minute)
		cause(t, "renewed in the last second", l, nil)
		wantLog(t, log, "could not renew leases", "locks=1")
	})
}

func TestAnAnswerThatCameLateMovesNoEndToAnEarlierMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, _ := service(t)
		owner := locking.WithOwner("me")
		first := take(t, s, "k", owner, locking.Expire(10*time.Second))
		// The answer to a join is on its way while the lock is extended by hand.
		p.acquired = func(context.Context, *driver.Grant) error {
			p.acquired = nil
			return first.Extend(t.Context(), time.Hour)
		}
		second := take(t, s, "k", owner, locking.Expire(15*time.Second))
		time.Sleep(time.Minute)
		cause(t, "extended", first, nil)
		cause(t, "joined", second, nil)
	})
}

func TestAFullHoldIsNoOfferAgainByAnAnswerThatCameLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, _ := service(t)
		owner := locking.WithOwner("me")
		p.acquired = offer
		first := take(t, s, "k", owner)
		p.acquired = func(ctx context.Context, g *driver.Grant) error {
			time.Sleep(1800 * time.Millisecond) // it has been confirmed meanwhile
			g.Holds[0].Offer, g.Holds[0].Until = true, time.Now().Add(200*time.Millisecond)
			return nil
		}
		take(t, s, "k", owner)
		time.Sleep(time.Minute)
		cause(t, "confirmed for ever", first, nil)
		if got := p.extensions(); len(got) != 1 {
			t.Errorf("it was confirmed by %d commands, want 1", len(got))
		}
	})
}

func TestAnOfferThatIsMadeFullForLessThanItHadEndsThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, _ := service(t)
		p.acquired = offer
		p.extended = func(answers []driver.Extension) { answers[0].Until = time.Now().Add(600 * time.Millisecond) }
		l := take(t, s, "k", locking.Expire(600*time.Millisecond))
		if got := endsAfter(l.Context()); got != 1100*time.Millisecond {
			t.Errorf("it ended after %s, want 600ms after it was confirmed at 500ms", got)
		}
	})
}

func TestClosingTheServiceWaitsForTheRenewalsThatRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, _ := service(t)
		var ended bool
		p.extend = func(ctx context.Context, _ time.Duration, _ []driver.Hold) error {
			<-ctx.Done() // closing cuts it short
			time.Sleep(100 * time.Millisecond)
			ended = true
			return ctx.Err()
		}
		many(t, s, 1, 30*time.Second)
		time.Sleep(10*time.Second + time.Millisecond)
		start := time.Now()
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); !ended || took > time.Second {
			t.Errorf("it returned after %s; the renewal had ended: %t", took, ended)
		}
	})
}
