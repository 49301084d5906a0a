package lockredis

import (
	"strings"

	"github.com/lockstep-dev/lockstep/internal/rediskit"
)

// layout is how keys are built. The lock itself is <namespace><key>. Everything
// else lies in side keys, in the same hash slot, which begin with another byte
// than the namespace: no pattern <namespace>* finds them.
//
//	~lockstep:{tag}:h:<namespace><key>   the record of the hold
//	~lockstep:{tag}:t                    the last token given out in the slot
//
// The tag is a function of the slot, so the lock's key may hold any bytes.
type layout struct{ namespace, side string }

func newLayout(namespace string) layout {
	if strings.HasPrefix(namespace, "~") {
		return layout{namespace, "_lockstep:{"}
	}
	return layout{namespace, "~lockstep:{"}
}

// place is where a key is kept.
type place struct {
	slot          int
	lock, record  string
	tokenSequence string
}

func (l layout) place(key string) place {
	lock := l.namespace + key
	slot := rediskit.Slot(lock)
	base := l.side + rediskit.Tag(slot) + "}:"
	return place{slot: slot, lock: lock, record: base + "h:" + lock, tokenSequence: base + "t"}
}
