package lockmem

import (
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// The answers of Acquire and Release are all that a lock costs that nobody else
// wants.
func TestUncontendedLockNeedsNoMemoryButItsAnswers(t *testing.T) {
	p := started(t)
	req := lasting(time.Hour, ask("owner", "a", "b", "c"))
	holds := make([]driver.Hold, len(req.Keys))
	got := testing.AllocsPerRun(100, func() {
		for i, h := range take(t, p, req) {
			holds[i] = h.Hold
		}
		if _, err := p.Release(t.Context(), holds); err != nil {
			t.Fatal(err)
		}
	})
	if got > 2 {
		t.Errorf("%v allocations, want 2", got)
	}
}
