package lockredis

import (
	"hash/maphash"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/lockstep-dev/lockstep/internal/rediskit"
)

// layout is how keys are built. The lock itself is <namespace><key>. Everything
// else lies in side keys, which begin with another byte than the namespace: no
// pattern <namespace>* finds them.
//
//	~lockstep:{tag}:q:<namespace><key>   who waits, in order
//	~lockstep:{hub}:…                    what the default namespace's locks share: see queue.lua
//	~lockstep:{hub}:@<length>:<namespace>:…   and those of another one
//	~lockstep:{hub}:…e:<owner>           on a cluster, in a slot that the owner's name gives:
//	                                     the waits that hold up that owner, see crossing.go
//	~lockstep:c:<process>                the channel on which a process is told things
//
// The tag is a function of the lock's slot, so the lock's key may hold any bytes.
// On a cluster each slot is its own hub. A server that is no cluster has one hub,
// so that a request for any keys is one call.
type layout struct {
	namespace, side string
	slotted         bool                  // keys of different slots cannot be in one call
	hubs            []atomic.Pointer[hub] // by slot; one where there are no slots
	lones           lones
}

// hub has the keys that the locks of one call share.
type hub struct {
	slot int
	base string
	// shared are the first keys of every script: see queue.lua.
	shared [sharedKeys]string
	// announced is when the hub was last told that this process lives, in
	// nanoseconds of this process's clock.
	announced atomic.Int64
	sweep     sweep
	incumbent incumbent
	// mark is when the last mark was sent that has come back from this hub: a grant of
	// its locks that comes after it in the stream was made later. What the nodes of a
	// cluster tell has no common order. It is guarded by waits.mu.
	mark time.Time
}

// sharedKeys is how many keys precede those of the locks.
const sharedKeys = 4

// holdsKey is which of them has the records of what is held.
const holdsKey = 3

func newLayout(namespace string, slotted bool) *layout {
	side := "~lockstep:"
	if strings.HasPrefix(namespace, "~") {
		side = "_lockstep:"
	}
	hubs := 1
	if slotted {
		hubs = rediskit.Slots
	}
	return &layout{
		namespace: namespace, side: side, slotted: slotted, hubs: make([]atomic.Pointer[hub], hubs),
		lones: lones{seed: maphash.MakeSeed()},
	}
}

func (l *layout) hub(slot int) *hub {
	if !l.slotted {
		slot = 0
	}
	if h := l.hubs[slot].Load(); h != nil {
		return h
	}
	base := l.side + "{" + rediskit.Tag(slot) + "}:"
	if l.namespace != DefaultNamespace { // the length keeps any two apart
		base += "@" + strconv.Itoa(len(l.namespace)) + ":" + l.namespace + ":"
	}
	h := &hub{slot: slot, base: base, shared: [sharedKeys]string{base + "t", base + "n", base + "w", base + "h"}}
	l.hubs[slot].CompareAndSwap(nil, h)
	return l.hubs[slot].Load()
}

// place is where a key is kept.
type place struct {
	slot        int
	lock, queue string
}

func (l *layout) place(key string) place {
	slot := rediskit.Slot(l.namespace + key)
	tag := rediskit.Tag(slot)
	queue := l.side + "{" + tag + "}:q:" + l.namespace + key
	return place{slot: slot, lock: queue[len(l.side)+len(tag)+5:], queue: queue} // they share their bytes
}

// key is the name under which a caller knows a lock.
func (l *layout) key(lock string) string { return strings.TrimPrefix(lock, l.namespace) }

// channel is where a process listens.
func (l *layout) channel(process string) string { return l.side + "c:" + process }

// waitsOf is where the waits are published that hold up an owner.
func (l *layout) waitsOf(owner string) string { return l.hub(rediskit.Slot(owner)).base + "e:" + owner }

// all returns the hubs that may have locks: one, where a tag in the namespace puts all
// of them into one slot.
func (l *layout) all() []*hub {
	if !l.slotted {
		return []*hub{l.hub(0)}
	}
	if rediskit.Tagged(l.namespace) {
		return []*hub{l.hub(rediskit.Slot(l.namespace))}
	}
	hubs := make([]*hub, rediskit.Slots)
	for slot := range hubs {
		hubs[slot] = l.hub(slot)
	}
	return hubs
}
