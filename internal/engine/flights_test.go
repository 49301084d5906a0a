package engine

import (
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/internal/machine"
	"github.com/lockstep-dev/lockstep/store"
)

// There may be as many flights as a loop has items, and each is found in its place.
func TestFlightsAreFoundInTheirPlacesHoweverManyThereAre(t *testing.T) {
	for _, count := range []int{1, 2, fewFlights, fewFlights + 1, 10 * fewFlights} {
		var l flights
		fly := func(i int) *flight {
			f := &flight{start: machine.StartAttempt{Place: store.Place{Frame: store.FrameID(i)}}}
			l.add(f)
			return f
		}
		var first, second []*flight
		for i := range count {
			first = append(first, fly(i))
		}
		for i := range count {
			second = append(second, fly(i))
		}
		for _, f := range first {
			l.remove(f) // others have taken their places
		}
		seen := make(map[*flight]int)
		for f := range l.all {
			seen[f]++
		}
		for i, f := range second {
			if l.at(store.Place{Frame: store.FrameID(i)}) != f || seen[f] != 1 {
				t.Errorf("of %d: flight %d is not in its place, or was told %d times", count, i, seen[f])
			}
		}
		if len(seen) != count || !l.any() {
			t.Errorf("%d flights, want %d", len(seen), count)
		}
		for _, f := range second {
			l.remove(f)
		}
		if l.any() || l.at(store.Place{}) != nil {
			t.Errorf("of %d: some are left", count)
		}
	}
}

// A body that was left behind, and a timer that has just gone off, have their flight
// still.
func TestTheMemoryOfAFlightIsUsedAgainOnlyWhenNobodyHasIt(t *testing.T) {
	var l flights
	first := l.fresh()
	second := l.fresh()
	if first == second {
		t.Fatal("two flights have the same memory")
	}
	l.landed(first)
	if third := l.fresh(); third != first {
		t.Error("the memory of one that has landed is not used again")
	}
	second.grace = time.NewTimer(time.Hour)
	defer second.grace.Stop()
	l.landed(second)
	if l.fresh() == second {
		t.Error("the memory is used again of one that a timer has")
	}
}
