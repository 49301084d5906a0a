package simulation

import (
	"slices"

	"github.com/lockstep-dev/lockstep/store"
)

// What is known to be broken is not judged, but counted; it is told with the result.
const (
	// A guard that has lost a lock while its branch is compensated, or while another
	// guard is around it, is compensated without that lock, or waits for what its own
	// execution has.
	lostLocks = "executions with a guard that has lost its locks"
	// A guard waits for a key that a guard beside it has, which is left meanwhile: the
	// guard around both has the key from then on, and shares it, but nobody tells the one
	// that waits.
	waitsForOwn = "guards that wait for a key which the guard around them has got"
	// A request that hangs for long puts a ticket back into the queue whose wait has
	// ended elsewhere, and nobody takes it out again.
	ghosts = "tickets that nobody waits by any more"
)

// faultf notes a fault of one execution. It requires mu.
func (m *mirror) faultf(format string, args ...any) {
	m.w.faultf(format, args...)
}

// stuck counts what is known to be stuck, and answers whether something is: others may
// be stuck behind it.
func (w *world) stuck() (known bool) {
	for _, m := range w.mirrors {
		if m.x.State.Finished() || m.gone {
			continue
		}
		for at, n := range m.nodes {
			if n.Ticket != "" && slices.ContainsFunc(n.Keys, func(k string) bool { return m.heldAround(at, k) }) {
				w.known[waitsForOwn]++
				known = true
			}
		}
	}
	w.void = w.void || known
	return known
}

// ghost says that no execution waits by a ticket.
func (w *world) ghost(ticket string) bool {
	for _, m := range w.mirrors {
		for _, n := range m.nodes {
			if n.Ticket == ticket && !m.gone {
				return false
			}
		}
	}
	return ticket != ""
}

// heldAround says whether a guard around a place has the key from a guard within it.
func (m *mirror) heldAround(at store.Place, key string) bool {
	for id := at.Frame; id != 0; id = m.parent(id).Frame {
		parent := m.nodes[m.parent(id)]
		if !slices.Contains(parent.Keys, key) && slices.ContainsFunc(parent.Holds, func(h store.Hold) bool { return h.Key == key }) {
			return true
		}
	}
	return false
}
