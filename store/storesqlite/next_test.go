package storesqlite

import (
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

// claimedNext opens the file as the next process does, with an instance of its own, and says
// what it is told of what it claims.
func claimedNext(t *testing.T, path string, incarnation string, keys ...store.Key) (next bool) {
	t.Helper()
	s := opened(t, path, Config{})
	defer closed(t, s)
	i := store.Instance{Node: "n", Incarnation: incarnation}
	if err := s.Heartbeat(t.Context(), i, time.Hour); err != nil {
		t.Fatal(incarnation, err)
	}
	for id := range uint64(2) { // the second one is a repetition
		list, err := s.Claim(t.Context(), store.Claim{Instance: i, ID: 1, Plans: []store.PlanID{thePlan}, Keys: keys, Predecessors: true})
		if err != nil || len(list) > 1 || id == 1 && len(list) == 1 && list[0].Next != next {
			t.Fatal(incarnation, list, err)
		}
		next = len(list) == 1 && list[0].Next
	}
	return next
}

func TestAClaimTellsWhetherAnotherProcessHasUsedTheStoreInBetween(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	s := opened(t, path, Config{})
	x := fresh("x")
	x.Owner = store.Instance{Node: "n", Incarnation: "first"}
	if err := s.Heartbeat(t.Context(), x.Owner, time.Hour); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Create(t.Context(), x); err != nil {
		t.Fatal(err)
	}
	closed(t, s)
	closed(t, opened(t, path, Config{})) // a tool that has no instance
	if !claimedNext(t, path, "second", x.Key) {
		t.Error("the process after the first one is not the next")
	}
	if claimedNext(t, path, "third", fresh("another").Key) || claimedNext(t, path, "fourth", x.Key) {
		t.Error("the fourth is the next after the second, although there was a third")
	}
	if !claimedNext(t, path, "fifth", x.Key) {
		t.Error("the fifth is not the next after the fourth")
	}
}
