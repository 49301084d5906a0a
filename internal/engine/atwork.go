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
	// lined counts those that only stand in the line of turns.
	lined atomic.Int64
	still int64 // for how often nothing has left; the claiming goroutine's
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
//
// Where most stand in the line of turns, nothing leaves for as long as one body takes, and
// what is claimed comes to stand behind them. So for each batch, or part of one, beyond what
// there may be, nothing must have left once more: in the end that is longer than a body
// takes, and if it waits for what is yet to be claimed, that is claimed all the same.
func (w *atWork) stalled() bool {
	n := w.n.Load()
	if w.moved.Swap(false) || !w.held.Load() || n < w.most {
		w.still = 0
		return false
	}
	if w.still++; 2*w.lined.Load() > n && w.still <= (n-w.most+claimBatch-1)/claimBatch {
		return false
	}
	w.still = 0
	return true
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
		r.countLine()
	}
}

// stand notes that so many more of the run's attempts are in the line of turns.
func (r *Run) stand(more int) {
	r.inLine += more
	r.countLine()
}

// countLine counts the run among those that stand in the line of turns, if it does.
func (r *Run) countLine() {
	if stands := r.working && r.inLine > 0 && !r.flights.any(); stands != r.lined {
		r.lined = stands
		if stands {
			r.e.atWork.lined.Add(1)
		} else {
			r.e.atWork.lined.Add(-1)
		}
	}
}

// atRest counts the run no longer, if it has nothing to do. Its mail is empty.
func (r *Run) atRest() {
	r.countLine()
	if !r.working || !r.over && (r.flights.any() || r.inLine > 0 || r.claimed) {
		return
	}
	r.working = false
	r.countLine()
	w := &r.e.atWork
	w.n.Add(-1)
	w.moved.Store(true)
	if w.held.Swap(false) {
		r.e.lookForWork()
	}
}
