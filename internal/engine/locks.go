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

// settleLocks ends the scope of an attempt that has landed, and writes into the
// change which locks the execution has and which it is about to give back.
func (r *Run) settleLocks(change *store.Change, commands []machine.Command) []runctx.Hold {
	var leaving []runctx.Hold
	if f := r.flight; f != nil && f.landed {
		if pauses(commands) {
			// A retry that is not immediate must not keep others waiting.
			leaving = f.scope.Surrender()
		} else {
			f.scope.End()
		}
		r.flight = nil
	}
	if finishes(commands) {
		leaving = append(leaving, r.scope.Surrender()...)
	}
	change.Head.Holds = records(r.scope.Records())
	change.Head.Leaving = holdRecords(leaving)
	r.x.Holds, r.x.Leaving = change.Head.Holds, change.Head.Leaving
	return leaving
}

// giveBack releases locks that are recorded as leaving. The end of an execution
// records that they are gone; in its midst the next write does.
func (r *Run) giveBack(leaving []runctx.Hold, last bool) error {
	if len(leaving) == 0 {
		return nil
	}
	freeHolds(r.e.cfg.Logger.With("execution", r.key.String()).Warn, leaving)
	r.x.Leaving = nil
	if !last {
		return nil
	}
	return r.commit(store.Change{Head: r.x.Head})
}

// freeHolds gives holds back. One that gets no answer is told of, and lapses.
func freeHolds(warn func(msg string, args ...any), list []runctx.Hold) {
	ctx, cancel := context.WithTimeout(context.Background(), giveBackTime)
	defer cancel()
	for _, h := range list {
		if _, err := h.Free(ctx); err != nil {
			rec := h.Record()
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
