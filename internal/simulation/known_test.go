package simulation

// What is known, and cannot be mended, is not judged, but counted: it is told with the
// result.
const (
	// A request that hangs for long puts a ticket into the queue whose wait has ended
	// elsewhere. Whoever has ended it does so once more after two leases, and has stopped
	// before that: the provider cannot tell the late request from a new one. Each time that
	// it is the ticket's turn, others wait until the offer has lapsed.
	ghosts = "tickets that nobody waits by any more"
)

// A guard that shares a lock which a step before it had left to the execution does not
// notice that the lock is lost when a new owner claims the execution: no record says that
// the guard relies on it.
const shared = "guards that share a lock which a step had left, and which was lost"

// lostBelow says that a key which no record has is such a one, and counts it.
func (m *mirror) lostBelow(key string) bool {
	if m.dropped[key] {
		m.w.known[shared]++
	}
	return m.dropped[key]
}

// ghost says that no execution waits by a ticket, and counts it.
func (w *world) ghost(ticket string) bool {
	for _, m := range w.mirrors {
		for _, n := range m.nodes {
			if n.Ticket == ticket && !m.gone {
				return false
			}
		}
	}
	if ticket == "" {
		return false
	}
	w.known[ghosts]++
	return true
}

// ghostly says that an offer is one to such a ticket, whose owner has ended, and counts it.
func (w *world) ghostly(offer bool) bool {
	if offer {
		w.known[ghosts]++
	}
	return offer
}
