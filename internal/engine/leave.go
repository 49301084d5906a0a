package engine

import (
	"github.com/lockstep-dev/lockstep/store"
)

// leave ends a run that cannot go on: the engine stops, or what happened could
// not be recorded. Its bodies are told, and waited for.
func (r *Run) leave(err error) {
	if r.over {
		return
	}
	r.going = err
	for _, f := range r.landing {
		f.ctx.Locks.End()
		r.flights.remove(f)
	}
	r.landing = nil
	for _, m := range r.held {
		r.see(m)
	}
	r.held = nil
	for f := range r.flights.all {
		r.cancelFlight(f, err)
	}
	r.left()
}

// see notes the return of a body while the run ends.
func (r *Run) see(m mail) {
	var f *flight
	switch m := m.(type) {
	case *landing:
		f = (*flight)(m)
	case graceOver:
		if f = m.f; !f.given {
			f.ctx.Locks.LeaveBehind()
		}
	default:
		if late, ok := m.(interface{ tooLate(r *Run) }); ok {
			late.tooLate(r)
		}
		return
	}
	if f.given {
		return
	}
	_ = f.ground()
	f.ctx.Locks.End()
	r.flights.remove(f)
	r.left()
}

// left ends the run once no body is waited for. Where the store outlives the process,
// the execution's locks, also those that were about to be given back, are left to
// whoever takes it over, and lapse otherwise.
func (r *Run) left() {
	if r.flights.any() {
		return
	}
	r.e.turns.over(r, anywhere)
	if r.scopes.root != nil {
		r.depart(r.scopes.root.Surrender())
	}
	for _, list := range r.scopes.freeing {
		r.leaving.free = append(r.leaving.free, list...)
	}
	left := r.leaving
	if r.e.info.Durable {
		left = departure{lapse: append(left.lapse, left.free...)}
	}
	r.leaving, r.scopes.freeing = departure{}, nil
	abandon(left.lapse)
	if len(left.free) > 0 {
		freeHolds(r.e.cfg.Logger.With("execution", r.key.String()).Warn, left.free)
	}
	r.end(r.going)
	if inDoubt(r.going) {
		r.e.doubt(r.key)
	}
}

// anywhere stands for each place of a run.
var anywhere = store.Place{Node: -1}
