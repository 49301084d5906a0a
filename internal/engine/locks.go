package engine

import (
	"context"
	"time"

	"github.com/lockstep-dev/lockstep/internal/machine"
	"github.com/lockstep-dev/lockstep/internal/runctx"
	"github.com/lockstep-dev/lockstep/store"
)

// giveBackTime bounds one round of giving locks back. What is not given back by
// then lapses with its lease, since nobody renews it any more.
const giveBackTime = 5 * time.Second

// departure is what an execution has no use for any more. It is acted upon when
// that is recorded.
type departure struct {
	free  []runctx.Hold // to be given back
	lapse []runctx.Hold // to be left to their leases
}

// depart sorts holds that no scope keeps any more. A lock that a body believes to
// have which was left behind must not be handed on while its lease runs.
func (r *Run) depart(list []runctx.Hold) {
	for _, h := range list {
		if r.scope.Occupied(h) {
			r.leaving.lapse = append(r.leaving.lapse, h)
		} else {
			r.leaving.free = append(r.leaving.free, h)
		}
	}
}

// settleLocks ends the scope of an attempt that has landed, and writes into the
// change which locks the execution has and which it is about to give back. What
// is left to its lease is in no record: there is nothing to be done about it.
func (r *Run) settleLocks(change *store.Change, commands []machine.Command) {
	if f := r.flight; f != nil && f.landed {
		if pauses(commands) {
			// A retry that is not immediate must not keep others waiting.
			r.depart(f.scope.Pause(f.first()))
		} else {
			f.scope.End()
		}
		r.flight = nil
	}
	if finishes(commands) {
		r.depart(r.scope.Surrender())
	}
	change.Head.Holds = records(r.scope.Records())
	change.Head.Leaving = holdRecords(r.leaving.free)
	r.x.Holds, r.x.Leaving = change.Head.Holds, change.Head.Leaving
}

// first is the ordinal of the first attempt of the flight's phase.
func (f *flight) first() uint64 { return f.start.Ordinal - uint64(f.start.Number-1) }

// giveBack lets go of locks whose departure is recorded. The end of an execution
// records that they are gone; in its midst the next write does.
func (r *Run) giveBack(last bool) error {
	recorded := len(r.x.Leaving) > 0
	r.letGo()
	r.x.Leaving = nil
	if !last || !recorded {
		return nil
	}
	return r.commit(store.Change{Head: r.x.Head})
}

// letGo acts upon the departure.
func (r *Run) letGo() {
	left := r.leaving
	r.leaving = departure{}
	abandon(left.lapse)
	if len(left.free) > 0 {
		freeHolds(r.e.cfg.Logger.With("execution", r.key.String()).Warn, left.free)
	}
}

// abandon leaves holds to their leases. It is not remembered which: a body that
// returns before one has lapsed would spare others the rest of a lease at most.
func abandon(list []runctx.Hold) {
	for _, h := range list {
		h.Abandon()
	}
}

// freeHolds gives holds back, with one call a provider. One that gets no answer is
// told of, and lapses.
func freeHolds(warn func(msg string, args ...any), list []runctx.Hold) {
	ctx, cancel := context.WithTimeout(context.Background(), giveBackTime)
	defer cancel()
	_, errs := runctx.FreeAll(ctx, list)
	for i, err := range errs {
		if err != nil {
			rec := list[i].Record()
			warn("workflow: could not give a lock back; it lapses with its lease", "key", rec.Key, "provider", rec.Provider, "error", err)
		}
	}
}

func pauses(commands []machine.Command) bool {
	for _, c := range commands {
		if _, ok := c.(machine.WakeAt); ok {
			return true
		}
	}
	return false
}

func holdRecords(list []runctx.Hold) []store.Hold {
	var all []runctx.HoldRecord
	for _, h := range list {
		all = append(all, h.Record())
	}
	return records(all)
}

func records(list []runctx.HoldRecord) []store.Hold {
	var all []store.Hold
	for _, h := range list {
		all = append(all, store.Hold{
			Provider: h.Provider, Key: h.Key, Owner: h.Owner,
			Epoch: h.Epoch, Attempt: h.Attempt, Token: h.Token,
		})
	}
	return all
}
