package engine

import (
	"context"
	"errors"
	"slices"

	"github.com/lockstep-dev/lockstep/internal/machine"
	"github.com/lockstep-dev/lockstep/internal/runctx"
	"github.com/lockstep-dev/lockstep/store"
)

// ErrGuardLost is the error of a guard that has lost a lock: somebody else may have had
// it since.
var ErrGuardLost = errors.New("workflow: a lock of the guard was lost")

// lockEnded is mail: a lock of a guard was lost, or taken by force.
type lockEnded struct{}

func (lockEnded) handle(r *Run) error { return r.loseGuards() }

// watchLocks has the run told when a lock of a guard is lost.
func (r *Run) watchLocks(holds []runctx.Hold) {
	for _, h := range holds {
		h.Watch(func() { r.post(lockEnded{}) })
	}
}

// stricken says that a guard has lost a lock of which its record does not tell yet, and
// that this one is not to be taken again.
func (r *Run) stricken(at store.Place) (lost, final bool) {
	g := r.guards[at]
	if g == nil {
		return false, false
	}
	for _, h := range g.holds {
		if !h.Alive() {
			lost, final = true, final || h.Final()
		}
	}
	if !lost {
		return false, false
	}
	n, _ := r.s.Node(at)
	return len(n.Holds) > 0 && n.Invoke.Waits != store.WaitingForLock, final
}

// lostAround says that a guard around a place has lost a lock.
func (r *Run) lostAround(at store.Place) bool {
	for id := at.Frame; id != 0; {
		parent := r.s.Frame(id).Parent
		if lost, _ := r.stricken(parent); lost {
			return true
		}
		id = parent.Frame
	}
	return false
}

// checkGuards sees to what follows when a guard around a place has lost a lock, before
// anything goes forward in it.
func (r *Run) checkGuards(at store.Place) error {
	if r.lostAround(at) {
		return r.loseGuards()
	}
	return nil
}

// loseGuards sees to what follows when guards have lost locks.
func (r *Run) loseGuards() error {
	if r.s.State.Finished() {
		return nil
	}
	var list []store.Place
	forced := false
	for at := range r.guards {
		if lost, final := r.stricken(at); lost {
			list, forced = append(list, at), forced || final
		}
	}
	if len(list) == 0 {
		return nil
	}
	slices.SortFunc(list, func(a, b store.Place) int {
		if a.Frame != b.Frame {
			return int(a.Frame) - int(b.Frame)
		}
		return a.Node - b.Node
	})
	return r.happen(r.locksLost(list, forced))
}

// locksLost is the event of guards that have lost a lock.
func (r *Run) locksLost(lost []store.Place, final bool) machine.LocksLost {
	r.remember(ErrGuardLost)
	f := failureRecord(r.s.Path(lost[0]), machine.StartAttempt{Phase: machine.Invoke, Number: 1}, ErrGuardLost)
	return machine.LocksLost{Place: lost[0], Failure: f, Others: lost[1:], Final: final}
}

// fenceOff takes over the locks of the guards around a body that is left behind, so
// that it can neither write under their tokens nor free them (I4). The new tokens are
// recorded in the write that starts the next attempt.
func (r *Run) fenceOff(at store.Place) error {
	var lost []store.Place
	forced := false
	for id := at.Frame; id != 0; {
		parent := r.s.Frame(id).Parent
		id = parent.Frame
		g := r.guards[parent]
		n, _ := r.s.Node(parent)
		if g == nil || len(n.Holds) == 0 || n.Invoke.Waits == store.WaitingForLock {
			continue
		}
		ctx, cancel := context.WithTimeout(r.e.past, giveBackTime)
		stands, err := r.renewGuard(ctx, parent, g, n.Holds, 1)
		cancel()
		if err != nil {
			r.e.cfg.Logger.Warn("workflow: a guard's locks could not be taken over from a body that was left behind; they count as lost",
				"execution", r.key.String(), "guard", r.s.Path(parent), "error", err)
		}
		if !stands || err != nil {
			lost, forced = append(lost, parent), forced || errors.Is(err, ErrForced)
		}
	}
	if len(lost) == 0 || r.s.State.Finished() {
		return nil
	}
	return r.happen(r.locksLost(lost, forced))
}
