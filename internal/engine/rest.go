package engine

import (
	"errors"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

// An execution rests when all that it waits for is a time that is far away, or a message,
// of which nothing has been heard for a while. Nothing of it is in this process then: it
// has no owner in the store, which gives it to whoever asks when its time or a message has
// come. So the store bounds how many executions may sleep, not the memory of an instance.
//
// What holds or wants a lock does not rest, since locks are renewed by its owner, nor does
// what somebody in this process waits for: a goroutine costs more than the run. A store
// that ends with the process is in its memory anyway, and a stop waits for what it has.

// errRests ends the run of an execution that rests.
var errRests = errors.New("workflow: the execution rests")

// mayRest says whether the execution could be let go with a write that is about to be
// made.
func (r *Run) mayRest() bool {
	return r.e.rests() && r.waiting.Load() == 0 && !r.reading && len(r.inbox) == 0 &&
		!r.flights.any() && len(r.guards) == 0 && len(r.lost) == 0 &&
		len(r.leaving.free)+len(r.leaving.lapse)+len(r.scopes.freeing) == 0 && r.s.Rests()
}

func (e *Engine) rests() bool { return e.cfg.RestAfter > 0 && e.info.Durable }

// sleepsLong says that nothing is due before an execution may rest.
func (r *Run) sleepsLong() bool {
	if !r.e.rests() {
		return false
	}
	due := r.s.NextDue()
	return !due.IsZero() && time.Until(due) > r.e.cfg.RestAfter
}

// doze has the run looked at again, if nothing happens at it till then.
func (r *Run) doze() {
	if !r.e.rests() || r.over || r.flights.any() || r.s.State.Finished() {
		return
	}
	at := time.Now().Add(r.e.cfg.RestAfter)
	if r.wakeAt.IsZero() || r.wakeAt.After(at) {
		r.dozing = true
		r.e.timers.set(r, at)
	}
}

// rest lets the execution go, if nothing is in its way.
func (r *Run) rest() error {
	if !r.mayRest() {
		return nil
	}
	if err := r.commitAnd(true); err != nil {
		return err
	}
	r.gone()
	return nil
}

// gone ends the run of an execution that was let go.
func (r *Run) gone() {
	r.e.turns.over(r, anywhere)
	r.cancelClaims()
	r.end(errRests)
}

// unattended is mail: nobody in this process waits for the execution any more.
type unattended struct{}

func (unattended) handle(r *Run) error {
	if due := r.s.NextDue(); due.IsZero() || r.sleepsLong() {
		return r.rest()
	}
	return nil
}

// restsInStore says that nobody drives the execution, and that it has not ended.
func restsInStore(x *store.Snapshot) bool { return x.Owner.None() && !x.State.Finished() }
