package lockredis

import (
	"strings"
	"testing"

	"github.com/lockstep-dev/lockstep/internal/rediskit"
)

// FuzzPlace: whatever a key and a namespace hold, the side keys lie in the slot of
// the lock, outside the namespace, and are those of no other lock.
func FuzzPlace(f *testing.F) {
	for _, k := range []string{"prod_123", "a{b}c", "}{", "{}", "\x00\xff", "~lockstep:{0}:t", ":h:"} {
		f.Add("medusa_lock:", k, "other")
		f.Add(k, "x", k)
	}
	f.Fuzz(func(t *testing.T, namespace, key, other string) {
		if namespace == "" {
			t.Skip("an empty namespace stands for the default")
		}
		l := newLayout(namespace, true)
		p := l.place(key)
		sides := append([]string{p.queue}, l.hub(p.slot).shared[:]...)
		for _, side := range sides {
			if rediskit.Slot(side) != rediskit.Slot(p.lock) || rediskit.Slot(p.lock) != p.slot {
				t.Errorf("%q is not in the slot of %q", side, p.lock)
			}
			if strings.HasPrefix(side, namespace) {
				t.Errorf("%q lies in the namespace %q", side, namespace)
			}
		}
		if o := l.place(other); key != other && o.queue == p.queue {
			t.Errorf("%q and %q share a side key", key, other)
		}
		if l.key(p.lock) != key {
			t.Errorf("%q: %q, %q", key, p.lock, l.key(p.lock))
		}
	})
}
