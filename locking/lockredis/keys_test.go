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
		l := newLayout(namespace)
		p := l.place(key)
		for _, side := range []string{p.record, p.tokenSequence} {
			if rediskit.Slot(side) != rediskit.Slot(p.lock) || rediskit.Slot(p.lock) != p.slot {
				t.Errorf("%q is not in the slot of %q", side, p.lock)
			}
			if strings.HasPrefix(side, namespace) {
				t.Errorf("%q lies in the namespace %q", side, namespace)
			}
		}
		if key != other && l.place(other).record == p.record {
			t.Errorf("%q and %q share a record", key, other)
		}
	})
}
