package container

import (
	"slices"
	"sync"
)

// building is a construction under way.
type building struct {
	entry    *entry
	outer    *building // the construction that asked for this one
	finished chan struct{}

	// Written before finished is closed.
	value any
	err   error

	over bool // guarded by the graph: it waits for nothing any more
}

// graph knows who waits for whom. There is one for a container and all its
// children, because a constructor of a child may wait for one of the parent.
type graph struct {
	sync.Mutex

	waits map[*wait]struct{}
}

// wait is a resolution that waits for a construction of another goroutine. By is
// the construction that it serves, nil outside of one.
type wait struct{ by, run *building }

// cycle returns the path from a construction back to itself that would close if
// by waited for run, or nil. Between has the names on the way from by to run. It
// requires the lock. It ends because no wait that closes a cycle is ever added.
func (g *graph) cycle(by, run *building, between []string) []string {
	if by.within(run) {
		return slices.Concat(by.names(run), between, []string{run.entry.name})
	}
	for w := range g.waits {
		if !w.by.within(run) {
			continue
		}
		if path := g.cycle(by, w.run, slices.Concat(between, w.by.names(run))); path != nil {
			return path
		}
	}
	return nil
}

// within says whether b is run, or serves it. What asks through the container of
// a construction that is over serves nothing: nobody waits for it.
func (b *building) within(run *building) bool {
	for ; b != nil && !b.over; b = b.outer {
		if b == run {
			return true
		}
	}
	return false
}

// names lists the constructions from run to b, outermost first.
func (b *building) names(run *building) []string {
	var names []string
	for ; b != nil; b = b.outer {
		names = append(names, b.entry.name)
		if b == run {
			break
		}
	}
	slices.Reverse(names)
	return names
}
