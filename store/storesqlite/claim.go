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

// Claim implements [store.Store]. It ends when it has looked at a part of a large store, and
// may return fewer than there are: the store goes on, and tells who watches. But it returns
// what holds locks as long as there is any, in several transactions where it is to be looked
// for among many: who asks for that alone relies on having it all.
func (s *Store) Claim(ctx context.Context, c store.Claim) (list []store.Claimed, err error) {
	c.Limit = cmp.Or(max(c.Limit, 0), defaultLimit)
	for more := true; more; {
		var part []store.Claimed
		if part, more, err = s.claimSome(ctx, &c); err != nil {
			if len(list) > 0 { // those are its own, and what ails the store the next call shows
				return list, nil
			}
			return nil, err
		}
		if c.ID != 0 { // a repetition, which returns those before
			list = part
			continue
		}
		list = append(list, part...)
		c.Limit -= len(part)
	}
	return list, nil
}

// claimSome is as much of a claim as one transaction does. It answers whether there may be
// more that hold locks.
func (s *Store) claimSome(ctx context.Context, c *store.Claim) (list []store.Claimed, more bool, err error) {
	err = s.do(ctx, func(w *writer) error {
		list = nil
		taken, err := w.claim(c)
		if err != nil {
			return err
		}
		more = c.Holders && len(c.Keys) == 0 && len(taken) < c.Limit && w.movesHolders()
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
	return list, more, err
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
	call := claiming{w: w, by: by, now: time.Now(), id: c.ID, limit: c.Limit, only: c.Holders, before: map[*entry]bool{}}
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

// mostLooked bounds how many executions one claim looks at that it does not take: heartbeats
// wait as long as that.
const mostLooked = 4 * inStep

// waiting claims what has waited for the longest time, over all plans: first of what holds
// locks. What instances without a lease own is brought to where it is found, as long as
// there is room for it. What it leaves the alarm goes on with.
func (c *claiming) waiting() error {
	if len(c.taken) >= c.limit {
		return nil
	}
	more, err := c.w.approach()
	if err != nil {
		return err
	}
	for looked := 0; len(c.taken) < c.limit && looked < mostLooked+c.limit; {
		found, err := c.longest(holdingOfPlan)
		if err != nil {
			return err
		}
		if found == 0 && !c.only && !c.w.movesHolders() {
			if found, err = c.longest(readyOfPlan); err != nil {
				return err
			}
		}
		if found == 0 && (len(c.w.moving) == 0 || c.only && !c.w.movesHolders()) {
			break
		}
		moved, err := c.w.move()
		if err != nil {
			return err
		}
		looked += max(1, found+moved)
	}
	// A claim of holders is through with these, or goes on by itself.
	if more || len(c.taken) < c.limit && !c.only && len(c.w.moving) > 0 {
		c.w.due(time.Now())
	}
	return nil
}

// longest claims some of what a query for a plan finds. It answers how many there were: what
// has expired is deleted, and not claimed.
func (c *claiming) longest(ofPlan statement) (found int, err error) {
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
			return 0, err
		}
	}
	slices.SortFunc(all, func(a, b waits) int { return slices.Compare(a.since, b.since) })
	for _, x := range all {
		if len(c.taken) == c.limit {
			return len(all), nil
		}
		e, err := c.w.findBySeq(x.seq)
		if err != nil {
			return 0, err
		}
		if e == nil { // it has expired
			continue
		}
		if err := c.take(e); err != nil {
			return 0, err
		}
	}
	return len(all), nil
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
