package lockmem

import (
	"cmp"
	"container/heap"
	"slices"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// changes is what has happened since the waiters were last looked at. Whatever
// lets somebody go on is on one of its lists, so that nobody else is looked at.
type changes struct {
	free    []*lock   // that are free, or have another first waiter
	given   []string  // owners that were given a key which others wait for
	entered []*waiter // others may pass those that wait for them now
	closing []string  // owners that a circle may have closed around
	lapsed  []*waiter // tickets to be in line again when others were served
	fit     fit       // waiters that seem able to go on
	late    []*waiter // waiters that a later generation has overtaken
}

// freed notes that a key is free, or that somebody has left its line.
func (c *changes) freed(l *lock) {
	if !l.held && len(l.line) > 0 {
		c.free = append(c.free, l)
	}
}

// gave notes that a key was given to its owner, or was taken from it by force:
// other requests of the owner may join or have become void, others wait for it
// now, and may be passed.
func (c *changes) gave(l *lock) {
	if len(l.line) > 0 && l.owner != driver.Anonymous {
		c.given = append(c.given, l.owner)
	}
}

// fit is waiters by their order. It implements [heap.Interface].
type fit []*waiter

var _ heap.Interface = (*fit)(nil)

func (s fit) Len() int           { return len(s) }
func (s fit) Less(i, j int) bool { return s[i].score < s[j].score }
func (s fit) Swap(i, j int)      { s[i], s[j] = s[j], s[i] }

// Push implements [heap.Interface].
func (s *fit) Push(x any) {
	if w, ok := x.(*waiter); ok {
		*s = append(*s, w)
	}
}

// Pop implements [heap.Interface].
func (s *fit) Pop() any {
	last := len(*s) - 1
	w := (*s)[last]
	(*s)[last] = nil
	*s = (*s)[:last]
	return w
}

// serve lets go on whoever can, in their order, then gives up one of each circle
// that has closed, then puts tickets whose offer has lapsed into line again; and so
// on until nobody can go on. It requires the mutex.
func (p *Provider) serve(now time.Time) {
	for {
		p.look()
		switch {
		case len(p.changes.late) > 0:
			p.sendAway()
		case len(p.changes.fit) > 0:
			p.try(now)
		case len(p.changes.closing) > 0:
			p.unravel()
		case len(p.changes.lapsed) > 0:
			p.readmit()
		default:
			return
		}
	}
}

// look finds those who can go on because of what has happened.
func (p *Provider) look() {
	c := &p.changes
	if len(c.free)+len(c.given)+len(c.entered) == 0 {
		return
	}
	p.queue.walk++
	for _, l := range c.free {
		if first := l.line.first(); first != nil && !l.held {
			p.examine(first)
		}
	}
	for _, owner := range c.given {
		for u := p.queue.ups[owner].first; u != nil; u = u.next {
			p.examine(u.w)
		}
	}
	for _, w := range c.entered {
		p.examine(w)
	}
	for _, owner := range c.given {
		if p.queue.ups[owner].first != nil {
			c.closing = append(c.closing, owner)
		}
	}
	clear(c.free)
	clear(c.given)
	clear(c.entered)
	c.free, c.given, c.entered = c.free[:0], c.given[:0], c.entered[:0]
}

// examine notes a waiter that can go on, or never can. Then all those are examined
// that it waits for, or passes: one of them may pass it now, or one ahead of it.
func (p *Provider) examine(w *waiter) {
	if w.walked == p.queue.walk || w.state != waiting {
		return
	}
	w.walked = p.queue.walk
	at, err := w.obstacle()
	if err != nil {
		p.changes.late = append(p.changes.late, w)
		return
	}
	if at < 0 && !w.fit && p.queued(&w.bid) < 0 {
		w.fit = true
		heap.Push(&p.changes.fit, w)
	}
	for _, l := range w.locks {
		switch {
		case l.own(w.request.Owner):
		case l.held:
			for u := p.queue.ups[l.owner].first; u != nil; u = u.next {
				p.examine(u.w)
			}
		default:
			p.examine(l.line.first())
		}
	}
}

// sendAway refuses those that a later generation of their owner has overtaken.
func (p *Provider) sendAway() {
	late := p.changes.late
	p.changes.late = nil
	for _, w := range late {
		if w.state == waiting {
			p.refuse(w, driver.ErrRevoked)
		}
	}
}

// try gives the first of those that seem able to go on its keys, if it still is.
func (p *Provider) try(now time.Time) {
	w, _ := heap.Pop(&p.changes.fit).(*waiter)
	w.fit = false
	if w.state != waiting {
		return
	}
	if at, err := w.obstacle(); at >= 0 || err != nil || p.queued(&w.bid) >= 0 {
		p.changes.entered = append(p.changes.entered, w) // somebody else was given a key
		return
	}
	holds := p.take(&w.bid, w, now)
	p.quit(w)
	p.given(&w.bid, holds)
	if w.isTicket() {
		p.news.add(driver.Event{Ticket: w.ticket, Grant: driver.Grant{Holds: slices.Clone(holds)}})
		return
	}
	w.state = ended
	w.settle(driver.Grant{Holds: holds}, nil)
}

// unravel looks for circles around the first owner that was given something, and
// gives up one member of the first that it finds.
func (p *Provider) unravel() {
	c := &p.changes
	for u := p.queue.ups[c.closing[0]].first; u != nil; u = u.next {
		if victim, err := p.deadlock(u.w); victim != nil {
			p.refuse(victim, err)
			return // there may be another circle
		}
	}
	c.closing = slices.Delete(c.closing, 0, 1)
}

// readmit puts the first of the tickets whose offer has lapsed into line again.
func (p *Provider) readmit() {
	c := &p.changes
	first := 0
	for i, w := range c.lapsed {
		if cmp.Less(w.score, c.lapsed[first].score) {
			first = i
		}
	}
	w := c.lapsed[first]
	c.lapsed = slices.Delete(c.lapsed, first, first+1)
	if w.state != arriving {
		return // it has ended meanwhile
	}
	w.locks = p.table.find(w.request.Keys, w.locks[:0])
	if err := p.admit(w); err != nil {
		p.end(w)
		p.tellTicket(w, err)
	}
}

// admit puts a request into the lines. A circle that it closes is broken first; the
// error says that the request is the one to be given up.
func (p *Provider) admit(w *waiter) error {
	for {
		victim, err := p.deadlock(w)
		switch {
		case victim == w:
			return err
		case victim != nil:
			p.refuse(victim, err)
			continue
		}
		p.join(w)
		p.changes.entered = append(p.changes.entered, w)
		return nil
	}
}

// refuse takes a waiter out of the queue for good, and tells it why.
func (p *Provider) refuse(w *waiter, err error) {
	p.quit(w)
	p.end(w)
	if w.isTicket() {
		p.tellTicket(w, err)
		return
	}
	w.settle(driver.Grant{}, err)
}

// end forgets a request that stands in no line.
func (p *Provider) end(w *waiter) {
	w.state = ended
	if w.isTicket() {
		delete(p.tickets, w.ticket)
	}
}

func (p *Provider) tellTicket(w *waiter, err error) {
	p.news.add(driver.Event{Ticket: w.ticket, Err: err})
}

// take gives a request all its keys, which nothing keeps from it. A ticket gets
// offers. Those that the request leaves standing in the lines of its keys have to
// be looked at: see given.
func (p *Provider) take(b *bid, w *waiter, now time.Time) []driver.Granted {
	ticket := w != nil && w.isTicket()
	holds := make([]driver.Granted, len(b.req.Keys))
	var overtaken []*waiter
	for i, key := range b.req.Keys {
		l := b.locks[i]
		if l == nil {
			l = p.table.lock(key)
		}
		had := l.special
		joined := p.table.give(l, b.req, ticket, now)
		if had != nil && !joined {
			overtaken = append(overtaken, had.tickets...)
			l.special = nil
		}
		if ticket {
			b.locks[i] = l
			s := l.specials()
			s.tickets = append(s.tickets, w)
		}
		holds[i] = l.granted(joined)
	}
	if ticket {
		w.state, w.grant.Holds = offered, holds
	}
	if overtaken != nil {
		slices.SortFunc(overtaken, func(a, b *waiter) int { return cmp.Compare(a.score, b.score) })
		p.loseHold(slices.Compact(overtaken), driver.ErrRevoked)
	}
	return holds
}

// given has those looked at that a request left standing in the lines of its keys.
func (p *Provider) given(b *bid, holds []driver.Granted) {
	for i, l := range b.locks {
		if l != nil && !holds[i].Joined {
			p.changes.gave(l)
		}
	}
}
