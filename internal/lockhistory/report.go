package lockhistory

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Count is how many operations there were of each kind.
func (h History) Count() map[string]int {
	count := map[string]int{}
	for i := range h.Ops {
		op := &h.Ops[i]
		if i > 0 && op.Call == h.Ops[i-1].Call && op.Worker == h.Ops[i-1].Worker && op.Process == h.Ops[i-1].Process {
			continue // one call over several keys
		}
		outcome := string(op.Outcome)
		if op.Outcome == Unknown {
			outcome = "unknown"
		}
		count[string(op.Kind)+" "+outcome]++
	}
	return count
}

// Total is how many operations there were.
func (h History) Total() (total int) {
	for _, n := range h.Count() {
		total += n
	}
	return total
}

// Tell says what was judged, and how long that took.
func Tell(h History, v Verdict) string {
	return fmt.Sprintf("%d operations on %d keys: %s; seen in front of one that asked later: %d times; turns excused: %s; joins told as new: %d; checked in %s, the longest key in %s",
		h.Total(), v.Keys, Counts(h.Count()), v.Pairs, Counts(v.Excused), v.Rejoined, v.Search.Round(time.Millisecond), v.Longest.Round(time.Millisecond))
}

// Counts lists how many there are of each.
func Counts(count map[string]int) string {
	if len(count) == 0 {
		return "none"
	}
	var list []string
	for _, name := range slices.Sorted(maps.Keys(count)) {
		list = append(list, fmt.Sprintf("%s %d", name, count[name]))
	}
	return strings.Join(list, ", ")
}
