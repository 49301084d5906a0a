package engine

import (
	"sync/atomic"

	"github.com/lockstep-dev/lockstep/store"
)

// atWork counts the executions that the engine has claimed and that are at work here, and
// has claims wait while they are as many as it may have: what is in the store may be far
// more than fits into memory.
//
// At work is one that has an attempt in flight or in the line of turns, or something in its
// mail. What waits for a time, a lock, a child or a message is not: what it waits for may be
// an execution that is yet to be claimed. Whatever is at work comes to its end or to a wait
// by itself, but for bodies that wait for what this engine does not drive: see
// [Engine.crowded].
type atWork struct {
	most int64
	n    atomic.Int64
	// held says that a claim was not made, or not for as many as there may be. Who makes
	// room changes n before it looks, and who claims looks at n after it has said so: one
	// of them knows of the other.
	held  atomic.Bool
	moved atomic.Bool // some have left since it was asked last
}

// room says how many may be claimed.
func (w *atWork) room() int {
	if room := w.most - w.n.Load(); room >= claimBatch {
		return claimBatch
	}
	w.held.Store(true)
	return int(max(w.most-w.n.Load(), 0))
}

// stalled says that there is no room, and that nothing has left since it was asked last.
func (w *atWork) stalled() bool {
	return !w.moved.Swap(false) && w.held.Load() && w.n.Load() >= w.most
}

// wanted has an execution claimed by its key that somebody here waits for, where it would
// stand in line otherwise.
func (e *Engine) wanted(key store.Key) (stands bool) {
	if stands = e.atWork.held.Load(); stands {
		e.doubt(key)
	}
	return stands
}

// enlist counts the run, if it was claimed.
func (r *Run) enlist() {
	if r.taken && !r.working {
		r.working = true
		r.e.atWork.n.Add(1)
	}
}

// atRest counts the run no longer, if it has nothing to do. Its mail is empty.
func (r *Run) atRest() {
	if !r.working || !r.over && (r.flights.any() || r.inLine > 0) {
		return
	}
	r.working = false
	w := &r.e.atWork
	w.n.Add(-1)
	w.moved.Store(true)
	if w.held.Swap(false) {
		r.e.lookForWork()
	}
}
