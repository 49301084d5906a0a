package lockmem

import (
	"slices"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// What happens to a ticket that has a grant when a hold of that grant ends. Each
// hold lists the tickets that have it in their grant: the one it was taken with,
// and those that joined it.

// confirmed notes that the ticket which took an offer has got it as a full hold.
func (l *lock) confirmed() {
	if l.special == nil {
		return
	}
	for _, w := range l.special.tickets {
		if w.state == offered && w.took(l.key) {
			w.state = claimed
		}
	}
}

// took says that the ticket itself took a key of its grant, and did not join it.
func (w *waiter) took(key string) bool {
	at, ok := slices.BinarySearch(w.request.Keys, key)
	return ok && !w.grant.Holds[at].Joined
}

// handBack ends the tickets that took a hold which is given back: that was their
// turn.
func (p *Provider) handBack(l *lock) {
	if l.special == nil {
		return
	}
	for _, w := range slices.Clone(l.special.tickets) {
		if w.took(l.key) {
			p.detach(w)
			p.end(w)
		}
	}
}

// loseHold acts on the end of a hold that tickets have in their grants. Those that
// were claimed are forgotten. An offer that lapses, or that lacks a key which its
// owner had and gave away, leaves the ticket its place, to be in line again when
// others were served; with a reason the ticket ends. What else was offered to it
// alone is freed.
func (p *Provider) loseHold(tickets []*waiter, reason error) {
	var freed []driver.Hold
	for _, w := range tickets {
		for _, h := range w.grant.Holds {
			if w.state == offered && !h.Joined {
				freed = append(freed, h.Hold)
			}
		}
		p.detach(w)
		switch {
		case w.state == claimed:
			p.end(w)
		case reason != nil:
			p.end(w)
			p.tellTicket(w, reason)
		default:
			w.state = arriving
			p.changes.lapsed = append(p.changes.lapsed, w)
		}
	}
	for _, h := range freed {
		if l := p.table.holds(h, false); l != nil && l.offer && !l.revoked() {
			p.free(l, nil)
		}
	}
}

// detach takes a ticket off the lists of its grant's holds, which stay.
func (p *Provider) detach(w *waiter) {
	for _, h := range w.grant.Holds {
		l := p.table.holds(h.Hold, false)
		if l == nil || l.special == nil {
			continue
		}
		s := l.special
		if i := slices.Index(s.tickets, w); i >= 0 {
			s.tickets = slices.Delete(s.tickets, i, i+1)
		}
		if len(s.tickets) == 0 && !s.revoked {
			l.special = nil
		}
	}
	w.grant.Holds = nil
}
