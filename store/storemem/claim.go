package storemem

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

// defaultLimit is that of a claim, and of a page of a list.
const defaultLimit = 100

// claimRecord is a claim that may be repeated.
type claimRecord struct {
	by      *instance
	id      uint64
	entries []*entry
	open    int // how many of them were not written or released since
}

// note has the execution belong to the claim, and to none before.
func (c *claimRecord) note(e *entry) {
	e.claim.drop(e)
	e.claim, e.noted = c, true
	c.entries = append(c.entries, e)
	c.open++
}

// drop takes the execution off what it was claimed by, which may be nothing.
func (c *claimRecord) drop(e *entry) {
	if c == nil {
		return
	}
	e.claim = nil
	c.open--
	if c.open == 0 {
		delete(c.by.claims, c.id)
	}
}

// claiming is one call of Claim.
type claiming struct {
	s     *Store
	by    *instance
	now   time.Time
	limit int
	plans []*plan
	only  bool // what holds locks
	rec   *claimRecord
	taken []*entry
}

// Claim implements [store.Store].
func (s *Store) Claim(ctx context.Context, c store.Claim) ([]store.Claimed, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	views, err := s.claim(&c)
	s.leave()
	for i := range views {
		own(views[i].Snapshot)
	}
	return views, err
}

func (s *Store) claim(c *store.Claim) ([]store.Claimed, error) {
	now := time.Now()
	s.sweep()
	s.lapse(now)
	by, ok := s.instances[c.Instance]
	if !ok || !by.drives() {
		return nil, store.ErrInstance
	}
	if c.Predecessors {
		s.endPredecessors(by)
	}
	call := claiming{s: s, by: by, now: now, limit: cmp.Or(max(c.Limit, 0), defaultLimit), only: c.Holders}
	for _, id := range c.Plans {
		if p, ok := s.plans[id]; ok {
			call.plans = append(call.plans, p)
		}
	}
	call.again(c.ID)
	if len(c.Keys) > 0 {
		call.named(c.Keys)
	} else {
		call.waiting()
	}
	if call.rec.open > 0 && c.ID != 0 {
		if by.claims == nil {
			by.claims = make(map[uint64]*claimRecord)
		}
		by.claims[c.ID] = call.rec
	}
	views := make([]store.Claimed, len(call.taken))
	for i, e := range call.taken {
		x := e.view()
		views[i] = store.Claimed{Snapshot: &x, Unclean: e.unclean}
	}
	return views, nil
}

// again returns what was claimed under the ID before.
func (c *claiming) again(id uint64) {
	rec, ok := c.by.claims[id]
	if !ok {
		c.rec = &claimRecord{by: c.by, id: id}
		return
	}
	c.rec = rec
	for _, e := range rec.entries {
		if e.claim == rec {
			c.taken = append(c.taken, e)
		}
	}
}

// named claims executions by their keys, among them those of the claiming instance.
func (c *claiming) named(keys []store.Key) {
	for _, key := range keys {
		if len(c.taken) >= c.limit {
			return
		}
		e := c.s.find(key)
		if e == nil || e.claim == c.rec || !slices.Contains(c.plans, e.plan) {
			continue
		}
		if e.claimable(c.now) || (e.owner == c.by && e.active()) {
			c.take(e)
		}
	}
}

// waiting claims what has waited for the longest time, over all plans: first of what
// holds locks.
func (c *claiming) waiting() {
	for line := range (&plan{}).lines() {
		if c.only && line > 0 {
			return
		}
		for len(c.taken) < c.limit {
			next := c.longest(line)
			if next == nil {
				break
			}
			c.take(next)
		}
	}
}

// longest returns what has waited for the longest time in one of the lines of all plans.
func (c *claiming) longest(line int) (next *entry) {
	var since time.Time
	for _, p := range c.plans {
		if e, at := p.lines()[line].first(); e != nil && !at.After(c.now) && (next == nil || at.Before(since)) {
			next, since = e, at
		}
	}
	return next
}

func (c *claiming) take(e *entry) {
	e.unclean = e.owner != nil && e.owner != c.by && e.owner.state != ended
	e.owner, e.released = c.by, false
	e.epoch++
	e.revision++
	c.rec.note(e)
	c.taken = append(c.taken, e)
	c.s.settle(e)
}
