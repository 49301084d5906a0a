package lockmem

import (
	"cmp"
	"slices"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// model is the provider as simple as can be: a list of those who wait, which is
// gone through anew after each change. It does not know which tokens are given
// out; it learns them from the provider's grants, and compares.
type model struct {
	held    map[string]*modelLock
	waiters []*modelWaiter // in the order in which they came into line
	tickets map[string]*modelWaiter
	number  int // of the last that came
	grants  int // of requests
	serials int // of locks
	closing []string
	aside   []*modelWaiter // until the others were served
	events  []modelEvent
	audit   []driver.AuditRecord // the newest last
	last    map[string]driver.Token
}

type modelLock struct {
	owner      string
	generation driver.Generation
	since      time.Time
	until      time.Time
	offer      bool
	revoked    bool
	reason     string
	token      driver.Token
	serial     int // of the grant that made or took over the lock
}

type modelWaiter struct {
	req      driver.Request
	class    int
	number   int
	since    time.Time
	deadline time.Time
	ticket   string // empty for a call that waits
	state    waitState
	order    int // among the grants
	holds    []modelGrant
	err      error
}

// modelGrant is what the model expects of one hold.
type modelGrant struct {
	key    string
	joined bool
	offer  bool
	until  time.Time
	serial int
}

type modelEvent struct {
	ticket  string
	order   int
	holds   []modelGrant
	err     error
	revoked driver.Hold
	reason  string
}

func newModel() *model {
	return &model{held: map[string]*modelLock{}, tickets: map[string]*modelWaiter{}, last: map[string]driver.Token{}}
}

// owners are those that the request holds up.
func (w *modelWaiter) owners() []string {
	var list []string
	for _, o := range append([]string{w.req.Owner}, w.req.Enclosing...) {
		if o != driver.Anonymous {
			list = append(list, o)
		}
	}
	return list
}

func (w *modelWaiter) before(o *modelWaiter) bool {
	return cmp.Or(cmp.Compare(w.class, o.class), cmp.Compare(w.number, o.number)) < 0
}

func (m *model) holdsSomething(owners []string) bool {
	for _, l := range m.held {
		if slices.Contains(owners, l.owner) {
			return true
		}
	}
	return false
}

// come makes a request the last of its class.
func (m *model) come(req driver.Request, ticket string) *modelWaiter {
	now := time.Now()
	m.number++
	w := &modelWaiter{req: req, class: plain, number: m.number, since: now, deadline: now.Add(req.Wait), ticket: ticket}
	switch {
	case req.Rank == driver.Compensation:
		w.class = compensating
	case m.holdsSomething(w.owners()):
		w.class = holding
	}
	return w
}

func (m *model) acquire(req driver.Request) *modelWaiter {
	w := m.come(req, "")
	busy := m.busy(w)
	switch {
	case m.revoked(w):
		w.state, w.err = ended, driver.ErrRevoked
	case busy == nil:
		m.grant(w, time.Now())
	case req.Wait == driver.NoWait:
		w.state, w.err = ended, busy
	case req.Wait == 0:
		w.state, w.err = ended, driver.ErrTimeout
	default:
		m.admit(w)
	}
	m.settle(time.Now())
	return w
}

// foreign says that somebody else has the key.
func (m *model) foreign(w *modelWaiter, key string) bool {
	l := m.held[key]
	return l != nil && (l.owner != w.req.Owner || l.owner == driver.Anonymous)
}

// busy names the first key of the request that it cannot have now.
func (m *model) busy(w *modelWaiter) *driver.BusyError {
	for _, key := range w.req.Keys {
		first := m.first(key)
		switch {
		case m.foreign(w, key):
			return &driver.BusyError{Key: key, Holder: m.held[key].owner}
		case m.held[key] != nil || first == nil || !first.before(w):
		case !m.depends(first, w.owners(), map[*modelWaiter]bool{}):
			return &driver.BusyError{Key: key}
		}
	}
	return nil
}

// first is who goes first at a key.
func (m *model) first(key string) *modelWaiter {
	var first *modelWaiter
	for _, w := range m.waiters {
		if slices.Contains(w.req.Keys, key) && (first == nil || w.before(first)) {
			first = w
		}
	}
	return first
}

// depends says that a waiter cannot go on before one of the owners does.
func (m *model) depends(w *modelWaiter, owners []string, seen map[*modelWaiter]bool) bool {
	if seen[w] {
		return false
	}
	seen[w] = true
	for _, key := range w.req.Keys {
		switch {
		case m.held[key] == nil:
			if m.depends(m.first(key), owners, seen) {
				return true
			}
		case m.foreign(w, key):
			holder := m.held[key].owner
			if slices.Contains(owners, holder) {
				return true
			}
			for _, o := range m.waiters {
				if slices.Contains(o.owners(), holder) && m.depends(o, owners, seen) {
					return true
				}
			}
		}
	}
	return false
}

func (m *model) revoked(w *modelWaiter) bool {
	return w.req.Owner != driver.Anonymous && slices.ContainsFunc(w.req.Keys, func(key string) bool {
		l := m.held[key]
		return l != nil && l.owner == w.req.Owner && (l.revoked || w.req.Generation.Compare(l.generation) < 0)
	})
}

// admit puts a request into line, unless it is the one to be given up of a circle
// that it closes.
func (m *model) admit(w *modelWaiter) {
	for {
		victim, err := m.circle(w)
		switch {
		case victim == w:
			m.refuse(w, err)
			return
		case victim != nil:
			m.refuse(victim, err)
			continue
		}
		w.state = waiting
		m.waiters = append(m.waiters, w)
		return
	}
}

// withdraw ends a wait.
func (m *model) withdraw(w *modelWaiter, err error) {
	m.waiters = slices.DeleteFunc(m.waiters, func(o *modelWaiter) bool { return o == w })
	w.state, w.err = ended, err
	if m.tickets[w.ticket] == w {
		delete(m.tickets, w.ticket)
	}
}

// refuse ends a request that nobody asks about now.
func (m *model) refuse(w *modelWaiter, err error) {
	known := m.tickets[w.ticket] == w
	m.withdraw(w, err)
	if known {
		m.events = append(m.events, modelEvent{ticket: w.ticket, err: err})
	}
}

// settle answers whoever can be answered, the first first, until nobody can.
func (m *model) settle(now time.Time) {
	for m.step(now) {
	}
}

func (m *model) step(now time.Time) bool {
	for _, w := range m.waiters {
		if m.revoked(w) {
			m.refuse(w, driver.ErrRevoked)
			return true
		}
	}
	order := slices.Clone(m.waiters)
	slices.SortFunc(order, func(a, b *modelWaiter) int {
		return cmp.Or(cmp.Compare(a.class, b.class), cmp.Compare(a.number, b.number))
	})
	for _, w := range order {
		if m.busy(w) == nil {
			m.waiters = slices.DeleteFunc(m.waiters, func(o *modelWaiter) bool { return o == w })
			m.grant(w, now)
			if w.ticket != "" {
				m.events = append(m.events, modelEvent{ticket: w.ticket, order: w.order, holds: w.holds})
			}
			return true
		}
	}
	for len(m.closing) > 0 {
		for _, w := range m.waiters {
			if !slices.Contains(w.owners(), m.closing[0]) {
				continue
			}
			if victim, err := m.circle(w); victim != nil {
				m.refuse(victim, err)
				return true
			}
		}
		m.closing = m.closing[1:]
	}
	if len(m.aside) > 0 {
		slices.SortFunc(m.aside, func(a, b *modelWaiter) int {
			return cmp.Or(cmp.Compare(a.class, b.class), cmp.Compare(a.number, b.number))
		})
		w := m.aside[0]
		m.aside = m.aside[1:]
		m.admit(w)
		return true
	}
	return false
}

// circle looks for a circle of owners through a waiter, and returns its victim.
func (m *model) circle(start *modelWaiter) (*modelWaiter, error) {
	members, edges := m.follow(start, start.owners(), map[*modelWaiter]bool{})
	if members == nil {
		return nil, nil
	}
	at := 0
	for i, w := range members {
		if w.youngerThan(members[at]) {
			at = i
		}
	}
	return members[at], &driver.DeadlockError{Cycle: append(slices.Clone(edges[at:]), edges[:at]...)}
}

func (m *model) follow(w *modelWaiter, owners []string, seen map[*modelWaiter]bool) ([]*modelWaiter, []driver.Wait) {
	seen[w] = true
	for _, key := range w.req.Keys {
		if !m.foreign(w, key) || m.held[key].owner == driver.Anonymous {
			continue
		}
		edge := driver.Wait{Owner: w.req.Owner, Key: key, Holder: m.held[key].owner}
		if slices.Contains(owners, edge.Holder) {
			return []*modelWaiter{w}, []driver.Wait{edge}
		}
		for _, o := range m.waiters {
			if seen[o] || !slices.Contains(o.owners(), edge.Holder) {
				continue
			}
			if members, edges := m.follow(o, owners, seen); members != nil {
				return append([]*modelWaiter{w}, members...), append([]driver.Wait{edge}, edges...)
			}
		}
	}
	return nil, nil
}

// age is larger for who is rather given up.
func (w *modelWaiter) age() (forward, plain int, born uint64, number int) {
	if w.class != compensating {
		forward = 1
	}
	if w.req.Born == 0 {
		plain = 1
	}
	return forward, plain, w.req.Born, w.number
}

func (w *modelWaiter) youngerThan(o *modelWaiter) bool {
	f1, p1, b1, n1 := w.age()
	f2, p2, b2, n2 := o.age()
	return cmp.Or(cmp.Compare(f1, f2), cmp.Compare(p1, p2), cmp.Compare(b1, b2), cmp.Compare(n1, n2)) > 0
}

func (m *model) grant(w *modelWaiter, now time.Time) {
	ticket := w.ticket != ""
	m.grants++
	w.order, w.holds, w.state = m.grants, nil, ended
	if ticket {
		w.state = offered
	}
	for _, key := range w.req.Keys {
		l := m.held[key]
		joined := l != nil && l.generation == w.req.Generation
		switch {
		case l == nil || (l.offer && !joined):
			l = &modelLock{owner: w.req.Owner, offer: ticket, until: modelEnd(now, w.req.TTL)}
			if latest := now.Add(2 * time.Second); ticket && (l.until.IsZero() || l.until.After(latest)) {
				l.until = latest
			}
		case l.offer && !ticket:
			l.offer, l.until = false, modelEnd(now, w.req.TTL)
		case !l.offer:
			l.lengthen(now, w.req.TTL)
		}
		m.held[key] = l
		if !joined {
			m.serials++
			l.serial, l.generation, l.token, l.since = m.serials, w.req.Generation, 0, now
			if l.owner != driver.Anonymous {
				m.closing = append(m.closing, l.owner)
			}
		}
		w.holds = append(w.holds, modelGrant{key, joined, l.offer, l.until, l.serial})
	}
	m.look("")
}

func modelEnd(now time.Time, ttl time.Duration) time.Time {
	if ttl == 0 {
		return time.Time{}
	}
	return now.Add(ttl)
}

func (l *modelLock) lengthen(now time.Time, ttl time.Duration) {
	if end := now.Add(ttl); ttl > 0 && !l.until.IsZero() && end.After(l.until) {
		l.until = end
	}
}

// advance goes through all that has happened by now: at each moment the locks
// lapse first, then the waits end.
func (m *model) advance(now time.Time) {
	for {
		next := now.Add(1)
		for _, l := range m.held {
			if !l.until.IsZero() && l.until.Before(next) {
				next = l.until
			}
		}
		for _, w := range m.waiters {
			if w.ticket == "" && w.deadline.Before(next) {
				next = w.deadline
			}
		}
		if next.After(now) {
			return
		}
		for key, l := range m.held {
			if l.until.Equal(next) {
				delete(m.held, key)
			}
		}
		m.look("")
		m.settle(next)
		for _, w := range slices.Clone(m.waiters) {
			if w.ticket == "" && w.deadline.Equal(next) {
				m.withdraw(w, driver.ErrTimeout)
			}
		}
		m.settle(next)
	}
}

// inspect tells of a key as the provider does.
func (m *model) inspect(key string, waiters int) driver.State {
	s := driver.State{Key: key}
	if l := m.held[key]; l != nil {
		s.Held, s.Owner, s.Generation, s.Token, s.Offer, s.Since = true, l.owner, l.generation, l.token, l.offer, l.since
		s.Revoked, s.Reason = l.revoked, l.reason
		if !l.until.IsZero() {
			s.Expires, s.TTL = true, time.Until(l.until)
		}
	}
	var line []*modelWaiter
	for _, w := range m.waiters {
		if slices.Contains(w.req.Keys, key) {
			line = append(line, w)
		}
	}
	s.Waiting = len(line)
	slices.SortFunc(line, func(a, b *modelWaiter) int {
		if a.before(b) {
			return -1
		}
		return 1
	})
	for _, w := range line[:min(waiters, len(line))] {
		s.Waiters = append(s.Waiters, driver.Waiter{Owner: w.req.Owner, Keys: w.req.Keys, Rank: w.req.Rank, Ticket: w.ticket, Waited: time.Since(w.since)})
	}
	return s
}
