package engine

import (
	"context"
	"slices"
	"time"

	"github.com/lockstep-dev/lockstep/internal/machine"
	"github.com/lockstep-dev/lockstep/internal/runctx"
	"github.com/lockstep-dev/lockstep/store"
)

// giveBackTime bounds one round of giving locks back. What is not given back by
// then lapses with its lease, since nobody renews it any more.
const giveBackTime = 5 * time.Second

// scopes are the owners of an execution's locks: its frames.
type scopes struct {
	root   *runctx.Scope
	memory *scopeMemory
	frames map[store.FrameID]*runctx.Scope // but for frame 0
	// freeing has the holds of the errands that give them back, as far as this process
	// has them.
	freeing map[uint32][]runctx.Hold
	// gone are holds of guards that have been left.
	gone []runctx.Hold
}

// departure is what an execution has no use for any more. It is acted upon when
// that is recorded.
type departure struct {
	free  []runctx.Hold // to be given back
	lapse []runctx.Hold // to be left to their leases
}

// scopeMemory is for what bodies may keep, also when their execution has long ended.
type scopeMemory struct {
	root  runctx.Root
	first runctx.AttemptContext
	flown bool // first is used
}

func (s *scopes) open(r *Run) {
	s.memory = new(scopeMemory)
	s.root = s.memory.root.Init(r.e.info.ID, r.s.RunUID, r.s.Epoch, r.e.cfg.LockLease)
}

// context returns a context for an attempt.
func (s *scopes) context(r *Run) *runctx.AttemptContext {
	c := &s.memory.first
	if s.memory.flown {
		c = new(runctx.AttemptContext)
	}
	s.memory.flown, c.Base = true, r.e.base
	return c
}

// sequence returns the scope of a frame.
func (s *scopes) sequence(r *Run, id store.FrameID) *runctx.Scope {
	if id == 0 {
		return s.root
	}
	if scope := s.frames[id]; scope != nil {
		return scope
	}
	f := r.s.Frame(id)
	parent := s.sequence(r, f.Parent.Frame)
	if g := r.guardAt(f.Parent); g != nil {
		parent = g.scope
	}
	scope := parent.Sequence(r.s.PlaceKey(f.Parent) + "." + itoa(f.Branch))
	if s.frames == nil {
		s.frames = make(map[store.FrameID]*runctx.Scope)
	}
	s.frames[id] = scope
	return scope
}

// depart sorts holds that no scope keeps any more. A lock that a body believes to
// have which was left behind must not be handed on while its lease runs (I4).
func (r *Run) depart(list []runctx.Hold) {
	for _, h := range list {
		if r.scopes.root.Occupied(h) {
			r.leaving.lapse = append(r.leaving.lapse, h)
		} else {
			r.leaving.free = append(r.leaving.free, h)
		}
	}
}

// settleLocks ends the scopes of attempts that have landed and of frames that have
// ended, and writes into the change which locks the execution has and which it is
// about to give back. What is left to its lease is in no record: there is nothing to
// be done about it.
func (r *Run) settleLocks([]machine.Command) {
	for _, f := range r.landing {
		r.flights.remove(f)
		if r.s.Pauses(f.start.Place) {
			// A retry that is not immediate must not keep others waiting.
			r.depart(f.ctx.Locks.Pause(f.first()))
		} else {
			f.ctx.Locks.End()
		}
		r.flights.landed(f)
	}
	r.landing = r.landing[:0]
	if ended := r.s.TakeEnded(); len(ended) > 0 {
		slices.Sort(ended)                          // what is run here ends no frame
		for _, id := range slices.Backward(ended) { // what stands in another one comes first
			r.unguard(func(at store.Place) bool { return at.Frame == id })
			r.endScope(id)
		}
	}
	if len(r.guards) > 0 {
		r.unguard(func(store.Place) bool { return true })
	}
	if r.scopes.root.Quiet() {
		return
	}
	r.noteHolds(0, r.scopes.root)
	for id, scope := range r.scopes.frames {
		r.noteHolds(id, scope)
	}
	if len(r.leaving.free) > 0 {
		r.scopes.free(r.s.AddErrand(store.Errand{Kind: store.ReleaseLocks, Holds: holdRecords(r.leaving.free)}), r.leaving.free)
		r.leaving.free = nil
	}
}

// endScope takes the locks of a frame that has ended. Frame 0 ends with the execution.
func (r *Run) endScope(id store.FrameID) {
	switch scope := r.scopes.frames[id]; {
	case id == 0 && r.s.State.Finished():
		r.depart(r.scopes.root.Surrender())
	case scope != nil:
		r.depart(scope.Surrender())
		r.s.SetHolds(id, nil)
		delete(r.scopes.frames, id)
	}
}

func (r *Run) noteHolds(id store.FrameID, scope *runctx.Scope) {
	holds := records(scope.Records())
	if !slices.Equal(holds, r.s.Frame(id).Holds) {
		r.s.SetHolds(id, holds)
	}
}

func (s *scopes) free(errand uint32, list []runctx.Hold) {
	if s.freeing == nil {
		s.freeing = make(map[uint32][]runctx.Hold)
	}
	s.freeing[errand] = list
}

// first is the ordinal of the first attempt of the flight's phase.
func (f *flight) first() uint64 { return f.start.Ordinal - uint64(f.start.Number-1) }

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
