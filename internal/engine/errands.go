package engine

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

func itoa(n int) string { return strconv.Itoa(n) }

// errandPause is when an errand is tried again that failed.
const errandPause = time.Second

// settle does what the execution has to do elsewhere, which is recorded by now, and
// ends a run that has finished. What was done is recorded with the next write; a
// finished execution makes one for it.
func (r *Run) settle() error {
	abandon(r.leaving.lapse)
	r.leaving.lapse = nil
	did := r.runErrands()
	if !r.s.State.Finished() {
		return nil
	}
	if did || len(r.read) > 0 {
		if err := r.commit(); err != nil {
			return err
		}
	}
	if r.s.Unsettled {
		return nil // it is tried again
	}
	r.cancelClaims()
	r.end(nil)
	return nil
}

// cancelClaims ends the waits once more that have got locks. It is for a run that ends:
// what they got has been given back.
func (r *Run) cancelClaims() {
	for _, w := range r.claims {
		r.e.helpers.Go(func() { r.e.cancelAgain(w) })
	}
}

// runErrands answers whether one was done.
func (r *Run) runErrands() (did bool) {
	var done []uint32
	for n, e := range r.s.Errands {
		err := r.runErrand(n, e)
		if err != nil {
			r.e.cfg.Logger.Warn("workflow: something that follows from an execution could not be done, trying again",
				"execution", r.key.String(), "what", string(e.Kind), "target", e.Target.String(), "error", err)
			r.later = time.Now().Add(errandPause)
			r.wait()
			break // in order
		}
		done = append(done, n)
	}
	for _, n := range done {
		r.s.ErrandDone(n)
	}
	return len(done) > 0
}

func (r *Run) runErrand(n uint32, e store.Errand) error {
	ctx := r.e.past
	if (e.Kind == store.StartChild || e.Kind == store.RevertChild) && r.s.State.Finished() {
		return nil // it was done, since the child has ended, and by now may be forgotten
	}
	switch e.Kind {
	case store.ReleaseLocks:
		return r.freeLocks(ctx, n, e.Holds)
	case store.CancelTicket:
		return r.cancelWait(ctx, e)
	case store.StartChild:
		return r.startChild(e)
	case store.RevertChild:
		return r.e.deliver(ctx, e.Target, "revert/"+r.s.RunUID+"/"+itoa(int(n)), store.Event{Kind: store.Revert, At: time.Now()})
	case store.ForgetChild:
		return r.e.forgetChild(ctx, e.Target)
	case store.AnswerParent:
		if !r.s.State.Finished() {
			return nil // it was asked to revert since, and answers when that is done
		}
		ev := store.Event{Kind: store.ChildEnded, Place: e.Place, State: r.s.State, Revision: e.Revision, Output: r.s.Output, Failures: r.s.Failures, At: time.Now()}
		err := r.e.deliver(ctx, e.Target, "child/"+r.s.RunUID+"/"+strconv.FormatUint(e.Revision, 10), ev)
		if errors.Is(err, store.ErrNotFound) {
			return nil // nobody waits for it any more
		}
		return err
	}
	return nil
}

// cancelWait takes a guard's wait out of the queues.
func (r *Run) cancelWait(ctx context.Context, e store.Errand) error {
	r.e.tickets.leave(e.Ticket)
	if r.e.cfg.Keeper == nil {
		return nil
	}
	n, _ := r.s.Node(e.Place)
	provider, keys, err := r.e.cfg.Keeper.Resolve(e.Provider, n.Keys)
	if errors.Is(err, ErrRefused) { // nor was it asked for here
		r.e.cfg.Logger.Warn("workflow: a wait for locks cannot be ended by this engine, and stays in the queues until its offer lapses",
			"execution", r.key.String(), "ticket", e.Ticket, "provider", e.Provider, "error", err)
		return nil
	}
	if err != nil {
		return err
	}
	scope := r.scopes.root.Guard(r.s.PlaceKey(e.Place), n.Attempts) // its frame may have ended
	defer scope.Surrender()
	epoch, attempt := scope.Generation()
	w := LockWait{
		Ticket: e.Ticket, Provider: provider, Keys: keys, Owner: scope.Owner(), Epoch: epoch, Attempt: attempt, Lease: r.e.cfg.LockLease,
	}
	if err := r.e.cfg.Keeper.Cancel(ctx, w); err != nil {
		return err
	}
	if epoch > 1 {
		r.e.helpers.Go(func() { r.e.cancelAgain(w) })
	}
	return nil
}

// cancelAgain ends a wait once more, when what an owner before has sent for it has
// surely arrived: nobody else would ever take that ticket out of the queues.
func (e *Engine) cancelAgain(w LockWait) {
	select {
	case <-time.After(2 * e.cfg.Lease):
	case <-e.life.Done():
		return
	}
	if err := e.cfg.Keeper.Cancel(e.life, w); err != nil && e.life.Err() == nil {
		e.cfg.Logger.Warn("workflow: could not make sure that a wait for locks has ended", "ticket", w.Ticket, "error", err)
	}
}
