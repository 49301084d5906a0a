package locking_test

import (
	"errors"
	"testing"

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
