package storesqlite

import (
	"context"
	"slices"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

// instance is what is known of one start of an engine. It is never forgotten: it has had
// its lease.
type instance struct {
	store.Instance
	number int64
	state  leaseState
	until  time.Time // the end of its lease
	// opening is that of its process; zero is unknown.
	opening int64
}

type leaseState int64

const (
	unleased leaseState = iota // it has had no lease yet
	leased
	lapsed
	ended // it has let go of what it owned
)

// drives says that the instance has a lease. Nobody has none.
func (i *instance) drives() bool { return i != nil && i.state == leased }

// leases says that an instance has a lease at this moment.
func (w *writer) leases(id store.Instance) bool {
	i := w.instances[id]
	return i.drives() && i.until.After(time.Now())
}

func (w *writer) noteInstance(i *instance) {
	w.instances[i.Instance], w.numbered[i.number] = i, i
	if i.state == leased {
		w.leased = append(w.leased, i)
	}
}

// instance returns nil for nobody.
func (w *writer) instance(id store.Instance) (*instance, error) {
	if id.None() {
		return nil, nil //nolint:nilnil // as it says
	}
	if i, ok := w.instances[id]; ok {
		return i, nil
	}
	i := &instance{Instance: id, number: int64(len(w.instances)) + 1, opening: w.opening}
	if _, err := w.conn.exec(addInstance, i.number, id.Node, id.Incarnation, int64(unleased), nil, w.opening); err != nil {
		return nil, err
	}
	w.noteInstance(i)
	return i, nil
}

func (w *writer) saveInstance(i *instance) error {
	_, err := w.conn.exec(setInstance, int64(i.state), timeValue(i.until), i.number)
	return err
}

// Heartbeat implements [store.Store]. Leases end by the clock of the machine: they go on
// while the store is closed. An instance does not lose its lease because many calls were
// made before: a heartbeat goes first.
func (s *Store) Heartbeat(ctx context.Context, id store.Instance, lease time.Duration) error {
	return s.doFirst(ctx, func(w *writer) error {
		if id.None() {
			return store.ErrInstance
		}
		if err := w.lapse(); err != nil {
			return err
		}
		i, err := w.instance(id)
		if err != nil {
			return err
		}
		switch i.state {
		case lapsed, ended:
			return store.ErrInstance
		case unleased:
			i.state = leased
			w.leased = append(w.leased, i)
			if err := w.settleOwned(i); err != nil { // what it was given before
				return err
			}
		case leased:
		}
		i.until = time.Now().Add(lease)
		w.due(i.until)
		return w.saveInstance(i)
	})
}

// settleOwned settles what an instance owns, after its first lease has begun.
func (w *writer) settleOwned(i *instance) error {
	m := move{of: i}
	for !m.over {
		if _, err := w.step(&m); err != nil {
			return err
		}
	}
	return nil
}

// Release implements [store.Store].
func (s *Store) Release(ctx context.Context, id store.Instance, held []store.Held) error {
	return s.do(ctx, func(w *writer) error {
		for _, h := range held {
			e, err := w.find(h.Key)
			if err != nil {
				return err
			}
			if e == nil || e.owner == nil || e.fence().Owner != id || e.epoch != h.Epoch {
				continue
			}
			e.owner, e.released, e.claim = nil, true, 0
			w.settle(e)
			if err := w.save(e); err != nil {
				return err
			}
		}
		return nil
	})
}

// End implements [store.Store].
func (s *Store) End(ctx context.Context, id store.Instance) error {
	return s.do(ctx, func(w *writer) error {
		i, err := w.instance(id)
		if i == nil || err != nil || i.state == ended {
			return err
		}
		return w.endLease(i, ended)
	})
}

// lapse ends the leases whose time is up.
func (w *writer) lapse() error {
	now := time.Now()
	for _, i := range slices.Clone(w.leased) {
		if !i.until.After(now) {
			if err := w.endLease(i, lapsed); err != nil {
				return err
			}
		}
	}
	return nil
}

// endLease lets others claim what the instance drives, and take the tasks that it does.
func (w *writer) endLease(i *instance, state leaseState) error {
	i.state = state
	w.leased = slices.DeleteFunc(w.leased, func(other *instance) bool { return other == i })
	if err := w.saveInstance(i); err != nil {
		return err
	}
	m := &move{of: i}
	if _, err := w.step(m); err != nil {
		return err
	}
	if m.others { // there were few that hold locks, if any
		if _, err := w.step(m); err != nil {
			return err
		}
	}
	if !m.over {
		w.moving = append(w.moving, m)
		w.due(time.Now())
	}
	return w.putAllBack(i, state == lapsed)
}

// endPredecessors ends the leases of other incarnations of the instance's node.
func (w *writer) endPredecessors(i *instance) error {
	if i.Node == "" {
		return nil
	}
	for _, other := range slices.Clone(w.leased) {
		if other != i && other.Node == i.Node {
			if err := w.endLease(other, lapsed); err != nil {
				return err
			}
		}
	}
	return nil
}

// move is the way of what an instance without a lease owns to where it can be claimed, in
// steps: it may be much. What holds locks goes first. It begins anew when the store is
// opened.
type move struct {
	of     *instance
	after  int64 // the number of the execution that it has come to
	others bool  // than those that hold locks
	over   bool
}

// inStep bounds how many executions one step moves.
const inStep = 256

// move makes one step of what is to be moved, of what holds locks first, and answers how
// many executions it has looked at.
func (w *writer) move() (looked int, err error) {
	if len(w.moving) == 0 {
		return 0, nil
	}
	m := w.moving[max(0, slices.IndexFunc(w.moving, (*move).holders))]
	if looked, err = w.step(m); m.over {
		w.moving = slices.DeleteFunc(w.moving, func(other *move) bool { return other == m })
	}
	return looked, err
}

// holders says that those which hold locks are not through yet.
func (m *move) holders() bool { return !m.others }

// movesHolders says that there may be executions which hold locks, and cannot be found yet
// by those who claim.
func (w *writer) movesHolders() bool {
	return slices.ContainsFunc(w.moving, (*move).holders)
}

func (w *writer) step(m *move) (looked int, err error) {
	q := holdingAfter
	if m.others {
		q = ownedAfter
	}
	list, err := w.numbers(q, m.of.number, m.after, int64(inStep))
	if err != nil {
		return 0, err
	}
	ends := len(list) < inStep
	defer func() {
		switch {
		case !ends:
		case m.others:
			m.over = true
		default:
			m.others, m.after = true, 0
		}
	}()
	for _, seq := range list {
		m.after = seq
		e, err := w.findBySeq(seq)
		if err != nil {
			return 0, err
		}
		if e == nil { // it has expired
			continue
		}
		if m.of.state == ended {
			e.owner, e.released, e.claim = nil, true, 0
		}
		ready, later := e.ready, e.later
		w.settle(e)
		if e.ready.Equal(ready) && e.later == later && m.of.state != ended {
			continue
		}
		if err := w.save(e); err != nil {
			return 0, err
		}
	}
	return len(list), nil
}
