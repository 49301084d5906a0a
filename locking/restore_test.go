package locking_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockmem"
)

// restoring restores a hold on "k" that has died with its process.
func restoring(t *testing.T, s *locking.Service, owner string) (stands bool) {
	t.Helper()
	dead := driver.Hold{Key: "k", Owner: owner, Token: 7, Generation: driver.Generation{Epoch: 1, Attempt: 1}}
	taken, stands, err := s.Tickets().Restore(t.Context(), "lp_p", []driver.Hold{dead}, driver.Generation{Epoch: 2, Attempt: 1}, time.Minute, 0)
	if err != nil || stands != (len(taken) == 1) {
		t.Errorf("%v, %t, %v", taken, stands, err)
	}
	for _, h := range taken {
		if rec := h.Record(); rec.Key != "k" || rec.Owner != owner || rec.Epoch != 2 || rec.Token <= 7 {
			t.Errorf("%+v", rec)
		}
	}
	return stands
}

func TestHoldsThatDiedWithTheirProcessAreRestoredBeforeAnybodyAsksForALock(t *testing.T) {
	ask := func(ctx context.Context, s *locking.Service) {
		if l, err := s.TryAcquire(ctx, locking.Keys("another")); err == nil {
			l.Close()
		}
	}
	enqueue := func(ctx context.Context, s *locking.Service) {
		tk := driver.Ticket{ID: "t", Request: driver.Request{Keys: []string{"another"}, Owner: "lockstep:o", TTL: time.Minute}}
		_, _ = s.Tickets().Enqueue(ctx, "lp_p", tk)
		_ = s.Tickets().Cancel(ctx, "lp_p", tk)
	}
	for name, c := range map[string]struct {
		before, meanwhile func(ctx context.Context, s *locking.Service)
		wide              bool
		want              bool
	}{
		"nobody asks":                                 {want: true},
		"somebody has asked before":                   {before: ask},
		"an execution has asked before":               {before: enqueue},
		"somebody asks meanwhile":                     {meanwhile: ask},
		"the provider protects more than the process": {wide: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &scripted{Provider: lockmem.New(lockmem.Config{}), wide: c.wide}
				s, err := locking.New(t.Context(), locking.Config{Providers: []locking.Registration{{ID: "p", Provider: p, IsDefault: true}}})
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close(context.Background())
				if c.before != nil {
					c.before(t.Context(), s)
				}
				p.acquired = func(ctx context.Context, _ *driver.Grant) error {
					p.acquired = nil
					if c.meanwhile != nil {
						c.meanwhile(ctx, s)
					}
					return nil
				}
				if got := restoring(t, s, "lockstep:o"); got != c.want {
					t.Errorf("restored: %t, want %t", got, c.want)
				}
				l, err := s.TryAcquire(t.Context(), locking.Keys("k"))
				if (err == nil) == c.want {
					t.Errorf("the key is free: %t, want %t: %v", err == nil, !c.want, err)
				}
				if err == nil {
					l.Close()
				}
			})
		})
	}
}

func TestWhatOneHasRestoredNoOtherDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, _ := service(t)
		if !restoring(t, s, "lockstep:a") || restoring(t, s, "lockstep:b") {
			t.Error("the first is to have it, and the second is not")
		}
	})
}
