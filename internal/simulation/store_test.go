package simulation

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

// server is the simulated store: one table, read as a whole by each call. What
// instances see of it is a [conn]. All of it requires the world's mu.
type server struct {
	w         *world
	byKey     map[store.Key]*execution
	order     []*execution // as they were created
	instances map[store.Instance]*leaseholder
	watchers  []*watcher
	skew      time.Duration // of its clock
	broken    brokenStore
}

// brokenStore has the faults that can be planted here.
type brokenStore struct {
	noEpoch bool              // writes are not compared with the epoch and the owner
	loses   func(f fate) bool // writes that are acknowledged, and not made
	lax     bool              // who has no lease creates all the same
	hasty   bool              // what an instance has is given to others before its lease is over
}

// execution is one record.
type execution struct {
	store.Identity
	store.Fence
	store.Head

	cells    map[store.CellID][]byte
	inbox    []store.Message
	released bool
	last     lastWrite
	claim    claimID // the one that it was last claimed by, as long as it was not written since

	seen *mirror // what the model makes of it
}

type lastWrite struct {
	fence store.Fence
	id    uint64
}

type claimID struct {
	by store.Instance
	id uint64
}

type leaseholder struct {
	until time.Time
	ended bool
}

func newServer(w *world) *server {
	return &server{w: w, byKey: map[store.Key]*execution{}, instances: map[store.Instance]*leaseholder{}}
}

func (s *server) now() time.Time { return time.Now().Add(s.skew) }

func (s *server) snapshot(e *execution) *store.Snapshot {
	x := &store.Snapshot{Identity: e.Identity, Fence: e.Fence, Head: e.Head, Inbox: slices.Clone(e.inbox)}
	for _, id := range slices.Sorted(maps.Keys(e.cells)) {
		x.Cells = append(x.Cells, store.Cell{ID: id, Data: bytes.Clone(e.cells[id])})
	}
	return x
}

func (s *server) create(c *conn, x *store.Snapshot) (*store.Snapshot, error) {
	if e := s.byKey[x.Key]; e != nil {
		if e.RunUID == x.RunUID {
			return nil, nil
		}
		return s.snapshot(e), nil
	}
	if !x.Owner.None() && !s.lives(x.Owner) && !s.broken.lax {
		s.w.tally.note("an execution is refused to an instance without a lease")
		return nil, store.ErrInstance
	}
	e := &execution{Identity: x.Identity, Fence: x.Fence, Head: x.Head, cells: map[store.CellID][]byte{}}
	e.Input = bytes.Clone(x.Input)
	for _, cell := range x.Cells {
		if cell.Data != nil {
			e.cells[cell.ID] = bytes.Clone(cell.Data)
		}
	}
	s.byKey[x.Key] = e
	s.order = append(s.order, e)
	s.w.created(c, e)
	s.w.wrote(c, e, x.Cells, "creates")
	return nil, nil
}

func (s *server) commit(c *conn, w *store.Write, f fate) error {
	e := s.byKey[w.Key]
	if e == nil {
		return store.ErrNotFound
	}
	current := e.Fence == w.Fence && !e.Owner.None()
	if s.broken.noEpoch {
		current = e.Revision == w.Fence.Revision
	}
	switch {
	case !current && e.last == lastWrite{w.Fence, w.ID}:
		return nil
	case !current:
		s.w.logf(c.in.name, "write %d of %s is refused: epoch %d of %s", w.Fence.Revision, s.w.name(e.Key), e.Epoch, s.w.nameOf(e.Owner))
		s.w.tally.note("a write of a stale owner is refused")
		s.w.refused(c, e, w)
		return &store.FencedError{Key: w.Key, Wrote: w.Fence, Found: e.Fence}
	case s.broken.loses != nil && s.broken.loses(f):
		s.w.logf(c.in.name, "write %d of %s is lost", w.Fence.Revision, s.w.name(e.Key))
		return nil
	}
	s.w.writes(c, e, w)
	e.last = lastWrite{w.Fence, w.ID}
	e.claim = claimID{}
	e.Revision++
	e.Head = w.Head
	for _, cell := range w.Cells {
		if cell.Data == nil {
			delete(e.cells, cell.ID)
		} else {
			e.cells[cell.ID] = bytes.Clone(cell.Data)
		}
	}
	e.inbox = slices.DeleteFunc(e.inbox, func(m store.Message) bool { return slices.Contains(w.Consumed, m.ID) })
	if w.Release {
		e.Owner = store.Instance{}
	}
	s.w.wrote(c, e, w.Cells, "writes")
	if e.State.Finished() {
		s.tell(store.Notice{Finished: e.Key}, nil)
	}
	return nil
}

// lives says whether an instance has a lease.
func (s *server) lives(i store.Instance) bool {
	l := s.instances[i]
	return l != nil && !l.ended && l.until.After(s.now())
}

func (s *server) claimable(e *execution, c *store.Claim) bool {
	if e.State.Finished() && !e.Unsettled && len(e.inbox) == 0 {
		return false
	}
	switch {
	case e.Owner.None():
		due := e.DueAt.IsZero() && e.State.Finished() || !e.DueAt.IsZero() && !e.DueAt.After(s.now())
		return e.released || len(e.inbox) > 0 || due
	case e.Owner == c.Instance:
		return slices.Contains(c.Keys, e.Key)
	case c.Predecessors && e.Owner.Node == c.Instance.Node && e.Owner.Node != "":
		return true
	}
	if l := s.instances[e.Owner]; s.broken.hasty && l != nil && l.until.Sub(s.now()) < lease/2 {
		return true
	}
	return !s.lives(e.Owner)
}

func (s *server) claims(cn *conn, c *store.Claim) ([]store.Claimed, error) {
	if !s.lives(c.Instance) {
		return nil, store.ErrInstance
	}
	var got []store.Claimed
	most := cmp.Or(c.Limit, 100)
	this := claimID{c.Instance, c.ID}
	for _, e := range s.order {
		switch {
		case len(got) == most || s.byKey[e.Key] != e:
		case c.ID != 0 && e.claim == this && e.Owner == c.Instance:
			got = append(got, store.Claimed{Snapshot: s.snapshot(e), Unclean: e.seen.unclean})
		case len(c.Keys) > 0 && !slices.Contains(c.Keys, e.Key),
			!slices.Contains(c.Plans, store.PlanID{Workflow: e.Workflow, Fingerprint: e.Fingerprint}),
			!s.claimable(e, c):
		default:
			e.seen.unclean = !e.Owner.None() && e.Owner != c.Instance && !s.ended(e.Owner)
			before := e.Owner
			e.Owner, e.released = c.Instance, false
			e.Epoch++
			if !s.broken.noEpoch {
				e.Revision++
			}
			e.claim = this
			s.w.claimed(cn, e, before)
			got = append(got, store.Claimed{Snapshot: s.snapshot(e), Unclean: e.seen.unclean})
		}
	}
	return got, nil
}

func (s *server) ended(i store.Instance) bool {
	l := s.instances[i]
	return l != nil && l.ended
}

func (s *server) heartbeat(i store.Instance, d time.Duration) error {
	switch l := s.instances[i]; {
	case i.None():
		return store.ErrInstance
	case l == nil:
		s.instances[i] = &leaseholder{until: s.now().Add(d)}
	case !s.lives(i):
		return store.ErrInstance
	default:
		l.until = s.now().Add(d)
	}
	return nil
}

func (s *server) release(i store.Instance, held []store.Held) {
	for _, h := range held {
		if e := s.byKey[h.Key]; e != nil && e.Owner == i && e.Epoch == h.Epoch {
			s.free(e)
		}
	}
}

func (s *server) free(e *execution) {
	e.Owner, e.released, e.claim = store.Instance{}, true, claimID{}
	s.tell(store.Notice{Claimable: true}, nil)
}

func (s *server) end(i store.Instance) {
	if l := s.instances[i]; l != nil {
		l.ended = true
	} else {
		s.instances[i] = &leaseholder{ended: true}
	}
	for _, e := range s.order {
		if e.Owner == i && s.byKey[e.Key] == e {
			s.free(e)
		}
	}
}

func (s *server) deliver(c *conn, k store.Key, m store.Message) error {
	e := s.byKey[k]
	if e == nil {
		return store.ErrNotFound
	}
	if slices.ContainsFunc(e.inbox, func(other store.Message) bool { return other.ID == m.ID }) {
		return nil
	}
	m.Data = bytes.Clone(m.Data)
	e.inbox = append(e.inbox, m)
	s.w.delivered(c, e, m)
	if e.Owner.None() {
		s.tell(store.Notice{Claimable: true}, nil)
	} else {
		s.tell(store.Notice{Message: k}, &e.Owner)
	}
	return nil
}

func (s *server) unread(i store.Instance) (list []store.Key) {
	for _, e := range s.order {
		if e.Owner == i && len(e.inbox) > 0 && s.byKey[e.Key] == e {
			list = append(list, e.Key)
		}
	}
	return list
}

func (s *server) load(k store.Key) (*store.Snapshot, error) {
	e := s.byKey[k]
	if e == nil {
		return nil, store.ErrNotFound
	}
	return s.snapshot(e), nil
}

func (s *server) forget(k store.Key, uid string) error {
	e := s.byKey[k]
	switch {
	case e == nil || e.RunUID != uid:
		return nil
	case !e.State.Finished() || e.Unsettled:
		return store.ErrUnsettled
	}
	delete(s.byKey, k)
	s.w.forgotten(e)
	return nil
}

// watcher is one call of Watch.
type watcher struct {
	c    *conn
	tell func(store.Notice)
	off  bool
	told int
}

// tell has the instances told of something, or one of them.
func (s *server) tell(n store.Notice, to *store.Instance) {
	for _, watch := range s.watchers {
		if to == nil || watch.c.in.me == *to {
			watch.send(n)
		}
	}
}

// send tells it after a while, or not at all.
func (t *watcher) send(n store.Notice) {
	w := t.c.in.w
	t.told++
	f := w.f.of("notice", t.c.in.name).num(uint64(t.told))
	if !w.calm() && f.is("deaf", w.p.deaf) {
		w.tally.note("a notice is lost")
		return
	}
	w.later(f.skewed("delay", time.Microsecond, w.p.delay), func() {
		w.mu.Lock()
		off := t.off || t.c.in.dead()
		w.mu.Unlock()
		if !off {
			t.tell(n)
		}
	})
}
