package engine

import (
	"sync"
	"sync/atomic"

	"github.com/lockstep-dev/lockstep/internal/machine"
	"github.com/lockstep-dev/lockstep/store"
)

// turns lets attempts that may have killed their process be made one at a time, so that
// the next death tells which of them it was (I11).
type turns struct {
	e    *Engine
	mu   sync.Mutex
	line []turn
	now  *turn // whose turn it is
	// any says that there has been one: most engines never have any.
	any atomic.Bool
}

type turn struct {
	r     *Run
	place store.Place
	phase machine.Phase
}

// turnCame is mail: it is the attempt's turn.
type turnCame struct{ turn }

func (m turnCame) handle(r *Run) error {
	r.stand(-1)
	n, _ := r.s.Node(m.place)
	if n.Invoke.Waits != store.WaitingForTurn && n.Compensate.Waits != store.WaitingForTurn {
		r.e.turns.over(r, m.place) // the execution has turned round meanwhile
		return nil
	}
	err := r.happen(machine.TurnCame{Place: m.place, Phase: m.phase})
	if n, _ := r.s.Node(m.place); n.Invoke.Waits == store.WaitingForLock || n.Compensate.Waits == store.WaitingForLock {
		r.e.turns.over(r, m.place)
	}
	return err
}

func (m turnCame) tooLate(r *Run) { r.e.turns.over(r, anywhere) }

// ask puts an attempt into the line.
func (t *turns) ask(r *Run, c machine.AwaitTurn) {
	r.share()
	t.any.Store(true)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.line = append(t.line, turn{r, c.Place, c.Phase})
	t.next()
}

// over ends the turn of an attempt, if it has it.
func (t *turns) over(r *Run, place store.Place) {
	if !t.any.Load() {
		return // nor has this run asked for one
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.now == nil || t.now.r != r || (place != anywhere && t.now.place != place) {
		return
	}
	t.now = nil
	if t.next(); t.now == nil {
		t.e.rouseAll()
	}
}

// take gives the turn to an attempt of a queue, if nobody has it or waits for it.
func (t *turns) take() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.now != nil || len(t.line) > 0 {
		return false
	}
	t.any.Store(true)
	t.now = &turn{}
	return true
}

// give ends the turn of an attempt of a queue.
func (t *turns) give() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now = nil
	if t.next(); t.now == nil {
		t.e.rouseAll()
	}
}

// taken says that somebody has the turn.
func (t *turns) taken() bool {
	if !t.any.Load() {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.now != nil
}

// next requires mu.
func (t *turns) next() {
	if t.now != nil || len(t.line) == 0 {
		return
	}
	first := t.line[0]
	t.line = t.line[1:]
	t.now = &first
	first.r.post(turnCame{first})
}
