package lockredis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// ticketPrefix tells the ids of tickets from those of blocking requests, which
// begin with the name of a process.
const ticketPrefix = "t:"

// ErrCrossSlot is returned for a ticket whose keys are in several hash slots of a
// cluster.
var ErrCrossSlot = errors.New("lockredis: a ticket's keys must share a hash slot (give the namespace a {tag})")

func (p *Provider) ticketAsk(t *driver.Ticket) (*ask, error) {
	groups := p.keys.groups(t.Keys)
	if len(groups) > 1 {
		return nil, fmt.Errorf("%w: %.8q", ErrCrossSlot, t.Keys)
	}
	return &ask{req: &t.Request, group: &groups[0], id: ticketPrefix + t.ID, mode: modeTicket}, nil
}

// Enqueue implements [driver.Queuer].
func (p *Provider) Enqueue(ctx context.Context, t driver.Ticket) (driver.Place, error) {
	if err := p.life.enter(); err != nil {
		return driver.Place{}, err
	}
	defer p.life.leave()
	a, err := p.ticketAsk(&t)
	if err != nil {
		return driver.Place{}, err
	}
	w := p.waits.readd(a)
	var got answer
	err = p.stateUntilEnd(ctx, a, &got)
	if err != nil {
		return driver.Place{}, fmt.Errorf("lockredis: enqueue: %w", err)
	}
	switch got.kind {
	case answerGranted:
		p.waits.begin(w, &got)
		p.waits.offer(a.id, got.holds)
		return driver.Place{Offered: true, Grant: driver.Grant{Holds: got.holds}}, nil
	case answerWaiting:
		p.waits.begin(w, &got)
		return driver.Place{}, nil
	case answerBusy, answerRevoked, answerDeadlock:
	}
	p.waits.end(a.id)
	_, err = final(a, &got)
	return driver.Place{}, err
}

// stateUntilEnd sends an ask until there is an answer, or ctx ends.
func (p *Provider) stateUntilEnd(ctx context.Context, a *ask, got *answer) error {
	for sent := 1; ; sent++ {
		err := p.put(ctx, a, got)
		if err == nil || (!lost(err) && !passing(err)) {
			return err
		}
		if e := ended(ctx); e != nil {
			return errors.Join(e, err)
		}
		if e := p.pause(ctx, sent, time.Time{}); e != nil {
			return errors.Join(e, err)
		}
	}
}

// Claim implements [driver.Queuer].
func (p *Provider) Claim(ctx context.Context, t driver.Ticket) (driver.Grant, error) {
	if err := p.life.enter(); err != nil {
		return driver.Grant{}, err
	}
	defer p.life.leave()
	a, err := p.ticketAsk(&t)
	if err != nil {
		return driver.Grant{}, err
	}
	who := p.masters.whoHas(ctx, a.group.hub)
	for sent := 1; ; sent++ {
		began := time.Now()
		reply, err := p.send(ctx, claimScript, append(a.group.command(claimScript, 6),
			a.id, t.Owner, millis(t.TTL), t.Generation.Epoch, t.Generation.Attempt, p.self))
		if err == nil {
			grant, err := p.readClaim(a, reply, began)
			p.watch(a.group.hub, grant.Holds, who)
			return grant, err
		}
		if !lost(err) && !passing(err) {
			return driver.Grant{}, fmt.Errorf("lockredis: claim: %w", err)
		}
		if e := p.pause(ctx, sent, time.Time{}); e != nil {
			return driver.Grant{}, errors.Join(e, err)
		}
	}
}

// Cancel implements [driver.Queuer].
func (p *Provider) Cancel(ctx context.Context, t driver.Ticket) (bool, error) {
	if err := p.life.enter(); err != nil {
		return false, err
	}
	defer p.life.leave()
	a, err := p.ticketAsk(&t)
	if err != nil {
		return false, err
	}
	p.waits.end(a.id)
	l := a.leaving(nil)
	l.rest = []any{t.Generation.Epoch, t.Generation.Attempt}
	return p.cancelGroup(ctx, &l)
}

// ticketID is the id by which the caller knows a ticket.
func ticketID(id string) string { return strings.TrimPrefix(id, ticketPrefix) }

// readd enters a ticket, or goes on with one that is there.
func (s *waits) readd(a *ask) *wait {
	s.mu.Lock()
	defer s.mu.Unlock()
	own := *a // the caller's is read without mu
	if w := s.byID[a.id]; w != nil {
		own.place, a.place = w.ask.place, w.ask.place
		w.ask, w.asked = &own, time.Now()
		return w
	}
	now := time.Now()
	w := &wait{ask: &own, asked: now, came: now}
	s.byID[a.id] = w
	return w
}

// offer notes what is offered to a ticket. It returns nil when there is no such
// ticket.
func (s *waits) offer(id string, holds []driver.Granted) *wait {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.byID[id]
	if w == nil || w.ask.mode != modeTicket {
		return nil
	}
	s.unoffer(w)
	w.holds, w.offered = holds, true
	for i := range holds {
		s.offers[offerKey{holds[i].Key, holds[i].Token}] = w
	}
	return w
}

// offerKey is what is offered: the token tells it from all other holds of the key.
type offerKey struct {
	key   string
	token driver.Token
}

// unoffer forgets what is offered to a ticket; it requires mu.
func (s *waits) unoffer(w *wait) {
	if s.unlist(w) {
		w.holds = nil
	}
}

// unlist has what is offered to a ticket be found no longer; it requires mu.
func (s *waits) unlist(w *wait) (offered bool) {
	if !w.offered {
		return false
	}
	for i := range w.holds {
		delete(s.offers, offerKey{w.holds[i].Key, w.holds[i].Token})
	}
	w.offered = false
	return true
}

// hadTurn ends the tickets whose offers were released, or were made full holds, other
// than by a claim.
func (s *waits) hadTurn(holds []driver.Hold) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.offers) == 0 {
		return
	}
	for _, h := range holds {
		if w := s.offers[offerKey{h.Key, h.Token}]; w != nil {
			s.remove(w)
		}
	}
}

// end takes a ticket out. It returns nil when there is no such ticket.
func (s *waits) end(id string) *wait {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.byID[id]
	if w == nil || w.ask.mode != modeTicket {
		return nil
	}
	s.remove(w)
	return w
}

// readClaim reads what claim.lua answered.
func (p *Provider) readClaim(a *ask, reply any, sent time.Time) (driver.Grant, error) {
	list, ok := reply.([]any)
	r := reader{list: list}
	if kind := r.number(); !ok || r.bad {
		return driver.Grant{}, badReply(claimScript.name, reply)
	} else if kind == -1 {
		return driver.Grant{}, driver.ErrRevoked
	} else if kind == 0 {
		return driver.Grant{}, driver.ErrNoOffer
	}
	holds := r.holds(a.req, a.group, sent)
	if !r.whole() {
		return driver.Grant{}, badReply(claimScript.name, reply)
	}
	p.waits.offer(a.id, holds)
	p.waits.end(a.id)
	p.owe(a.group.hub, len(holds), a.req.TTL)
	return driver.Grant{Holds: holds}, nil
}
