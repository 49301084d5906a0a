package simulation

// What is known, and not mended, is not judged, but counted: it is told with the result.
const (
	// A request that hangs for long puts a ticket into the queue whose wait has ended
	// elsewhere. Whoever has ended it does so once more after two leases, and has stopped
	// before that: the provider cannot tell the late request from a new one. Each time that
	// it is the ticket's turn, others wait until the offer has lapsed.
	//
	// What would close it is the provider's: either it remembers each ticket that has ended
	// for as long as a request may hang, which costs each wait that is cancelled a key on the
	// server, or a request to wait says until when, on the server's clock, it is good for. The
	// engine can do no more than to end a wait again, and an engine that has stopped cannot.
	ghosts = "tickets that nobody waits by any more"

	// A guard that shares a lock which a step before it had left to the execution does not
	// notice that the lock is lost: no record says that the guard relies on it, and the write
	// that drops the lost hold from its sequence does not look for guards that do. What is to
	// be done in it is done without that lock; a body that asks for it by locking.Held is told
	// that it is not held.
	//
	// What would close it is that a guard's record names the holds that it shares, so that
	// the very write which drops one does to the guard what the loss of its own does. Looking
	// for such guards when a lock is found lost is not enough: a write that enables attempts
	// in the guard may come before that, and has dropped the hold.
	shared = "guards that share a lock which a step had left, and which was lost"
)

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
