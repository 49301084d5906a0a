package locking_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/driver"
)

// circular is a provider that finds every request to close a circle.
type circular struct{ driver.Provider }

var circle = []driver.Wait{{Owner: "a", Key: "k1", Holder: "b"}, {Owner: "b", Key: "k2", Holder: "a"}}

func (circular) Acquire(context.Context, driver.Request) (driver.Grant, error) {
	return driver.Grant{}, &driver.DeadlockError{Cycle: circle}
}

func TestADeadlockIsToldInThisPackagesWords(t *testing.T) {
	s, _, err := open(t, locking.Registration{ID: "c", Provider: circular{mem()}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Acquire(bg, locking.Keys("k1"), locking.WithOwner("a"))
	var found *locking.DeadlockError
	if !errors.As(err, &found) || !errors.Is(err, locking.ErrDeadlock) || !slices.Equal(found.Cycle, circle) {
		t.Fatalf("got %#v", err)
	}
	if want := `locking: deadlock at lp_c: "a" waits for "k1", which "b" holds; "b" waits for "k2", which "a" holds`; err.Error() != want {
		t.Errorf("got %s, want %s", err, want)
	}
}
