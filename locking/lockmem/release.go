package lockmem

import (
	"context"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// Extend implements [driver.Provider].
func (p *Provider) Extend(_ context.Context, ttl time.Duration, holds []driver.Hold) ([]driver.Extension, error) {
	now, err := p.enter()
	if err != nil {
		return nil, err
	}
	defer p.leave(now)
	answers := make([]driver.Extension, len(holds))
	until := endOf(ttl, now)
	for i, h := range holds {
		l := p.table.holds(h, false)
		switch {
		case l == nil:
			continue
		case l.revoked():
			answers[i].Revoked = true
			continue
		case l.offer:
			p.table.fill(l, until)
			l.confirmed()
		case until.IsZero():
			p.table.setEnd(l, until)
		default:
			p.table.lengthen(l, until, true)
		}
		answers[i] = driver.Extension{Held: true, Until: l.until}
	}
	return answers, nil
}

// Release implements [driver.Provider].
func (p *Provider) Release(_ context.Context, holds []driver.Hold) ([]bool, error) {
	now, err := p.enter()
	if err != nil {
		return nil, err
	}
	defer p.leave(now)
	for _, h := range holds {
		if l := p.table.holds(h, true); l != nil {
			p.handBack(l)
		}
	}
	freed := make([]bool, len(holds))
	for i, h := range holds {
		if l := p.table.holds(h, true); l != nil {
			p.free(l, nil)
			freed[i] = true
		}
	}
	return freed, nil
}

// ReleaseAll implements [driver.Provider]. For [driver.Anonymous] it looks at every
// lock there is.
func (p *Provider) ReleaseAll(_ context.Context, owner string) (int, error) {
	now, err := p.enter()
	if err != nil {
		return 0, err
	}
	defer p.leave(now)
	var all []*lock
	if owner == driver.Anonymous {
		for _, l := range p.table.locks {
			if l.held && l.owner == owner {
				all = append(all, l)
			}
		}
	}
	for l := p.table.owners[owner]; l != nil; l = l.next {
		all = append(all, l)
	}
	for _, l := range all {
		p.handBack(l)
	}
	for _, l := range all {
		if l.held { // else it went with another one, as part of an offer
			p.free(l, nil)
		}
	}
	return len(all), nil
}

// lapse frees what has reached its end, and serves those that waited for it. It
// requires the mutex.
func (p *Provider) lapse(now time.Time) {
	for len(p.table.ends) > 0 && !now.Before(p.table.ends[0].until) {
		p.free(p.table.ends[0], nil)
	}
	p.serve(now)
}

// free frees a lock; serve must follow. Tickets that have it in their grant lose
// that, and end where there is a reason.
func (p *Provider) free(l *lock, reason error) {
	s := l.special
	p.table.free(l)
	p.changes.freed(l)
	if s != nil {
		p.loseHold(s.tickets, reason)
	}
}
