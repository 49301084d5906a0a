package locking_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/driver"
)

func TestWhyATicketHasEndedIsToldInThisPackagesWords(t *testing.T) {
	s, p, _ := service(t)
	var told []driver.Event
	stop := s.Tickets().Listen(func(e driver.Event) { told = append(told, e) })
	circle := []driver.Wait{{Owner: "a", Key: "k", Holder: "b"}, {Owner: "b", Key: "l", Holder: "a"}}
	for _, err := range []error{&driver.DeadlockError{Cycle: circle}, driver.ErrRevoked, errDown, nil} {
		p.notify(driver.Event{Ticket: "t", Err: err})
	}
	stop()
	p.notify(driver.Event{Ticket: "t"})
	if len(told) != 4 {
		t.Fatalf("%d events, want 4: %+v", len(told), told)
	}
	deadlock, ok := errors.AsType[*locking.DeadlockError](told[0].Err)
	if !ok || len(deadlock.Cycle) != 2 || deadlock.Provider != "lp_p" {
		t.Errorf("%v (%T)", told[0].Err, told[0].Err)
	}
	for i, want := range []error{1: locking.ErrLockRevoked, 2: errDown, 3: nil} {
		if i > 0 && !errors.Is(told[i].Err, want) {
			t.Errorf("%v, want %v", told[i].Err, want)
		}
	}
}

func TestATakeOverThatMayHaveComeTooLateIsNone(t *testing.T) {
	for name, late := range map[string]bool{"in time": false, "late": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const lease = 10 * time.Second
				s, p, _ := service(t)
				first, err := p.Provider.Acquire(t.Context(), driver.Request{Keys: []string{"k"}, Owner: "o", Generation: driver.Generation{Epoch: 1, Attempt: 1}, TTL: lease})
				if err != nil {
					t.Fatal(err)
				}
				p.acquired = func(context.Context, *driver.Grant) error {
					time.Sleep(lease - time.Second) // the process stood still
					if late {
						time.Sleep(2 * time.Second)
					}
					return nil
				}
				taken, stands, err := s.Tickets().TakeOver(t.Context(), "lp_p", []driver.Hold{first.Holds[0].Hold}, driver.Generation{Epoch: 2, Attempt: 1}, lease, 0)
				if stands == late || err != nil || (len(taken) > 0) == late {
					t.Errorf("%v, %t, %v", taken, stands, err)
				}
				for _, h := range taken {
					if _, err := h.Free(t.Context()); err != nil {
						t.Error(err)
					}
				}
				l, err := s.TryAcquire(t.Context(), locking.Keys("k"))
				if err != nil {
					t.Fatal("the key is not given back:", err)
				}
				l.Close()
			})
		})
	}
}
