package lockmem

import (
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// model is the provider as simple as can be. It does not know which tokens it
// gives out; it learns them from the provider's grants, and compares.
type model struct {
	held    map[string]*modelLock
	waiters []*modelWaiter // in the order in which they came
	last    map[string]driver.Token
	grants  int // of requests
	serials int // of locks
}

type modelLock struct {
	owner      string
	generation driver.Generation
	until      time.Time
	token      driver.Token
	serial     int // of the grant that made or took over the lock
}

type modelWaiter struct {
	req      driver.Request
	deadline time.Time
	answered bool
	order    int // among the grants
	holds    []modelGrant
	err      error
}

// modelGrant is what the model expects of one hold.
type modelGrant struct {
	joined bool
	until  time.Time
	serial int
}

func (m *model) acquire(req driver.Request) *modelWaiter {
	now := time.Now()
	w := &modelWaiter{req: req, deadline: now.Add(req.Wait)}
	m.waiters = append(m.waiters, w)
	m.settle(now)
	switch busy := m.busy(req); {
	case w.answered:
	case req.Wait == driver.NoWait:
		m.withdraw(w, busy)
	case req.Wait == 0:
		m.withdraw(w, driver.ErrTimeout)
	}
	return w
}

// busy names the first key of the request that another owner has.
func (m *model) busy(req driver.Request) *driver.BusyError {
	for _, k := range req.Keys {
		if l := m.held[k]; l != nil && (l.owner != req.Owner || l.owner == driver.Anonymous) {
			return &driver.BusyError{Key: k, Holder: l.owner}
		}
	}
	return nil
}

func (m *model) revoked(req driver.Request) bool {
	return req.Owner != driver.Anonymous && slices.ContainsFunc(req.Keys, func(k string) bool {
		l := m.held[k]
		return l != nil && l.owner == req.Owner && req.Generation.Compare(l.generation) < 0
	})
}

func (m *model) withdraw(w *modelWaiter, err error) {
	m.waiters = slices.DeleteFunc(m.waiters, func(o *modelWaiter) bool { return o == w })
	w.answered, w.err = true, err
}

// settle answers whoever can be answered, the first first, until nobody can.
func (m *model) settle(now time.Time) {
	for again := true; again; {
		again = false
		for _, w := range slices.Clone(m.waiters) {
			switch {
			case m.revoked(w.req):
				m.withdraw(w, driver.ErrRevoked)
			case m.busy(w.req) == nil:
				m.withdraw(w, nil)
				m.grants++
				w.order, w.holds = m.grants, m.grant(w.req, now)
				again = true
			}
		}
	}
}

func (m *model) grant(req driver.Request, now time.Time) []modelGrant {
	var holds []modelGrant
	for _, k := range req.Keys {
		l := m.held[k]
		joined := l != nil && l.generation == req.Generation
		if l == nil {
			l = &modelLock{owner: req.Owner}
			m.held[k] = l
			if req.TTL > 0 {
				l.until = now.Add(req.TTL)
			}
		}
		if !joined {
			m.serials++
			l.serial, l.generation, l.token = m.serials, req.Generation, 0
		}
		l.lengthen(now, req.TTL)
		holds = append(holds, modelGrant{joined, l.until, l.serial})
	}
	return holds
}

func (l *modelLock) lengthen(now time.Time, ttl time.Duration) {
	if end := now.Add(ttl); !l.until.IsZero() && end.After(l.until) {
		l.until = end
	}
}

// learn compares a hold with what was expected of it.
func (m *model) learn(t *rapid.T, want modelGrant, got driver.Granted) {
	if got.Joined != want.joined || !got.Until.Equal(want.until) {
		t.Fatalf("granted %+v, want %+v", got, want)
	}
	l := m.held[got.Key]
	if l != nil && l.serial == want.serial {
		if want.joined && l.token != 0 && l.token != got.Token {
			t.Fatalf("joined %+v, want token %d", got, l.token)
		}
		l.token = got.Token
	}
	if !want.joined && got.Token <= m.last[got.Key] {
		t.Fatalf("granted %+v, want a token above %d", got, m.last[got.Key])
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

func (m *model) release(holds []driver.Hold) []bool {
	freed := make([]bool, len(holds))
	for i, h := range holds {
		if m.find(h, true) != nil {
			delete(m.held, h.Key)
			freed[i] = true
		}
	}
	m.settle(time.Now())
	return freed
}

func (m *model) extend(h driver.Hold, ttl time.Duration) (bool, time.Time) {
	l := m.find(h, false)
	if l == nil {
		return false, time.Time{}
	}
	l.lengthen(time.Now(), ttl)
	return true, l.until
}

func (m *model) releaseAll(owner string) int {
	n := 0
	for k, l := range m.held {
		if l.owner == owner {
			delete(m.held, k)
			n++
		}
	}
	m.settle(time.Now())
	return n
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
			if w.deadline.Before(next) {
				next = w.deadline
			}
		}
		if next.After(now) {
			return
		}
		for k, l := range m.held {
			if l.until.Equal(next) {
				delete(m.held, k)
			}
		}
		m.settle(next)
		for _, w := range slices.Clone(m.waiters) {
			if w.deadline.Equal(next) {
				m.withdraw(w, driver.ErrTimeout)
			}
		}
	}
}
