package storesqlite

import (
	"cmp"
	"context"
	"database/sql/driver"
	"slices"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

// claiming is one call of Claim.
type claiming struct {
	w     *writer
	by    *instance
	now   time.Time
	id    uint64
	limit int
	plans []int64
	only  bool // what holds locks
	taken []*entry
	// before are those that an earlier call has taken.
	before map[*entry]bool
}

// Claim implements [store.Store].
func (s *Store) Claim(ctx context.Context, c store.Claim) (list []store.Claimed, err error) {
	err = s.do(ctx, func(w *writer) error {
		list = nil
		taken, err := w.claim(&c)
		if err != nil {
			return err
		}
		list = make([]store.Claimed, len(taken))
		for i, e := range taken {
			x, err := w.conn.load(e.seq)
			if err != nil {
				return err
			}
			list[i] = store.Claimed{Snapshot: x, Unclean: e.unclean, Next: e.next}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

func (w *writer) claim(c *store.Claim) ([]*entry, error) {
	if err := w.sweep(); err != nil {
		return nil, err
	}
	if err := w.lapse(); err != nil {
		return nil, err
	}
	by, ok := w.instances[c.Instance]
	if !ok || !by.drives() {
		return nil, store.ErrInstance
	}
	if c.Predecessors {
		if err := w.endPredecessors(by); err != nil {
			return nil, err
		}
	}
	call := claiming{w: w, by: by, now: time.Now(), id: c.ID, limit: cmp.Or(max(c.Limit, 0), defaultLimit), only: c.Holders, before: map[*entry]bool{}}
	for _, id := range c.Plans {
		if plan, ok := w.plans[id]; ok && !slices.Contains(call.plans, plan) {
			call.plans = append(call.plans, plan)
		}
	}
	if err := call.again(); err != nil {
		return nil, err
	}
	if len(c.Keys) > 0 {
		return call.taken, call.named(c.Keys)
	}
	return call.taken, call.waiting()
}

// again returns what was claimed under the ID before.
func (c *claiming) again() error {
	if c.id == 0 {
		return nil
	}
	list, err := c.w.numbers(claimedBy, numberValue(c.id), c.by.number)
	if err != nil {
		return err
	}
	for _, seq := range list {
		e, err := c.w.findBySeq(seq)
		if err != nil {
			return err
		}
		if e != nil {
			c.taken, c.before[e] = append(c.taken, e), true
		}
	}
	return nil
}

// numbers runs a query for executions.
func (w *writer) numbers(q statement, args ...any) (list []int64, err error) {
	err = w.conn.query(q, func(row []driver.Value) error {
		list = append(list, asInt(row[0]))
		return nil
	}, args...)
	return list, err
}

// named claims executions by their keys, among them those of the claiming instance.
func (c *claiming) named(keys []store.Key) error {
	for _, key := range keys {
		if len(c.taken) >= c.limit {
			return nil
		}
		e, err := c.w.find(key)
		if err != nil {
			return err
		}
		if e == nil || c.before[e] || !slices.Contains(c.plans, e.plan) {
			continue
		}
		if e.claimable(c.now) || (e.owner == c.by && e.active()) {
			if err := c.take(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// waiting claims what has waited for the longest time, over all plans: first of what holds
// locks. What instances without a lease own is brought to where it is found, as long as
// there is room for it.
func (c *claiming) waiting() error {
	for len(c.taken) < c.limit {
		more, err := c.w.approach()
		if err != nil {
			return err
		}
		found, err := c.longest(holdingOfPlan)
		if err != nil {
			return err
		}
		holders := found || c.w.movesHolders()
		if !holders && !c.only {
			if found, err = c.longest(readyOfPlan); err != nil {
				return err
			}
		}
		if !holders && !found && !more && (c.only || len(c.w.moving) == 0) {
			return nil
		}
		if err := c.w.move(); err != nil {
			return err
		}
	}
	return nil
}

// longest claims some of what a query for a plan finds. It answers whether there was
// anything: what has expired is deleted, and not claimed.
func (c *claiming) longest(ofPlan statement) (found bool, err error) {
	type waits struct {
		seq   int64
		since []byte
	}
	var all []waits
	c.now = time.Now() // what was moved since may be claimed
	for _, plan := range c.plans {
		err := c.w.conn.query(ofPlan, func(row []driver.Value) error {
			b, _ := row[1].([]byte)
			all = append(all, waits{asInt(row[0]), b})
			return nil
		}, plan, timeBytes(c.now), int64(c.limit-len(c.taken)))
		if err != nil {
			return false, err
		}
	}
	slices.SortFunc(all, func(a, b waits) int { return slices.Compare(a.since, b.since) })
	for _, x := range all {
		if len(c.taken) == c.limit {
			return true, nil
		}
		e, err := c.w.findBySeq(x.seq)
		if err != nil {
			return false, err
		}
		if e == nil { // it has expired
			continue
		}
		if err := c.take(e); err != nil {
			return false, err
		}
	}
	return len(all) > 0, nil
}

func (c *claiming) take(e *entry) error {
	e.unclean = e.owner != nil && e.owner != c.by && e.owner.state != ended
	before := cmp.Or(e.owner, e.last.owner) // who let it go has written it last
	e.next = before != nil && before.opening > 0 && before.opening == c.w.opening-1
	e.owner, e.released = c.by, false
	e.epoch++
	e.revision++
	e.claim = c.id
	c.before[e] = true
	c.taken = append(c.taken, e)
	c.w.settle(e)
	return c.w.save(e)
}
