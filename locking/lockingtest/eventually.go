package lockingtest

import (
	"testing"
	"time"
)

// pollInterval is the pause between two looks at something that is to change.
const pollInterval = 2 * time.Millisecond

// Eventually looks until the answer is yes, for at most the bound, and ends the
// test with what it saw last when that never came.
func Eventually(t testing.TB, bound time.Duration, what string, look func() (yes bool, saw string)) {
	t.Helper()
	deadline := time.Now().Add(bound)
	for {
		yes, saw := look()
		if yes {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s; last seen: %s", bound, what, saw)
		}
		time.Sleep(pollInterval)
	}
}
