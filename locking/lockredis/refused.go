package lockredis

import "time"

// refused is what waits here and what the server refuses to answer for, each time: the
// user may not touch the lock any more, say. It is kept apart, so that it costs the
// others nothing, and is told of once. Waits.mu guards it.
type refused struct {
	requests map[*wait]time.Time // when they were refused last
	locks    map[string]bool
}

// prune forgets what does not wait any more.
func (r *refused) prune(s *waits) {
	for w := range r.requests {
		if s.byID[w.ask.id] != w {
			delete(r.requests, w)
		}
	}
	for lock := range r.locks {
		if s.watched[lock] == nil {
			delete(r.locks, lock)
		}
	}
}

// refusedRequest notes that the server refuses to say where a request stands. It is
// asked again as rarely as if it had answered.
func (p *Provider) refusedRequest(w *wait, err error) {
	s := p.waits
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byID[w.ask.id] != w {
		return
	}
	r := &p.clock.refused
	if r.requests[w].IsZero() {
		p.log.Warn("lockredis: the server refuses a request that waits; it goes on waiting", "keys", w.ask.req.Keys, "error", err)
	}
	if r.requests == nil {
		r.requests = map[*wait]time.Time{}
	}
	r.requests[w], w.missed = time.Now(), false
}

// refusedLock notes that the server refuses to tell of a lock that is waited for.
func (p *Provider) refusedLock(lock string, err error) {
	s := p.waits
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &p.clock.refused
	if s.watched[lock] == nil || r.locks[lock] {
		return
	}
	p.log.Warn("lockredis: the server refuses to tell of a lock that is waited for; waiting goes on", "lock", lock, "error", err)
	if r.locks == nil {
		r.locks = map[string]bool{}
	}
	r.locks[lock] = true
}
