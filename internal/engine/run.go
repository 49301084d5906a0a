package engine

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lockstep-dev/lockstep/internal/machine"
	"github.com/lockstep-dev/lockstep/internal/plan"
	"github.com/lockstep-dev/lockstep/store"
)

// Run is an execution as this engine knows it.
//
// Invariants:
//  1. One goroutine at a time has the run: from setting busy, under mu, until it
//     finds no mail and clears it, under mu. It alone touches what is below "the
//     run's".
//  2. What is in memory is ahead of the store only while a goroutine has the run.
type Run struct {
	e    *Engine
	plan *plan.Plan
	key  store.Key
	done chan struct{} // closed when the run has ended
	// waiting are those who wait for that; expected says that one of them is still to come.
	waiting  atomic.Int32
	expected atomic.Bool

	mu   sync.Mutex
	mail []mail
	busy bool

	// The run's.
	s        *machine.State
	errs     map[int]error // of s.Failures, as they were before they were stored
	err      error         // why the run ended without the execution having finished
	joined   bool          // it stands for an execution that is there already
	first    *Run          // the run that drives that one, where it is in this engine
	over     bool
	taken    bool     // it was claimed
	working  bool     // and is counted among those that are at work
	inLine   int      // how many of its attempts are in the line of turns
	lined    bool     // and it is counted among those that only stand there
	restores *barrier // its holds may be taken again that have ended with their process
	claimed  bool     // its locks are not taken over yet
	held     []mail   // what has come since
	writes   uint64
	scopes   scopes
	leaving  departure
	flights  flights
	started  *flight   // is to be flown by the goroutine that has the run
	landing  []*flight // have landed with what is being recorded
	guards   map[store.Place]*guard
	lost     []store.Place     // guards whose locks a claim did not find
	forced   bool              // some of these were taken by force
	claims   []LockWait        // have ended, and an owner before may have asked for them too
	commands []machine.Command // used again
	starts   []machine.StartAttempt
	going    error           // why the run ends, once its bodies have returned
	inbox    []store.Message // that have come early, or were not looked at
	read     []string        // messages whose consumption is not recorded
	later    time.Time       // when errands are tried again that failed
	reading  bool            // one message after the other
	dozing   bool            // it is looked at again whether it rests

	// Of the engine's timers.
	wakeAt time.Time
	place  int

	holders holders

	// room is memory for what every run has.
	room struct {
		mail     [2]mail
		commands [2]machine.Command
		starts   [2]machine.StartAttempt
		landing  [1]*flight
		success  machine.Succeeded
		hash     [sha256.Size]byte
	}
}

// mail is something that happens to a run.
type mail interface {
	// handle returns an error when the run cannot go on.
	handle(r *Run) error
}

func newRun(e *Engine, p *plan.Plan, key store.Key) *Run {
	r := &Run{}
	r.init(e, p, key)
	return r
}

func (r *Run) init(e *Engine, p *plan.Plan, key store.Key) {
	r.e, r.plan, r.key, r.done = e, p, key, make(chan struct{})
	r.mail, r.commands = r.room.mail[:0], r.room.commands[:0]
}

// Key identifies the execution.
func (r *Run) Key() store.Key { return r.key }

// post has something handled, in another goroutine.
func (r *Run) post(m mail) {
	r.share()
	if r.take(m) {
		r.e.workers.do(job{r: r})
	}
}

// take puts something into the mail. It answers true when the caller has the run now,
// and must work.
func (r *Run) take(m mail) (mine bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mail = append(r.mail, m)
	if r.busy {
		return false
	}
	r.busy = true
	return true
}

// work handles the mail of a run that the caller has. An attempt that is started by
// what it handles is made in this goroutine, which does not have the run meanwhile.
func (r *Run) work() {
	var next *flight
	for {
		r.mu.Lock()
		if len(r.mail) == 0 {
			if next == nil {
				r.idle()
				return
			}
			r.busy = false
			r.mu.Unlock()
			if !r.take(next.fly()) {
				return
			}
			next = nil
			continue
		}
		m := r.mail[0]
		r.mail = slices.Delete(r.mail, 0, 1) // its memory is used again
		r.mu.Unlock()
		if next != nil { // it does not wait for what may ask a server
			r.beside(next)
		}
		next = r.handle(m)
	}
}

// idle ends the work of whoever has the run, and mu.
func (r *Run) idle() {
	r.atRest()
	r.busy = false
	over := r.over
	r.mu.Unlock()
	if over {
		r.drop()
	}
}

// beside has an attempt made in a goroutine of its own.
func (r *Run) beside(f *flight) {
	r.share()
	r.e.workers.do(job{r, f})
}

// fly makes an attempt and handles what follows from it.
func (r *Run) fly(f *flight) {
	if r.take(f.fly()) {
		r.work()
	}
}

// handle answers with an attempt that is to be made by the caller.
func (r *Run) handle(m mail) *flight {
	if r.over {
		if c, ok := m.(interface{ tooLate(r *Run) }); ok {
			c.tooLate(r)
		}
		return nil
	}
	if r.going != nil {
		r.see(m)
		return nil
	}
	if r.claimed && r.early(m) {
		return nil
	}
	if err := m.handle(r); err != nil {
		r.leave(err)
	}
	next := r.started
	r.started = nil
	return next
}

// begun is mail: the execution has been created. It is the first: what follows from it
// is in commands.
type begun struct{}

func (begun) handle(r *Run) error {
	commands := r.commands
	r.commands = commands[:0]
	if err := r.after(commands); err != nil || r.over || len(commands) > 0 || !r.sleepsLong() {
		return err
	}
	return r.rest()
}

// woke is mail: something is due.
type woke struct{}

func (woke) handle(r *Run) error {
	r.e.timers.went(r)
	if !r.later.IsZero() && !r.later.After(time.Now()) {
		r.later = time.Time{}
		if err := r.settle(); err != nil || r.over {
			return err
		}
	}
	dozing := r.dozing
	r.dozing = false
	if due := r.s.NextDue(); due.IsZero() || due.After(time.Now()) {
		if r.wait(); dozing {
			return r.rest()
		}
		r.doze()
		return nil
	}
	return r.happen(machine.Woken{})
}

// interrupted is mail: the engine stops, or its lease has run out.
type interrupted struct{ cause error }

func (m interrupted) handle(*Run) error { return m.cause }

// open makes what a run needs that has its state.
func (r *Run) open() {
	r.scopes.open(r)
	r.landing = r.room.landing[:0]
}

// happen lets an event take its course: decide, commit, obey.
func (r *Run) happen(ev machine.Event) error {
	commands, err := r.decide(ev, time.Now())
	if err != nil {
		return err
	}
	return r.record(commands)
}

// record commits what was decided, and does what may only be done then.
func (r *Run) record(commands []machine.Command) error {
	r.settleLocks(commands)
	rests := len(commands) == 0 && r.sleepsLong() && r.mayRest()
	if err := r.commitAnd(rests); err != nil {
		return err
	}
	if rests {
		r.gone()
		return nil
	}
	return r.after(commands)
}

// after does what may only be done once it is recorded.
func (r *Run) after(commands []machine.Command) error {
	if err := r.settle(); err != nil || r.over {
		return err
	}
	r.obey(commands)
	if r.over {
		return nil
	}
	if r.e.base.Err() != nil {
		return context.Cause(r.e.base)
	}
	if len(r.inbox) > 0 {
		return r.readInbox()
	}
	r.doze()
	return nil
}

// decide asks the machine what follows, and evaluates the decisions among it, so
// that they are part of the change. The state in memory is the changed one from
// here on.
func (r *Run) decide(ev machine.Event, now time.Time) ([]machine.Command, error) {
	memory := newMemory()
	commands, err := r.decideIn(memory, ev, now)
	memories.Put(memory)
	if err != nil {
		return nil, err
	}
	if r.s.State != store.Invoking && len(commands) > 0 {
		unkeepStarts(commands)
		if commands, err = r.withdraw(commands, now); err != nil {
			return nil, err
		}
	}
	r.retain()
	r.commands = commands[:0]
	return commands, nil
}

// decideIn returns commands in the memory of the run.
func (r *Run) decideIn(memory *machine.Memory, ev machine.Event, now time.Time) ([]machine.Command, error) {
	commands := r.commands[:0]
	r.starts = r.room.starts[:0]
	var undecided []machine.Command
	for {
		if ev != nil {
			failures := len(r.s.Failures)
			d, err := machine.DecideIn(memory, r.s, ev, now)
			if err != nil {
				return nil, err
			}
			if r.s.ApplyIn(d); len(r.s.Failures) == failures && len(r.errs) > 0 {
				delete(r.errs, failures) // it came to nothing
			}
			for _, c := range d.Commands {
				switch c := c.(type) {
				case machine.Evaluate, machine.Gather:
					undecided = append(undecided, c)
				case *machine.StartAttempt:
					commands = append(commands, r.keepStart(c))
				default:
					commands = append(commands, c)
				}
			}
		}
		if len(undecided) == 0 || r.s.State != store.Invoking {
			return commands, nil // an execution that has turned round decides nothing more
		}
		ev = r.evaluate(undecided[0], now)
		undecided = undecided[1:]
	}
}

// retain says how long a finished execution is kept. A failed one stays until it
// is purged, a child until its parent has ended.
func (r *Run) retain() {
	keep := r.e.cfg.Retention.Given
	if r.s.Generated {
		keep = r.e.cfg.Retention.Generated
	}
	if s := r.s.State; (s == store.Done || s == store.Reverted) && r.s.Parent == nil {
		r.s.ForgetAt = r.s.FinishedAt.Add(keep)
	}
}

// commitAttempts and commitPause are how often a write is sent whose answer did not
// come, and the first pause between; each further one is twice as long.
const (
	commitAttempts = 8
	commitPause    = 5 * time.Millisecond
)

func (r *Run) commit() error { return r.commitAnd(false) }

// commitAnd commits, and lets the execution go with the same write when that is said.
func (r *Run) commitAnd(rest bool) error {
	r.writes++
	r.s.DueAt = r.s.NextDue()
	b := newBatch()
	defer b.free()
	w := &b.writes[0]
	b.created = false
	*w = store.Write{Key: r.key, Fence: r.s.Fence, ID: r.writes, Head: r.s.Head, Cells: r.s.FlushIn(&b.cells), Consumed: r.read}
	w.Tasks, w.Dropped = r.s.FlushTasks()
	w.Release = rest || r.s.State.Finished() && !r.s.Unsettled
	pause := commitPause
	for attempt := 1; ; attempt++ {
		err := r.e.cfg.Store.Commit(r.e.past, b.writes[:])[0]
		if err == nil {
			break
		}
		known := errors.Is(err, store.ErrFenced) || errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrClosed)
		if known || attempt == commitAttempts || r.e.base.Err() != nil {
			return fmt.Errorf("workflow: record what happened to %s: %w", r.key, err)
		}
		select {
		case <-time.After(pause):
		case <-r.e.base.Done():
		}
		pause *= 2
	}
	r.read = nil
	r.s.Revision++
	if r.s.State.Finished() {
		r.e.waits.tell(r.key)
	}
	r.wait()
	return nil
}

// wait has the run woken when something is due.
func (r *Run) wait() {
	at := r.s.DueAt
	if !r.later.IsZero() && (at.IsZero() || r.later.Before(at)) {
		at = r.later
	}
	r.e.timers.set(r, at)
}

// obey carries out what may only be done once it is recorded.
func (r *Run) obey(commands []machine.Command) {
	for _, c := range commands {
		switch c := c.(type) {
		case machine.Park:
			r.post(parkNow{c.Place}) // what follows from it comes after what follows here
		case *machine.StartAttempt:
			r.launch(*c)
		case machine.StartAttempt:
			r.launch(c)
		case machine.CancelAttempt:
			if f := r.flights.at(c.Place); f != nil {
				r.cancelFlight(f, cancelCause(c.Cause))
			} else {
				r.awaitDropped(c.Place)
			}
		case machine.AwaitTurn:
			r.stand(1)
			r.e.turns.ask(r, c)
		case machine.Finish:
		}
	}
}

func cancelCause(c machine.CancelCause) error {
	switch c {
	case machine.Failed:
		return ErrTurned
	case machine.PastTheTime:
		return ErrDeadline
	case machine.LockLost:
		return ErrGuardLost
	}
	return ErrCancelled
}

// end tells those who wait.
func (r *Run) end(err error) {
	r.err, r.over = err, true
	r.e.timers.set(r, time.Time{})
	defer close(r.done) // who is told finds it gone from the runs
	r.e.mu.Lock()
	if r.e.runs[r.key] == r {
		delete(r.e.runs, r.key)
	}
	if errors.Is(err, ErrInterrupted) {
		r.e.interrupted = append(r.e.interrupted, r.key)
	}
	r.e.mu.Unlock()
	r.keepUnfetched()
	r.e.ended.Done()
}

// abandon ends a run that was never driven.
func (r *Run) abandon(err error) { r.end(err) }
