package lockhistory

import (
	"slices"
	"sync"
)

// Recorder keeps the operations of one process.
type Recorder struct {
	Clock   *Clock
	Process int
	// Say, where it is set, is told of each operation twice: before it begins, and when
	// it has returned. It must have passed the former on when it returns, so that one
	// which began is known even if the process is killed.
	Say func(Op)

	mu      sync.Mutex
	serial  int
	ops     []Op
	trouble troubles
}

// NewRecorder returns a recorder of the process with that number.
func NewRecorder(process int) *Recorder { return &Recorder{Clock: NewClock(), Process: process} }

// begin notes that operations begin now.
func (r *Recorder) begin(ops []Op) {
	r.mu.Lock()
	for i := range ops {
		r.serial++
		ops[i].Process, ops[i].Serial, ops[i].Return = r.Process, r.serial, Never
	}
	r.mu.Unlock()
	if r.Say != nil {
		for i := range ops {
			ops[i].Call = r.Clock.Now() // before it is passed on, which takes time
			r.Say(ops[i])
		}
	}
	now := r.Clock.Now()
	for i := range ops {
		ops[i].Call = now
	}
}

// end notes that operations have returned.
func (r *Recorder) end(ops []Op) {
	now := r.Clock.Now()
	for i := range ops {
		ops[i].Return = now
		if r.Say != nil {
			r.Say(ops[i])
		}
	}
	if r.Say == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.ops = append(r.ops, ops...)
	}
}

// History is what was recorded, in one process or in several.
type History struct {
	Ops      []Op
	Troubles []Trouble
}

// History returns what was recorded so far. What has not returned is missing.
func (r *Recorder) History() History {
	r.mu.Lock()
	defer r.mu.Unlock()
	return History{slices.Clone(r.ops), r.trouble.list()}
}

// Heard is the history of a process that has said all this.
func Heard(said []Op) History {
	last := map[[2]int]int{}
	var h History
	for _, op := range said {
		if i, ok := last[op.id()]; ok {
			h.Ops[i] = op
			continue
		}
		last[op.id()] = len(h.Ops)
		h.Ops = append(h.Ops, op)
	}
	return h
}

// Together puts the histories of several processes together.
func Together(all ...History) History {
	var h History
	for _, one := range all {
		h.Ops = append(h.Ops, one.Ops...)
		h.Troubles = append(h.Troubles, one.Troubles...)
	}
	return h
}
