package storemem

import (
	"slices"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

// entry is one execution.
type entry struct {
	store.Identity
	owner    *instance // nil is nobody
	epoch    uint64
	revision uint64
	head     store.Head
	cells    cells
	few      [4]store.Cell // memory for the first of them
	room     []byte        // the last chunk of their data, where that is short
	inbox    inbox
	tasks    []*task
	takes    uint64 // how often one of its tasks was taken
	// released says that its owner has given it up: it may be claimed at once.
	released bool
	last     lastWrite

	plan   *plan
	line   *queue       // of its plan, in which it is while it may be claimed
	places [queues]int  // in the queues; see [queue]
	in     *chain       // of its owner
	next   *entry       // in that chain
	prev   *entry       // in that chain
	chunk  *chunk       // of the timeline
	claim  *claimRecord // what it was claimed by, unless it was written since
	// unclean is what that claim has answered.
	unclean bool
	// noted and tasked say that a claim's record has had it, and that it has had tasks.
	noted, tasked bool
}

// lastWrite is the write that was made last.
type lastWrite struct {
	owner           *instance
	epoch, revision uint64
	id              uint64
}

// fence returns what stands. An instance that was ended owns nothing any more.
func (e *entry) fence() store.Fence {
	f := store.Fence{Epoch: e.epoch, Revision: e.revision}
	if e.owner != nil && e.owner.state != ended {
		f.Owner = e.owner.Instance
	}
	return f
}

// ownedBy says that the execution is the instance's.
func (e *entry) ownedBy(id store.Instance) bool {
	return e.owner != nil && e.owner.state != ended && e.owner.Instance == id
}

// repeats says that the write is the one that was made last.
func (e *entry) repeats(w *store.Write) bool {
	l := &e.last
	return l.owner != nil && l.id == w.ID && l.revision == w.Fence.Revision && l.epoch == w.Fence.Epoch && l.owner.Instance == w.Fence.Owner
}

// active says that there is something to do for the execution.
func (e *entry) active() bool {
	return !e.head.State.Finished() || e.head.Unsettled || len(e.inbox.list) > 0
}

// ready says that an active execution which nobody drives may be claimed at once,
// whenever it is due.
func (e *entry) ready() bool {
	return e.owner != nil || e.released || len(e.inbox.list) > 0 || (e.head.DueAt.IsZero() && e.head.State.Finished())
}

// claimable says that anybody may claim the execution now.
func (e *entry) claimable(now time.Time) bool {
	if !e.active() || e.owner.drives() {
		return false
	}
	return e.ready() || (!e.head.DueAt.IsZero() && !e.head.DueAt.After(now))
}

// settle puts the execution where it belongs. It is called after every change.
func (s *Store) settle(e *entry) {
	if e.head.State.Finished() && !e.head.Unsettled && !e.head.ForgetAt.IsZero() {
		s.expiry.set(e, e.head.ForgetAt)
	} else {
		s.expiry.remove(e)
	}
	active := e.active()
	switch {
	case !active || e.owner == nil || e.owner.state == ended:
		e.moveTo(nil)
	case len(e.inbox.list) > 0:
		e.moveTo(&e.owner.unread)
	default:
		e.moveTo(&e.owner.quiet)
	}
	if active && !e.owner.drives() {
		s.enqueue(e)
	} else {
		s.unqueue(e)
	}
}

// enqueue puts an active execution that nobody drives into a line of its plan, by
// the time from which it may be claimed, if there is one.
func (s *Store) enqueue(e *entry) {
	from, ready := e.head.DueAt, e.ready()
	if from.IsZero() && !ready {
		s.unqueue(e) // until there is a message
		return
	}
	now := time.Now()
	if ready && (from.IsZero() || from.After(now)) {
		from = keptTime(now)
		if at, ok := e.waitsSince(); ok && at.Before(from) {
			from = at
		}
	}
	if e.lineUp(from) {
		s.stirred = true
	}
	if !from.After(now) {
		s.tellClaimable()
	}
}

func (s *Store) unqueue(e *entry) {
	if e.leaveLine() {
		s.stirred = true
	}
}

// delete rids the store of an execution.
func (s *Store) delete(e *entry) {
	delete(s.byKey, e.Key)
	s.expiry.remove(e)
	s.unqueue(e)
	e.moveTo(nil)
	e.claim.drop(e)
	s.timeline.remove(e)
	for len(e.tasks) > 0 {
		s.dropTask(e, e.tasks[0].ID)
	}
}

// find returns the execution with the key, or nil.
func (s *Store) find(key store.Key) *entry {
	e, ok := s.byKey[key]
	if !ok {
		return nil
	}
	if at, ok := s.expiry.has(e); ok && !at.After(time.Now()) {
		s.delete(e)
		return nil
	}
	return e
}

// view returns the execution for [own] to make a copy of, without mu.
func (e *entry) view() store.Snapshot {
	x := e.outline()
	x.Cells = slices.Clone(e.cells.list)
	x.Inbox = slices.Clone(e.inbox.list)
	for _, t := range e.tasks {
		x.Tasks = append(x.Tasks, t.Task)
	}
	return x
}

// outline is a view without cells and inbox.
func (e *entry) outline() store.Snapshot {
	return store.Snapshot{Identity: e.Identity, Fence: e.fence(), Head: e.head}
}
