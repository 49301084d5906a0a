package simulation

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

var (
	oneSeed = flag.Uint64("seed", 0, "the history of this seed alone is made, and written out")
	seeds   = flag.Uint64("seeds", 300, "how many histories are made")
	repeats = flag.Uint64("repeats", 200, "how many histories are made twice")
	first   = flag.Uint64("first", 1, "the first seed")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSimulation(t *testing.T) {
	if *oneSeed != 0 {
		w := simulate(t, *oneSeed, nil)
		fmt.Fprintln(os.Stderr, w.story())
		report(t, w)
		return
	}
	const workers = 2
	for i := range uint64(workers) {
		t.Run(fmt.Sprint("worker ", i), func(t *testing.T) {
			t.Parallel()
			for seed := *first + i; seed < *first+*seeds; seed += workers {
				if report(t, simulate(t, seed, nil)); t.Failed() {
					return
				}
			}
		})
	}
}

func TestASeedMakesOneHistory(t *testing.T) {
	differ := 0
	for seed := *first; seed < *first+*repeats; seed++ {
		one, other := simulate(t, seed, nil), simulate(t, seed, nil)
		if one.digest() == other.digest() {
			continue
		}
		differ++
		t.Logf("seed %d: %s", seed, firstDifference(one.lines(false), other.lines(false)))
	}
	// Goroutines that wake at the same instant of the simulated time are in nobody's
	// hands, which is seen in a history of some hundred.
	if differ > int(*repeats/25) {
		t.Errorf("%d of %d seeds made another history the second time", differ, *repeats)
	}
}

func firstDifference(a, b []string) string {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("line %d:\n\t%.300s\n\t%.300s", i, a[i], b[i])
		}
	}
	return fmt.Sprintf("%d and %d lines", len(a), len(b))
}

// report tells what is wrong with a history.
func report(t *testing.T, w *world) {
	t.Helper()
	if len(w.faults) == 0 {
		return
	}
	t.Errorf("seed %d: %s\nrepeat it with: go test ./internal/simulation -run TestSimulation -seed %d",
		w.seed, w.names().Replace(strings.Join(w.faults, "\n\t")), w.seed)
}

// story is all that there is to be read of a history.
func (w *world) story() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: %+v\n", w.seed, w.p)
	for _, fl := range w.flows {
		b.WriteString(fl.String())
	}
	for _, l := range w.lines(true) {
		b.WriteString(l + "\n")
	}
	fmt.Fprintf(&b, "digest %s\n", w.digest())
	return b.String()
}
