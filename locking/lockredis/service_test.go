package lockredis_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/driver"
)

// queued waits until so many wait for a key.
func queued(t *testing.T, s *locking.Service, key string, n int) {
	t.Helper()
	redistest.Eventually(t, 5*time.Second, func() string {
		state, err := s.Inspect(bg, key)
		if err != nil || state.Waiting != n {
			return fmt.Sprintf("%+v, %v", state, err)
		}
		return ""
	})
}

func TestTheServiceTellsWhoHoldsAKeyInAnotherProcess(t *testing.T) {
	server := redistest.Start(t)
	one, other := newService(t, server), newService(t, server)
	lock, err := one.Acquire(bg, locking.Keys("a", "b"), locking.WithOwner("nightly import"), locking.Expire(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	state, err := other.Inspect(bg, "a")
	if err != nil || state.Owner != "nightly import" || state.Token != lock.Token("a") || !state.Expires || state.TTL > time.Minute {
		t.Fatalf("got %+v, %v", state, err)
	}
	var keys []string
	for s, err := range other.List(bg, locking.IncludeForeign()) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, s.Key)
	}
	slices.Sort(keys)
	if !slices.Equal(keys, []string{"a", "b"}) {
		t.Fatalf("listed are %q", keys)
	}
}

func TestTheServiceTakesAKeyByForceAndTheNextHasItWhenTheHolderLetsGo(t *testing.T) {
	server := redistest.Start(t)
	victim, other := newService(t, server), newService(t, server)
	lock, err := victim.Acquire(bg, locking.Keys("k"))
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan *locking.Lock)
	go func() {
		l, err := other.Acquire(bg, locking.Keys("k"), locking.WithOwner("next"))
		if err != nil {
			t.Error(err)
		}
		got <- l
	}()
	queued(t, other, "k", 1)
	if had, err := other.ForceRelease(bg, "k", "*", lock.Token("k"), "stuck"); !had || err != nil {
		t.Fatalf("got %t, %v", had, err)
	}
	if state, err := other.Inspect(bg, "k"); err != nil || !state.Revoked || state.Reason != "stuck" || state.Waiting != 1 {
		t.Fatalf("got %+v, %v", state, err)
	}
	// Whether the holder has learned of it yet or not, giving back is what hands over.
	if err := lock.Release(bg); err != nil && !errors.Is(err, locking.ErrLockRevoked) {
		t.Fatal(err)
	}
	if next := <-got; next == nil || next.Token("k") <= lock.Token("k") {
		t.Fatalf("next has %+v", next)
	}
	records, err := victim.Audit(bg, 10)
	want := driver.ForceRequest{Key: "k", Owner: "*", Token: lock.Token("k"), Reason: "stuck"}
	if err != nil || len(records) != 1 || records[0].ForceRequest != want {
		t.Fatalf("audited are %+v, %v", records, err)
	}
}

func TestTheServiceTakesAForeignLockOnlyWithNow(t *testing.T) {
	server := redistest.Start(t)
	s := newService(t, server)
	server.Client().Set(bg, "medusa_lock:k", "cart-7", 0)
	state, err := s.Inspect(bg, "k")
	if err != nil || !state.Foreign {
		t.Fatalf("got %+v, %v", state, err)
	}
	if had, err := s.ForceRelease(bg, "k", state.Owner, state.Token, "crashed"); had || !errors.Is(err, locking.ErrForeign) {
		t.Fatalf("got %t, %v", had, err)
	}
	if had, err := s.ForceRelease(bg, "k", state.Owner, state.Token, "crashed", locking.Now()); !had || err != nil {
		t.Fatalf("got %t, %v", had, err)
	}
	if _, err := s.TryAcquire(bg, locking.Keys("k")); err != nil {
		t.Fatal(err)
	}
}
