package machine

import (
	"container/heap"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

// timers has the nodes that wait for a time, the earliest first. One that waits no
// longer stays until it is come upon.
type timers []timer

type timer struct {
	at    time.Time
	place store.Place
}

// Len implements [heap.Interface].
func (h timers) Len() int { return len(h) }

// Less implements [heap.Interface].
func (h timers) Less(i, j int) bool { return h[i].at.Before(h[j].at) }

// Swap implements [heap.Interface].
func (h timers) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push implements [heap.Interface].
func (h *timers) Push(x any) { *h = append(*h, x.(timer)) } //nolint:forcetypeassert // the only type pushed

// Pop implements [heap.Interface].
func (h *timers) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// note enters a node that waits for a time.
func (h *timers) note(at store.Place, n *store.Node) {
	for _, p := range []*store.Progress{&n.Invoke, &n.Compensate} {
		if !p.DueAt.IsZero() {
			heap.Push(h, timer{p.DueAt, at})
		}
	}
}

// stands says whether a node still waits for that time.
func (t timer) stands(s *State) bool {
	n, _ := s.Node(t.place)
	return n.Invoke.DueAt.Equal(t.at) || n.Compensate.DueAt.Equal(t.at)
}

// next returns the earliest time that is waited for, and drops what is over.
func (h *timers) next(s *State) time.Time {
	for len(*h) > 0 {
		if (*h)[0].stands(s) {
			return (*h)[0].at
		}
		heap.Pop(h)
	}
	return time.Time{}
}

// due returns the places whose time has come, without changing anything.
func (h timers) due(now time.Time) []store.Place {
	var places []store.Place
	seen := map[store.Place]bool{}
	var look func(i int)
	look = func(i int) {
		if i >= len(h) || h[i].at.After(now) {
			return
		}
		if !seen[h[i].place] {
			seen[h[i].place] = true
			places = append(places, h[i].place)
		}
		look(2*i + 1)
		look(2*i + 2)
	}
	look(0)
	return places
}
