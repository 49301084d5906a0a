package lockredis_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/internal/redistest"
)

// More of them than one look at the records clears away.
func TestLocksThatLapseLeaveNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const n = 600
	for i := range n / 100 {
		keys := make([]string, 100)
		for j := range keys {
			keys[j] = fmt.Sprintf("k%d-%02d", i, j)
		}
		r.take("*", 100*time.Millisecond, keys...)
	}
	r.take("me", 100*time.Millisecond, "named")
	redistest.Eventually(t, 10*time.Second, func() string {
		for _, k := range r.keys() {
			if k != hubName("t") {
				return fmt.Sprintf("%q: %d records", k, r.redis.HLen(bg, hubName("h")).Val())
			}
		}
		return ""
	})
}
