package storemem

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

// Create implements [store.Store].
func (s *Store) Create(ctx context.Context, x *store.Snapshot) (*store.Snapshot, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	e, given := newEntry(x)
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	s.sweep()
	if at := s.find(x.Key); at != nil {
		if at.RunUID == x.RunUID {
			s.leave()
			return nil, nil //nolint:nilnil // there was none: the contract of Create
		}
		existing := at.view()
		s.leave()
		own(&existing)
		return &existing, nil
	}
	if !x.Owner.None() && !s.leases(x.Owner) {
		s.leave()
		return nil, store.ErrInstance
	}
	s.add(e, x.Owner, given)
	s.leave()
	return nil, nil //nolint:nilnil // as above
}

// entries are used again when they were deleted. Only who has the store's mu has an
// entry; whoever has seen one has copied it, and shares none but the bytes of its data,
// which are not used again. A claim's record and tasks point to entries for as long as
// they like: what was ever in one of those is left to the garbage collector.
var entries = sync.Pool{New: func() any { return new(entry) }}

// free gives the memory of an entry back that was deleted, and that nobody has.
func (e *entry) free() {
	if !e.noted && !e.tasked {
		*e = entry{}
		entries.Put(e)
	}
}

// newEntry returns a copy of what is given, and of its tasks.
func newEntry(x *store.Snapshot) (*entry, []store.Task) {
	given := *x
	given.Inbox, given.Tasks = slices.Clone(x.Inbox), copyTasks(x.Tasks)
	e, ok := entries.Get().(*entry)
	if !ok {
		e = new(entry)
	}
	e.epoch, e.revision = 1, 1
	if given.Cells = e.few[:0]; len(x.Cells) > len(e.few) {
		given.Cells = make([]store.Cell, 0, len(x.Cells)+len(e.few))
	}
	given.Cells = append(given.Cells, x.Cells...)
	var c copier
	c.expectAll(&given)
	c.spare = spareBytes
	c.copyAll(&given)
	e.room = c.room
	keptTimes(&given.Head)
	given.CreatedAt, given.Deadline = keptTime(x.CreatedAt), keptTime(x.Deadline)

	e.Identity, e.head = given.Identity, given.Head
	e.cells.list = given.Cells[:0]
	for _, cell := range given.Cells {
		e.cells.put(cell) // never past what it reads
	}
	for _, m := range given.Inbox {
		e.inbox.add(m)
	}
	return e, given.Tasks
}

// spareBytes is how much room a new execution has for what its next writes bring.
const spareBytes = 192

// add keeps a new execution.
func (s *Store) add(e *entry, owner store.Instance, list []store.Task) {
	e.owner = s.instance(owner)
	e.plan = s.plan(store.PlanID{Workflow: e.Workflow, Fingerprint: e.Fingerprint})
	s.byKey[e.Key] = e
	s.timeline.insert(e)
	s.addTasks(e, list)
	s.settle(e)
	if e.head.State.Finished() {
		s.tellFinished(e.Key, e.owner)
	}
}

// Commit implements [store.Store].
func (s *Store) Commit(ctx context.Context, writes []store.Write) []error {
	errs := make([]error, len(writes))
	for i := range writes {
		errs[i] = s.commit(ctx, &writes[i])
	}
	return errs
}

func (s *Store) commit(ctx context.Context, w *store.Write) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var c copier
	c.expect(w.Head.Output)
	for i := range w.Cells {
		c.expect(w.Cells[i].Data)
	}
	head := w.Head
	keptTimes(&head)
	var room [8]store.Cell
	list := append(room[:0], w.Cells...)
	short := c.short()
	if !short {
		c.copyWritten(&head, list)
	}
	added := copyTasks(w.Tasks)

	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	e := s.find(w.Key)
	if e == nil {
		return store.ErrNotFound
	}
	found := e.fence()
	switch {
	case found == w.Fence && !found.Owner.None():
		if short {
			c.room, c.spare = e.room, spareBytes
			c.copyWritten(&head, list)
			e.room = c.room
		}
		s.write(e, w, &head, list, added)
		return nil
	case e.repeats(w):
		return nil
	}
	return &store.FencedError{Key: w.Key, Wrote: w.Fence, Found: found}
}

// write makes a write with its head, cells and tasks copied.
func (s *Store) write(e *entry, w *store.Write, head *store.Head, list []store.Cell, added []store.Task) {
	ends := head.State.Finished() && !e.head.State.Finished()
	writer := e.owner
	e.last = lastWrite{owner: e.owner, epoch: e.epoch, revision: e.revision, id: w.ID}
	e.revision++
	e.head = *head
	for i := range list {
		e.cells.put(list[i])
	}
	e.inbox.remove(w.Consumed)
	for _, id := range w.Dropped {
		s.dropTask(e, id)
	}
	s.addTasks(e, added)
	e.claim.drop(e)
	if w.Release {
		e.owner = nil
	}
	s.settle(e)
	if ends {
		s.tellFinished(e.Key, writer)
	}
}

// Forget implements [store.Store].
func (s *Store) Forget(ctx context.Context, key store.Key, runUID string) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	e := s.byKey[key] // due to be forgotten or not
	switch {
	case e == nil || e.RunUID != runUID:
		s.leave()
		return nil
	case !e.head.State.Finished() || e.head.Unsettled:
		s.leave()
		return store.ErrUnsettled
	}
	s.delete(e)
	s.leave()
	e.free()
	return nil
}

// mostSwept bounds how many executions one call deletes because they are due.
const mostSwept = 64

// sweep deletes some of what is to be forgotten by now.
func (s *Store) sweep() {
	if len(s.expiry.items) == 0 {
		return
	}
	now := time.Now()
	for range mostSwept {
		e, at := s.expiry.first()
		if e == nil || at.After(now) {
			return
		}
		s.delete(e)
	}
}
