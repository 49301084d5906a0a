package lockredis

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// group is what one script call can handle: on a cluster the keys of one slot,
// else all of them. At has the places of its members in the caller's list.
type group struct {
	at     []int
	places []place
}

// groups sorts keys into groups, in slot order, so that no two callers that take
// several groups can wait for each other in a circle.
func (p *Provider) groups(keys []string) []group {
	var list []group
	bySlot := map[int]int{}
	for i, k := range keys {
		pl := p.keys.place(k)
		slot := pl.slot
		if !p.cluster {
			slot = 0
		}
		g, ok := bySlot[slot]
		if !ok {
			g = len(list)
			bySlot[slot] = g
			list = append(list, group{})
		}
		list[g].at = append(list[g].at, i)
		list[g].places = append(list[g].places, pl)
	}
	slices.SortStableFunc(list, func(a, b group) int { return a.places[0].slot - b.places[0].slot })
	return list
}

// pairs lists the lock and the record of each key.
func (g *group) pairs() []string {
	keys := make([]string, 0, 2*len(g.places))
	for _, pl := range g.places {
		keys = append(keys, pl.lock, pl.record)
	}
	return keys
}

// triples adds the token sequence.
func (g *group) triples() []string {
	keys := make([]string, 0, 3*len(g.places))
	for _, pl := range g.places {
		keys = append(keys, pl.lock, pl.record, pl.tokenSequence)
	}
	return keys
}

// ReplyError means that the server answered something the protocol does not know.
type ReplyError struct{ Script, Got, Expected string }

func (e *ReplyError) Error() string {
	return fmt.Sprintf("lockredis: %s answered %s, expected %s", e.Script, e.Got, e.Expected)
}

// numbers reads a reply of as many integers as are wanted.
func numbers(script string, reply any, want int) ([]int64, error) {
	list, ok := reply.([]any)
	if !ok || len(list) != want {
		return nil, &ReplyError{script, fmt.Sprintf("%.200v", reply), strconv.Itoa(want) + " numbers"}
	}
	all := make([]int64, want)
	for i, v := range list {
		if all[i], ok = v.(int64); !ok {
			return nil, &ReplyError{script, fmt.Sprintf("%.200v", reply), strconv.Itoa(want) + " numbers"}
		}
	}
	return all, nil
}

func keysOf(holds []driver.Hold) []string {
	keys := make([]string, len(holds))
	for i, h := range holds {
		keys[i] = h.Key
	}
	return keys
}

func tokenText(t driver.Token) string { return strconv.FormatUint(uint64(t), 10) }
