package lockmem

import (
	"context"
	"slices"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// Enqueue implements [driver.Queuer]. A ticket of an earlier generation than it is
// known with gets [driver.ErrRevoked], and changes nothing.
func (p *Provider) Enqueue(ctx context.Context, t driver.Ticket) (driver.Place, error) {
	if err := ctx.Err(); err != nil {
		return driver.Place{}, err
	}
	now, err := p.enter()
	if err != nil {
		return driver.Place{}, err
	}
	defer p.leave(now)
	if w := p.tickets[t.ID]; w != nil {
		if err := p.advance(w, t.Generation, now); err != nil {
			return driver.Place{}, err
		}
		return w.place(), nil
	}
	w := p.newWaiter(copied(t.Request), p.class(&t.Request), now)
	w.ticket = t.ID
	busy, err := p.judge(&w.bid)
	switch {
	case err != nil:
		return driver.Place{}, err
	case busy < 0:
		p.given(&w.bid, p.take(&w.bid, w, now))
	default:
		if err := p.admit(w); err != nil {
			return driver.Place{}, err
		}
	}
	p.tickets[t.ID] = w
	return w.place(), nil
}

// place answers for a ticket as it stands.
func (w *waiter) place() driver.Place {
	if w.state == waiting {
		return driver.Place{}
	}
	return driver.Place{Offered: true, Grant: driver.Grant{Holds: slices.Clone(w.grant.Holds)}}
}

// advance gives a known ticket a later generation: what it has of a grant is taken
// over, with new tokens. It returns [driver.ErrRevoked] for an earlier one, and when
// the key was taken from the ticket's owner by force.
func (p *Provider) advance(w *waiter, g driver.Generation, now time.Time) error {
	later := g.Compare(w.request.Generation)
	if later < 0 {
		return driver.ErrRevoked
	}
	w.request.Generation = g
	if w.state == waiting {
		return nil
	}
	w.locks = p.table.find(w.request.Keys, w.locks[:0]) // it has them all
	for _, l := range w.locks {
		if l.revoked() {
			return driver.ErrRevoked
		}
	}
	if later == 0 {
		p.refresh(w)
		return nil
	}
	p.detach(w)
	p.given(&w.bid, p.take(&w.bid, w, now))
	return nil
}

// refresh brings a ticket's grant up to what its holds are now.
func (p *Provider) refresh(w *waiter) {
	for i, h := range w.grant.Holds {
		if l := p.table.holds(h.Hold, false); l != nil {
			w.grant.Holds[i] = l.granted(h.Joined)
		}
	}
}

// Claim implements [driver.Queuer]. A claim of an earlier generation than the
// ticket is known with gets [driver.ErrRevoked], and so does one that is repeated
// after a key was taken by force.
func (p *Provider) Claim(ctx context.Context, t driver.Ticket) (driver.Grant, error) {
	if err := ctx.Err(); err != nil {
		return driver.Grant{}, err
	}
	now, err := p.enter()
	if err != nil {
		return driver.Grant{}, err
	}
	defer p.leave(now)
	w := p.tickets[t.ID]
	if w == nil || w.state == waiting {
		return driver.Grant{}, driver.ErrNoOffer
	}
	if err := p.advance(w, t.Generation, now); err != nil {
		return driver.Grant{}, err
	}
	until := endOf(w.request.TTL, now)
	for _, h := range w.grant.Holds {
		if l := p.table.holds(h.Hold, false); l.offer {
			p.table.fill(l, until)
		}
	}
	w.state = claimed
	p.refresh(w)
	return w.place().Grant, nil
}

// Cancel implements [driver.Queuer]. What the ticket's owner had before stays. A
// ticket that is known with a later generation is not the caller's any more.
func (p *Provider) Cancel(ctx context.Context, t driver.Ticket) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	now, err := p.enter()
	if err != nil {
		return false, err
	}
	defer p.leave(now)
	w := p.tickets[t.ID]
	if w == nil || t.Generation.Compare(w.request.Generation) < 0 {
		return false, nil
	}
	if w.state == waiting {
		p.quit(w)
		p.end(w)
		return true, nil
	}
	holds := w.grant.Holds
	p.detach(w)
	p.end(w)
	for _, h := range holds {
		if l := p.table.holds(h.Hold, false); l != nil && !h.Joined {
			p.free(l, nil)
		}
	}
	return true, nil
}
