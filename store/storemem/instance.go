package storemem

import (
	"context"
	"slices"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

// instance is what is known of one start of an engine. It is never forgotten: it has
// had its lease.
type instance struct {
	store.Instance
	state leaseState
	until time.Time // the end of its lease
	// What it owns and there is something to do for, without and with messages.
	quiet, unread chain
	// claims are those of which something was not written yet, by their IDs.
	claims map[uint64]*claimRecord
	tasks  []*task // that it does
}

type leaseState uint8

const (
	unleased leaseState = iota // it has had no lease yet
	leased
	lapsed
	ended // it has let go of what it owned
)

// drives says that the instance has a lease. Nobody has none.
func (i *instance) drives() bool { return i != nil && i.state == leased }

// leases says that an instance has a lease at this moment.
func (s *Store) leases(id store.Instance) bool {
	i := s.instances[id]
	return i.drives() && i.until.After(time.Now())
}

// instance returns nil for nobody.
func (s *Store) instance(id store.Instance) *instance {
	if id.None() {
		return nil
	}
	if s.latest != nil && s.latest.Instance == id {
		return s.latest
	}
	i, ok := s.instances[id]
	if !ok {
		i = &instance{Instance: id}
		s.instances[id] = i
	}
	s.latest = i
	return i
}

// Heartbeat implements [store.Store].
func (s *Store) Heartbeat(ctx context.Context, id store.Instance, lease time.Duration) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	now := time.Now()
	s.lapse(now)
	i := s.instance(id)
	switch {
	case i == nil || i.state == lapsed || i.state == ended:
		return store.ErrInstance
	case i.state == unleased:
		i.state = leased
		s.leased = append(s.leased, i)
		s.settleAll(i) // what it was given before
	}
	i.until = now.Add(lease)
	s.stirred = true
	return nil
}

// Release implements [store.Store].
func (s *Store) Release(ctx context.Context, id store.Instance, held []store.Held) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	for _, h := range held {
		e := s.find(h.Key)
		if e == nil || !e.ownedBy(id) || e.epoch != h.Epoch {
			continue
		}
		e.owner, e.released = nil, true
		e.claim.drop(e)
		s.settle(e)
	}
	return nil
}

// End implements [store.Store].
func (s *Store) End(ctx context.Context, id store.Instance) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	if i := s.instance(id); i != nil {
		s.endLease(i, ended)
	}
	return nil
}

// lapse ends the leases whose time is up.
func (s *Store) lapse(now time.Time) {
	for _, i := range slices.Backward(s.leased) { // which may go from it
		if !i.until.After(now) {
			s.endLease(i, lapsed)
		}
	}
}

// endLease lets others claim what the instance drives.
func (s *Store) endLease(i *instance, state leaseState) {
	i.state = state
	s.leased = slices.DeleteFunc(s.leased, func(other *instance) bool { return other == i })
	s.settleAll(i)
	s.putAllBack(i, state == lapsed)
}

// settleAll puts what the instance owns where it belongs, after its lease has changed.
func (s *Store) settleAll(i *instance) {
	for _, c := range []*chain{&i.quiet, &i.unread} {
		for e := c.first; e != nil; {
			next := e.next
			s.settle(e)
			e = next
		}
	}
}

// endPredecessors ends the leases of other incarnations of the instance's node.
func (s *Store) endPredecessors(i *instance) {
	if i.Node == "" {
		return
	}
	for _, other := range slices.Backward(s.leased) { // which may go from it
		if other != i && other.Node == i.Node {
			s.endLease(other, lapsed)
		}
	}
}
