package lockredis

import (
	"context"
	"sync/atomic"
	"time"
)

// A lock that lapses takes no record with it. Whoever was granted locks therefore
// looks through the records now and then, as long as some of its own may be left, and
// clears those whose locks are gone, whosever they were.
const (
	// sweepInterval is how often the records are looked through, sweepPause how long it
	// is from one page of them to the next.
	sweepInterval = time.Second
	sweepPause    = 100 * time.Millisecond
	// sweepSlack is how long after its lock's end a record is surely to be cleared.
	sweepSlack = time.Second
)

// sweep is how far the clearing of a hub is. Its fields but for owed and last are
// guarded by waits.mu.
type sweep struct {
	owed atomic.Int64 // grants of this process whose records may be there
	last atomic.Int64 // when the last of them lapses, in ns of this process's clock

	cursor [2]int64 // where the clearing of waiters and of records goes on
	began  time.Time
	at     time.Time // when it is due next
}

// owe notes a grant.
func (p *Provider) owe(h *hub, grants int, ttl time.Duration) {
	lapses := int64(time.Since(p.born) + ttl + sweepSlack)
	for old := h.sweep.last.Load(); old < lapses && !h.sweep.last.CompareAndSwap(old, lapses); {
		old = h.sweep.last.Load()
	}
	if h.sweep.owed.Add(int64(grants)) > int64(grants) {
		return
	}
	s := p.waits
	s.mu.Lock()
	defer s.mu.Unlock()
	at := time.Now().Add(sweepInterval)
	if h.sweep.at.IsZero() {
		h.sweep.at = at
	}
	p.clock.sweeping[h] = struct{}{}
	p.schedule(at)
}

// pay notes locks that were freed together with their records.
func (h *hub) pay(freed int) {
	for {
		owed := h.sweep.owed.Load()
		if owed <= 0 || h.sweep.owed.CompareAndSwap(owed, max(owed-int64(freed), 0)) {
			return
		}
	}
}

// toSweep returns the hubs that are due; it requires waits.mu.
func (c *clock) toSweep(now time.Time) []*hub {
	var due []*hub
	for h := range c.sweeping {
		if !now.Before(h.sweep.at) {
			due = append(due, h)
		}
	}
	return due
}

// sweepHubs looks at a page of each hub.
func (p *Provider) sweepHubs(ctx context.Context, due []*hub) {
	spread(ctx, p, due, func(h *hub) *hub { return h }, func(ctx context.Context, h *hub) error {
		var err error
		if h.sweep.owed.Load() > 0 {
			if _, err = p.lookAt(ctx, &group{hub: h}, true); err != nil {
				p.log.Debug("lockredis: records could not be looked through; that is tried again", "error", err)
			}
		}
		s := p.waits
		s.mu.Lock()
		defer s.mu.Unlock()
		h.sweep.at = time.Now().Add(sweepInterval)
		if h.sweep.cursor[1] != 0 {
			h.sweep.at = time.Now().Add(sweepPause)
		}
		if h.sweep.owed.Load() <= 0 {
			h.sweep.at = time.Time{}
			delete(p.clock.sweeping, h)
		}
		return err
	}, nil)
	// Those that were not come to, since their node does not answer, are due later.
	s := p.waits
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for _, h := range due {
		if _, owes := p.clock.sweeping[h]; owes && !now.Before(h.sweep.at) {
			h.sweep.at = now.Add(sweepInterval)
		}
	}
}

// swept notes where the clearing of a hub goes on. A round that began after all the
// locks of this process had lapsed leaves none of their records. It requires waits.mu.
func (p *Provider) swept(h *hub, began time.Time, next [2]int64) {
	if h.sweep.began.IsZero() {
		h.sweep.began = began
	}
	h.sweep.cursor = next
	if next[1] != 0 {
		return
	}
	if int64(h.sweep.began.Sub(p.born)) > h.sweep.last.Load() {
		h.sweep.owed.Store(0)
	}
	h.sweep.began = time.Time{}
}
