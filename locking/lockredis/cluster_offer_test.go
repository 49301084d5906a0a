package lockredis_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking/driver"
)

// What is offered in the first slot would lapse after 2 s, or go on to another.
func TestOnAClusterWhatIsOfferedInOneSlotIsKeptWhileTheNextOneIsWaitedFor(t *testing.T) {
	t.Parallel()
	r := clusterRig(t)
	first, second := inSlotOrder()
	x, y := r.take("x", 0, first), r.take("y", 0, second)
	got := r.ask(driver.Request{Keys: []string{"a", "b"}, Owner: "me", TTL: time.Minute, Wait: 20 * time.Second})
	r.inLine(first, 1)
	r.free(x)
	r.inLine(second, 1)
	redistest.Eventually(t, time.Second, func() string {
		if ttl := r.redis.PTTL(bg, "medusa_lock:"+first).Val(); ttl < 20*time.Second {
			return fmt.Sprintf("%q, kept while the other is waited for, lives %s", first, ttl)
		}
		return ""
	})
	r.free(y)
	for _, h := range granted(t, got, 5*time.Second, "the request").Holds {
		if v := r.redis.Get(bg, "medusa_lock:"+h.Key).Val(); v != "me" {
			t.Errorf("%q was granted, and is %q's", h.Key, v)
		}
		if h.Key == first && h.Offer {
			t.Errorf("%q is an offer still", h.Key)
		}
	}
}
