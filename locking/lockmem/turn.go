package lockmem

import "github.com/lockstep-dev/lockstep/locking/driver"

// A request may go on when nothing keeps it from any of its keys and it is its
// turn at those that are free. It is the turn of whoever is first in the line,
// with one exception, so that nobody waits for ever: a request passes one ahead
// that waits for what its own owner, or one around it, gives back later.

// obstacle returns the first of a request's keys that another owner has, or -1,
// and [driver.ErrRevoked] when the request cannot succeed any more.
func (b *bid) obstacle() (at int, err error) {
	at = -1
	for i, l := range b.locks {
		switch {
		case l == nil || !l.held:
		case !l.own(b.req.Owner):
			if at < 0 {
				at = i
			}
		case l.revoked(), b.req.Generation.Compare(l.generation) < 0:
			return i, driver.ErrRevoked
		}
	}
	return at, nil
}

// queued returns the first of a request's free keys at which it is not its turn,
// or -1.
func (p *Provider) queued(b *bid) int {
	for i, l := range b.locks {
		if l == nil || l.held {
			continue
		}
		first := l.line.first()
		if first != nil && first.score < b.score && !p.passes(b, first) {
			return i
		}
	}
	return -1
}

// passes says that a request need not wait behind another.
func (p *Provider) passes(b *bid, ahead *waiter) bool {
	for owner := range heldUp(b.req) {
		if p.table.owners[owner] != nil {
			p.queue.search++
			return p.depends(ahead, b)
		}
	}
	return false // nobody waits for it
}

// depends says that a waiter cannot go on before an owner does that the request
// holds up: it waits for a key of that owner, or for one of somebody who does, or
// behind somebody who does.
func (p *Provider) depends(w *waiter, b *bid) bool {
	if w.asked == p.queue.search {
		return false
	}
	w.asked = p.queue.search
	for _, l := range w.locks {
		switch {
		case l.own(w.request.Owner):
		case l.held:
			if b.holdsUp(l.owner) {
				return true
			}
			for u := p.queue.ups[l.owner].first; u != nil; u = u.next {
				if p.depends(u.w, b) {
					return true
				}
			}
		default:
			if first := l.line.first(); first != w && p.depends(first, b) {
				return true
			}
		}
	}
	return false
}
