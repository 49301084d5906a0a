package lockredis_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking/driver"
)

// inSlotOrder are two keys of different slots, the one first that is taken first.
func inSlotOrder() (first, second string) {
	keys := []string{"a", "b"}
	slices.SortFunc(keys, func(a, b string) int { return slotOf(a) - slotOf(b) })
	return keys[0], keys[1]
}

func TestOfARequestForSeveralSlotsThatDiesWhileItWaitsNothingStaysForEver(t *testing.T) {
	t.Parallel()
	r := clusterRig(t)
	first, second := inSlotOrder()
	r.take("x", 0, second)
	r.ask(driver.Request{Keys: []string{"a", "b"}, Owner: "me", Wait: time.Minute}) // without an expiry
	r.inLine(second, 1)
	if ttl := r.redis.PTTL(bg, "medusa_lock:"+first).Val(); ttl <= 0 || ttl > 30*time.Second {
		t.Fatalf("%q, of a request that has not been granted, lives %s", first, ttl)
	}
}

func TestWhatWasTakenOfOneSlotIsKeptForAsLongAsAnotherIsWaitedForAndThenHasItsFullTime(t *testing.T) {
	t.Parallel()
	for name, ttl := range map[string]time.Duration{"with an expiry": 600 * time.Millisecond, "without": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := clusterRig(t)
			first, second := inSlotOrder()
			held := r.take("x", 0, second)
			got := r.ask(driver.Request{Keys: []string{"a", "b"}, Owner: "me", TTL: ttl, Wait: time.Minute})
			r.inLine(second, 1)
			for until := time.Now().Add(2 * time.Second); time.Now().Before(until); {
				if v := r.redis.Get(bg, "medusa_lock:"+first).Val(); v != "me" {
					t.Fatalf("%q is %q's while the other is waited for", first, v)
				}
			}
			r.free(held)
			g := granted(t, got, 5*time.Second, "the request")
			for _, h := range g.Holds {
				left := r.redis.PTTL(bg, "medusa_lock:"+h.Key).Val()
				if ttl > 0 && (left < ttl/2 || left > ttl || h.Until.IsZero()) && !h.Offer {
					t.Errorf("%q, granted just now for %s, lives %s, until %s", h.Key, ttl, left, h.Until)
				}
				if ttl == 0 && left >= 0 && !h.Offer {
					t.Errorf("%q, asked for without an expiry, lives %s", h.Key, left)
				}
			}
		})
	}
}

// As when a node comes back without its data.
func TestWhatIsForgottenOfOneSlotWhileAnotherIsWaitedForIsTakenAgain(t *testing.T) {
	t.Parallel()
	r := clusterRig(t)
	first, second := inSlotOrder()
	held := r.take("x", 0, second)
	got := r.ask(driver.Request{Keys: []string{"a", "b"}, Owner: "me", TTL: time.Minute, Wait: 30 * time.Second})
	r.inLine(second, 1)
	r.redis.Del(bg, "medusa_lock:"+first)
	thief := r.take("thief", 0, first)
	r.free(held)
	select {
	case o := <-got:
		t.Fatalf("granted although %q is another's: %+v", first, o)
	case <-time.After(500 * time.Millisecond):
	}
	r.free(thief)
	g := granted(t, got, 10*time.Second, "the request")
	for _, h := range g.Holds {
		if v := r.redis.Get(bg, "medusa_lock:"+h.Key).Val(); v != "me" {
			t.Errorf("%q was granted, and is %q's", h.Key, v)
		}
	}
}

func TestARequestForSeveralSlotsThatIsNotGrantedGivesBackAll(t *testing.T) {
	t.Parallel()
	r := clusterRig(t)
	first, second := inSlotOrder()
	r.take("x", 0, second)
	if _, err := r.Acquire(bg, driver.Request{Keys: []string{"a", "b"}, Owner: "me", Wait: 100 * time.Millisecond}); !errors.Is(err, driver.ErrTimeout) {
		t.Fatalf("got %v", err)
	}
	redistest.Eventually(t, 5*time.Second, func() string {
		if v := r.redis.Get(bg, "medusa_lock:"+first).Val(); v != "" {
			return fmt.Sprintf("%q is %q's", first, v)
		}
		return ""
	})
}
