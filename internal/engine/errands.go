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
	r.end(nil)
	return nil
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
	switch e.Kind {
	case store.ReleaseLocks:
		return r.freeLocks(ctx, n, e.Holds)
	case store.CancelTicket:
		return r.cancelWait(ctx, e)
	case store.StartChild:
		return r.startChild(ctx, e)
	case store.RevertChild:
		return r.e.deliver(ctx, e.Target, "revert/"+r.s.RunUID+"/"+itoa(int(n)), store.Event{Kind: store.Revert, At: time.Now()})
	case store.ForgetChild:
		return r.e.forgetChild(ctx, e.Target)
	case store.AnswerParent:
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
	if err != nil {
		return nil
	}
	scope := r.scopes.sequence(r, e.Place.Frame).Guard(r.s.PlaceKey(e.Place), n.Attempts)
	defer scope.Surrender()
	epoch, attempt := scope.Generation()
	return r.e.cfg.Keeper.Cancel(ctx, LockWait{
		Ticket: e.Ticket, Provider: provider, Keys: keys, Owner: scope.Owner(), Epoch: epoch, Attempt: attempt, Lease: r.e.cfg.LockLease,
	})
}
