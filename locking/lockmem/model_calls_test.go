package lockmem

import (
	"maps"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// learn compares a hold with what was expected of it.
func (m *model) learn(t *rapid.T, want modelGrant, got driver.Granted) {
	if got.Key != want.key || got.Joined != want.joined || got.Offer != want.offer || !got.Until.Equal(want.until) {
		t.Fatalf("granted %+v, want %+v", got, want)
	}
	l := m.held[got.Key]
	known := l != nil && l.serial == want.serial
	switch {
	case known && l.token != 0:
		if l.token != got.Token {
			t.Fatalf("granted %+v, want token %d", got, l.token)
		}
	case !want.joined && got.Token <= m.last[got.Key]:
		t.Fatalf("granted %+v, want a token above %d", got, m.last[got.Key])
	case known:
		l.token = got.Token
	}
	m.last[got.Key] = max(m.last[got.Key], got.Token)
}

func (m *model) find(h driver.Hold, anyToken bool) *modelLock {
	l := m.held[h.Key]
	if l == nil || l.owner != h.Owner || l.token != h.Token && (!anyToken || h.Token != 0) {
		return nil
	}
	return l
}

// took finds the ticket with which a lock was taken.
func (m *model) took(l *modelLock) *modelWaiter {
	for _, w := range m.tickets {
		for _, g := range w.holds {
			if w.state != waiting && g.serial == l.serial && !g.joined {
				return w
			}
		}
	}
	return nil
}

// look goes through the tickets that have a grant: one that lacks a hold has none
// any more. The key that was taken by force, if any, ends them.
func (m *model) look(seized string) {
	for again := true; again; {
		again = false
		for _, id := range slices.Sorted(maps.Keys(m.tickets)) {
			w := m.tickets[id]
			var reason error
			stands := true
			for _, g := range w.holds {
				l := m.held[g.key]
				switch {
				case l != nil && l.serial == g.serial && (!l.revoked || w.state == claimed):
					continue
				case l != nil, seized == g.key: // it was overtaken, or taken by force
					reason = driver.ErrRevoked
				}
				stands = false
			}
			if w.state == waiting || stands {
				continue
			}
			again = true
			m.void(w, reason)
		}
	}
}

func (m *model) void(w *modelWaiter, reason error) {
	holds := w.holds
	w.holds = nil
	switch {
	case w.state == claimed:
		delete(m.tickets, w.ticket)
		return
	case reason != nil:
		m.refuse(w, reason)
	default:
		w.state = arriving
		m.aside = append(m.aside, w)
	}
	for _, g := range holds {
		if l := m.held[g.key]; l != nil && l.serial == g.serial && l.offer && !g.joined && !l.revoked {
			delete(m.held, g.key)
		}
	}
}

func (m *model) release(holds []driver.Hold) []bool {
	for _, h := range holds {
		if l := m.find(h, true); l != nil {
			if w := m.took(l); w != nil {
				delete(m.tickets, w.ticket)
			}
		}
	}
	freed := make([]bool, len(holds))
	for i, h := range holds {
		if m.find(h, true) != nil {
			delete(m.held, h.Key)
			m.look("")
			freed[i] = true
		}
	}
	m.settle(time.Now())
	return freed
}

func (m *model) releaseAll(owner string) int {
	var holds []driver.Hold
	for key, l := range m.held {
		if l.owner == owner {
			holds = append(holds, driver.Hold{Key: key, Owner: owner, Token: l.token})
		}
	}
	m.release(holds)
	return len(holds)
}

func (m *model) extend(h driver.Hold, ttl time.Duration) driver.Extension {
	l := m.find(h, false)
	switch {
	case l == nil:
		return driver.Extension{}
	case l.revoked:
		return driver.Extension{Revoked: true}
	case l.offer:
		l.offer, l.until = false, modelEnd(time.Now(), ttl)
		if w := m.took(l); w != nil {
			w.state = claimed
		}
	case ttl == 0:
		l.until = time.Time{}
	default:
		l.lengthen(time.Now(), ttl)
	}
	return driver.Extension{Held: true, Until: l.until}
}

// grantNow is what a ticket has, as it is now.
func (m *model) grantNow(w *modelWaiter) []modelGrant {
	holds := slices.Clone(w.holds)
	for i, g := range holds {
		l := m.held[g.key]
		holds[i].offer, holds[i].until = l.offer, l.until
	}
	return holds
}

// known acts on a call with a ticket that is there.
func (m *model) known(w *modelWaiter, g driver.Generation) error {
	if g.Compare(w.req.Generation) < 0 {
		return driver.ErrRevoked
	}
	later := g != w.req.Generation
	w.req.Generation = g
	switch {
	case w.state == waiting:
	case slices.ContainsFunc(w.req.Keys, func(key string) bool { return m.held[key].revoked }):
		return driver.ErrRevoked
	case later:
		w.holds = nil
		m.grant(w, time.Now())
	}
	return nil
}

func (m *model) enqueue(t driver.Ticket) (holds []modelGrant, err error) {
	now := time.Now()
	w := m.tickets[t.ID]
	if w != nil {
		if err := m.known(w, t.Generation); err != nil {
			return nil, err
		}
		defer m.settle(now)
		return m.grantNow(w), nil
	}
	w = m.come(t.Request, t.ID)
	switch {
	case m.revoked(w):
		return nil, driver.ErrRevoked
	case m.busy(w) == nil:
		m.grant(w, now)
	default:
		m.admit(w)
	}
	if w.state != ended {
		m.tickets[t.ID] = w
	}
	holds, err = slices.Clone(w.holds), w.err // a later generation may overtake it at once
	m.settle(now)
	return holds, err
}

func (m *model) claim(t driver.Ticket) ([]modelGrant, error) {
	w := m.tickets[t.ID]
	if w == nil || w.state == waiting {
		return nil, driver.ErrNoOffer
	}
	if err := m.known(w, t.Generation); err != nil {
		return nil, err
	}
	for _, g := range w.holds {
		if l := m.held[g.key]; l.offer {
			l.offer, l.until = false, modelEnd(time.Now(), w.req.TTL)
		}
	}
	w.state = claimed
	holds := m.grantNow(w)
	m.settle(time.Now())
	return holds, nil
}

func (m *model) cancel(t driver.Ticket) bool {
	w := m.tickets[t.ID]
	if w == nil || t.Generation.Compare(w.req.Generation) < 0 {
		return false
	}
	holds := w.holds
	m.withdraw(w, nil)
	for _, g := range holds {
		if l := m.held[g.key]; l != nil && l.serial == g.serial && !g.joined {
			delete(m.held, g.key)
		}
	}
	m.look("")
	m.settle(time.Now())
	return true
}

func (m *model) force(req driver.ForceRequest) bool {
	hold := driver.Hold{Key: req.Key, Owner: req.Owner, Token: req.Token}
	l := m.find(hold, false)
	if l == nil {
		return false
	}
	hold.Generation = l.generation
	m.audit = append(m.audit, driver.AuditRecord{ForceRequest: req, At: time.Now()})
	m.events = append(m.events, modelEvent{revoked: hold, reason: req.Reason})
	if req.Now {
		delete(m.held, req.Key)
	} else {
		l.revoked, l.reason = true, req.Reason
	}
	m.look(req.Key)
	m.settle(time.Now())
	return true
}
