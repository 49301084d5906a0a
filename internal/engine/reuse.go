package engine

import (
	"sync"
	"sync/atomic"

	"github.com/lockstep-dev/lockstep/internal/machine"
	"github.com/lockstep-dev/lockstep/internal/plan"
	"github.com/lockstep-dev/lockstep/store"
)

// The memory of a run is used again: most executions come to their end while somebody
// waits for just that, and nobody else has ever heard of them.
//
// Who may have a run, and read or write its memory, is
//  1. who has begun it, until [Run.Release];
//  2. the goroutine that has the run, until it has found it over, and no mail;
//  3. whoever else has got hold of it: by its key, as one of all runs, by a timer, from
//     the line of turns, as the sender of mail, or as the goroutine of an attempt that is
//     made beside others. Before that can be [Run.share] is called, and the run is left to
//     the garbage collector: nobody knows when they have done with it.
//
// What a body may keep is no part of it: the contexts of attempts, and the scopes that
// these lead to. Nor are the bytes of inputs and outputs.

// holders are those who have a run.
type holders struct {
	// parties counts those of 1 and 2; it never comes to zero where the run's memory is
	// not used again.
	parties atomic.Int32
	shared  atomic.Bool
	memory  *runMemory
}

// runMemory is a run with the state of its execution.
type runMemory struct {
	run Run
	s   machine.State
}

var runMemories = sync.Pool{New: func() any { return new(runMemory) }}

// beginRun returns a run whose memory is used again once it is released, and over.
func beginRun(e *Engine, p *plan.Plan, key store.Key) *Run {
	m, ok := runMemories.Get().(*runMemory)
	if !ok {
		m = new(runMemory)
	}
	r := &m.run
	r.init(e, p, key)
	r.s = &m.s
	r.holders.memory = m
	r.holders.parties.Store(2)
	return r
}

// share says that others than who has begun the run, and the goroutine that has it, may
// get hold of it.
func (r *Run) share() { r.holders.shared.Store(true) }

// Release is called by who has begun the run, once, and says that neither the run nor
// what [Run.Wait] has returned is used any more.
func (r *Run) Release() { r.drop() }

// drop is called by a party that touches the run no more.
func (r *Run) drop() {
	h := &r.holders
	if h.parties.Add(-1) != 0 || h.shared.Load() {
		return
	}
	m := h.memory
	m.run = Run{}
	m.s.Reset()
	runMemories.Put(m)
}
