package engine

import (
	"sync"

	"github.com/lockstep-dev/lockstep/internal/machine"
	"github.com/lockstep-dev/lockstep/store"
)

// memories are for decisions.
var memories = sync.Pool{New: func() any { return machine.NewMemory() }}

func newMemory() *machine.Memory {
	m, ok := memories.Get().(*machine.Memory)
	if !ok {
		m = machine.NewMemory()
	}
	return m
}

// keepStart keeps a command of a decision, whose memory others are about to use: until
// the run's next decision, as its commands.
func (r *Run) keepStart(c *machine.StartAttempt) machine.Command {
	n := len(r.starts)
	if n == cap(r.starts) {
		return *c
	}
	r.starts = append(r.starts, *c)
	return &r.starts[n]
}

// unkeepStarts is for commands that are looked through.
func unkeepStarts(commands []machine.Command) {
	for i, c := range commands {
		if s, ok := c.(*machine.StartAttempt); ok {
			commands[i] = *s
		}
	}
}

// batch is a batch of one write, or a new execution, with its cells.
type batch struct {
	writes [1]store.Write
	create store.Snapshot
	// created says that the batch is a new execution.
	created bool
	cells   machine.CellMemory
}

// batches are used again.
var batches = sync.Pool{New: func() any { return new(batch) }}

func newBatch() *batch {
	b, ok := batches.Get().(*batch)
	if !ok {
		b = new(batch)
	}
	return b
}

// free is given back what was used of it.
func (b *batch) free() {
	if b.created {
		b.create = store.Snapshot{}
	} else {
		b.writes[0] = store.Write{}
	}
	batches.Put(b)
}
