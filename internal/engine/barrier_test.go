package engine

import (
	"testing"

	"github.com/lockstep-dev/lockstep/store"
)

func TestHoldsAreRestoredThatTheOwnerJustBeforeHasRecordedLast(t *testing.T) {
	b := &barrier{latest: map[lockName]uint64{{"p", "a"}: 5, {"p", "b"}: 9, {"other", "b"}: 3}}
	a := store.Hold{Provider: "p", Key: "a", Epoch: 3, Token: 5}
	old := store.Hold{Provider: "p", Key: "b", Epoch: 3, Token: 8}
	other := store.Hold{Provider: "other", Key: "b", Epoch: 3, Token: 3}
	for name, c := range map[string]struct {
		b     *barrier
		holds []store.Hold
		epoch uint64
		want  bool
	}{
		"those of the owner before":                     {b, []store.Hold{a, other}, 4, true},
		"those of an owner before that one":             {b, []store.Hold{a}, 5, false},
		"one that another execution has had since":      {b, []store.Hold{a, old}, 4, false},
		"those of an execution that nobody answers for": {nil, []store.Hold{a}, 4, false},
	} {
		if got := c.b.may(c.holds, c.epoch); got != c.want {
			t.Errorf("%s: %t, want %t", name, got, c.want)
		}
	}
}
