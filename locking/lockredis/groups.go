package lockredis

import (
	"hash/maphash"
	"slices"
	"sync/atomic"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// group is what one script call can handle: on a cluster the keys of one slot,
// else all of them. At has the places of its members in the caller's list. It may be that
// of many calls at once, and is not to be changed.
type group struct {
	hub    *hub
	at     []int
	places []place
}

// groups sorts keys into groups, in slot order, so that no two callers that take
// several groups can wait for each other in a circle.
func (l *layout) groups(keys []string) []group {
	if len(keys) == 0 {
		return nil
	}
	if len(keys) == 1 {
		return l.single(keys[0])
	}
	if !l.slotted {
		g := group{at: make([]int, len(keys)), places: make([]place, len(keys))}
		for i, k := range keys {
			g.at[i], g.places[i] = i, l.place(k)
		}
		g.hub = l.hub(g.places[0].slot)
		return []group{g}
	}
	var list []group
	bySlot := map[int]int{}
	for i, k := range keys {
		pl := l.place(k)
		n, ok := bySlot[pl.slot]
		if !ok {
			n = len(list)
			bySlot[pl.slot] = n
			list = append(list, group{hub: l.hub(pl.slot)})
		}
		list[n].at = append(list[n].at, i)
		list[n].places = append(list[n].places, pl)
	}
	slices.SortFunc(list, func(a, b group) int { return a.hub.slot - b.hub.slot })
	return list
}

// lone is the group of one key, made in one piece: most calls have one.
type lone struct {
	key    string
	list   [1]group
	at     [1]int
	places [1]place
}

// lones are groups of one key that were asked for of late, each at the place that its
// key gives: what is wanted once is often wanted again.
type lones struct {
	seed maphash.Seed
	list [256]atomic.Pointer[lone]
}

// lonesKey is how long a key is at most whose group is kept.
const lonesKey = 256

func (l *layout) single(key string) []group {
	at := &l.lones.list[maphash.String(l.lones.seed, key)%uint64(len(l.lones.list))]
	if g := at.Load(); g != nil && g.key == key {
		return g.list[:]
	}
	g := &lone{}
	g.places[0] = l.place(key)
	g.list[0] = group{hub: l.hub(g.places[0].slot), at: g.at[:], places: g.places[:]}
	queue := g.places[0].queue
	if g.key = queue[len(queue)-len(key):]; len(key) <= lonesKey { // they share their bytes
		at.Store(g)
	}
	return g.list[:]
}

// command builds the call of a script for the group: its keys, then the arguments.
// Room is how many arguments will follow.
func (g *group) command(s *script, room int) []any {
	n := sharedKeys + 2*len(g.places)
	args := make([]any, 0, 3+n+room)
	args = append(args, "evalsha", s.sha, n)
	for i := range g.hub.shared {
		args = append(args, g.hub.shared[i])
	}
	for i := range g.places {
		args = append(args, g.places[i].lock, g.places[i].queue)
	}
	return args
}

// appendNames adds the addresses of the group's keys as the scripts take them: lock,
// queue, …
func (g *group) appendNames(names []any) []any {
	names = slices.Grow(names, 2*len(g.places))
	for i := range g.places {
		names = append(names, &g.places[i].lock, &g.places[i].queue)
	}
	return names
}

func keysOf(holds []driver.Hold) []string {
	keys := make([]string, len(holds))
	for i, h := range holds {
		keys[i] = h.Key
	}
	return keys
}
