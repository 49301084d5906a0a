package locking_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/internal/runctx"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/driver"
)

func TestARenewedLockIsGivenBackAfterItsMaximumHold(t *testing.T) {
	for name, c := range map[string]struct {
		lease, most time.Duration
		margin      time.Duration // by which the provider says less than it grants
	}{
		"many leases":               {30 * time.Second, 100 * time.Second, 0},
		"less than a lease":         {30 * time.Second, 10 * time.Second, 0},
		"a lease":                   {30 * time.Second, 30 * time.Second, 0},
		"many leases with a margin": {30 * time.Second, 100 * time.Second, 300 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, p, _ := service(t)
				p.extended = func(answers []driver.Extension) {
					for i := range answers {
						answers[i].Until = answers[i].Until.Add(-c.margin)
					}
				}
				ctx, stop := job(t, s, "k", locking.Expire(c.lease), locking.MaxHold(c.most))
				if got := endsAfter(ctx); got > c.most || got < c.most-c.margin {
					t.Errorf("it ended after %s, want %s", got, c.most)
				}
				if !errors.Is(context.Cause(ctx), locking.ErrMaxHold) {
					t.Errorf("it ended with %v", context.Cause(ctx))
				}
				synctest.Wait()
				if got := p.releases(); got != "[k]" {
					t.Errorf("released %s, want k", got)
				}
				wantError(t, stop(), locking.ErrMaxHold)
			})
		})
	}
}

func TestALockThatIsLostBeforeItsMaximumHoldSaysSo(t *testing.T) {
	for name, opts := range map[string][]locking.ExecuteOption{
		"a long one": {locking.Expire(30 * time.Second), locking.MaxHold(time.Hour)},
		"none":       {locking.Expire(30 * time.Second)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, p, _ := service(t)
				p.extend = func(context.Context, time.Duration, []driver.Hold) error { return errDown }
				ctx, stop := job(t, s, "k", opts...)
				<-ctx.Done()
				if err := stop(); !errors.Is(err, locking.ErrLockLost) || errors.Is(err, locking.ErrMaxHold) {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

func TestExtendingALockByHandStopsNoRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, _ := service(t)
		step := runctx.NewRoot("store", "run", 1, 30*time.Second).Attempt("step", 1)
		l, err := s.TryAcquire(runctx.WithScope(t.Context(), step), locking.Keys("k"), locking.MaxHold(time.Hour))
		wantError(t, err, nil)
		wantError(t, l.Extend(t.Context(), time.Second), nil)
		time.Sleep(time.Minute)
		cause(t, "renewed", l, nil)
	})
}
