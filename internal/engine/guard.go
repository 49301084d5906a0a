package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/lockstep-dev/lockstep/internal/machine"
	"github.com/lockstep-dev/lockstep/internal/plan"
	"github.com/lockstep-dev/lockstep/internal/runctx"
	"github.com/lockstep-dev/lockstep/store"
)

// ErrNoLocks is the error of a guard in an engine whose container has no lock service.
var ErrNoLocks = errors.New("workflow: the engine's container has no lock service, which a Guard needs")

// lockPause is when a lock provider that did not answer is asked again.
const lockPause = time.Second

// guard is a guard that waits for its locks, or has them.
type guard struct {
	wait  LockWait
	scope *runctx.Scope
	holds []runctx.Hold
}

// ticketNews is mail: locks are offered, or their wait has ended.
type ticketNews struct {
	ticket string
	err    error
}

func (m ticketNews) handle(r *Run) error {
	for at, g := range r.guards {
		if g.wait.Ticket != m.ticket || g.wait.Ticket == "" {
			continue
		}
		if m.err != nil {
			return r.lockFailed(at, m.err)
		}
		return r.claimLocks(at, g)
	}
	return nil
}

// parkNow is mail: a guard's locks are asked for.
type parkNow struct{ at store.Place }

func (m parkNow) handle(r *Run) error {
	if n, _ := r.s.Node(m.at); n.Ticket == "" {
		return nil
	}
	for _, e := range r.s.Errands {
		if e.Kind == store.ReleaseLocks && e.Place == m.at && len(e.Holds) > 0 {
			// What it had has to be gone first: what was taken by force would be refused to it.
			time.AfterFunc(errandPause, func() { r.post(m) })
			return nil
		}
	}
	return r.park(m.at)
}

// park asks for a guard's locks: those that nothing around it has.
func (r *Run) park(at store.Place) error {
	n, _ := r.s.Node(at)
	pn := &r.plan.Nodes[at.Node]
	if r.e.cfg.Keeper == nil {
		return r.lockFailed(at, ErrNoLocks)
	}
	provider, keys, err := r.e.cfg.Keeper.Resolve(pn.Guard.Provider, n.Keys)
	if err != nil {
		return r.lockFailed(at, err)
	}
	g := &guard{scope: r.guardScope(at, n.Attempts)}
	missing := keys[:0:0]
	for _, k := range keys {
		if _, shared := g.scope.Shared(runctx.LockID{Provider: provider, Key: k}); !shared {
			missing = append(missing, k)
		}
	}
	r.enterGuard(at, g)
	if len(missing) == 0 {
		if r.s.Epoch > 1 { // whoever had it before may have put it into a queue
			r.s.AddErrand(store.Errand{Kind: store.CancelTicket, Place: at, Ticket: n.Ticket, Provider: pn.Guard.Provider})
		}
		return r.granted(at, g, nil)
	}
	epoch, attempt := g.scope.Generation()
	g.wait = LockWait{
		Ticket: n.Ticket, Provider: provider, Keys: missing, Owner: g.scope.Owner(), Epoch: epoch, Attempt: attempt,
		Lease: r.e.cfg.LockLease, Most: pn.Guard.MaxHold, Compensation: n.Compensate.State == store.StepCompensating,
		Enclosing: slices.Concat(g.scope.Enclosing(), g.scope.Inside()), Born: r.s.CreatedAt, // nothing in it goes on before
	}
	r.e.tickets.enter(n.Ticket, r)
	offered, err := r.e.cfg.Keeper.Park(r.e.base, g.wait) // others go on with it once the engine has no lease
	switch {
	case errors.Is(err, ErrRefused):
		return r.lockFailed(at, err)
	case err != nil:
		r.askAgain(at, err)
		return nil
	case offered:
		return r.claimLocks(at, g)
	}
	return nil
}

// guardScope returns the scope of a guard. One whose branch has scopes already is the
// same as before, since those stand in it.
func (r *Run) guardScope(at store.Place, attempt uint64) *runctx.Scope {
	if g := r.guards[at]; g != nil {
		g.scope.Rise(attempt)
		return g.scope
	}
	return r.scopes.sequence(r, at.Frame).Guard(r.s.PlaceKey(at), attempt)
}

// guardAt returns the guard at a place, if it is one. One that an owner before had
// begun is there before it has its locks: what runs in it is to find them in its scope.
func (r *Run) guardAt(at store.Place) *guard {
	if g := r.guards[at]; g != nil || r.plan.Nodes[at.Node].Kind != plan.GuardNode {
		return g
	}
	n, _ := r.s.Node(at)
	left := n.Invoke.State != store.StepInvoking || n.Compensate.State == store.StepReverted
	if left && n.Compensate.State != store.StepCompensating {
		return nil
	}
	return r.enterGuard(at, &guard{scope: r.guardScope(at, n.Attempts)})
}

func (r *Run) enterGuard(at store.Place, g *guard) *guard {
	if r.guards == nil {
		r.guards = make(map[store.Place]*guard)
	}
	r.guards[at] = g
	return g
}

// askAgain has a provider asked again that did not answer.
func (r *Run) askAgain(at store.Place, err error) {
	r.e.cfg.Logger.Warn("workflow: the lock provider did not answer; a guard asks it again",
		"execution", r.key.String(), "guard", r.s.Path(at), "error", err)
	time.AfterFunc(lockPause, func() { r.post(parkNow{at}) })
}

// claimLocks takes what is offered to a guard.
func (r *Run) claimLocks(at store.Place, g *guard) error {
	if n, _ := r.s.Node(at); n.Ticket != g.wait.Ticket {
		return nil // it has been given up meanwhile
	}
	holds, err := r.e.cfg.Keeper.Claim(r.e.past, g.wait)
	switch {
	case errors.Is(err, ErrNotOffered):
		// It went on to the next, and comes back; unless an answer was lost, and what was
		// claimed with it since: then it is in no queue.
		time.AfterFunc(lockPause, func() { r.post(parkNow{at}) })
		return nil
	case errors.Is(err, ErrRefused):
		return r.lockFailed(at, err)
	case err != nil:
		r.askAgain(at, err)
		return nil
	}
	return r.granted(at, g, holds)
}

// granted goes on with a guard that has its locks: what runs in it shares them.
func (r *Run) granted(at store.Place, g *guard, holds []runctx.Hold) error {
	r.e.tickets.leave(g.wait.Ticket)
	if r.s.Epoch > 1 && len(holds) > 0 {
		r.claims = append(r.claims, g.wait)
	}
	g.wait.Ticket, g.holds = "", holds
	r.watchLocks(holds)
	for _, h := range holds {
		if err := g.scope.Keep(h); err != nil {
			return fmt.Errorf("workflow: guard %q: %w", r.s.Path(at), err)
		}
	}
	return r.happen(machine.Granted{Place: at, Holds: holdRecords(holds)})
}

// lockFailed fails a guard that cannot have its locks.
func (r *Run) lockFailed(at store.Place, err error) error {
	n, _ := r.s.Node(at)
	if g := r.guards[at]; g != nil {
		r.e.tickets.leave(g.wait.Ticket)
		if g.wait.Ticket = ""; n.Count == 0 || n.Compensate.State == store.StepCompensating {
			g.scope.End()
			delete(r.guards, at)
		} // else what runs in it has its scopes in the guard's
	}
	if n.Ticket == "" {
		return nil
	}
	r.remember(err)
	f := failureRecord(r.s.Path(at), machine.StartAttempt{Phase: machine.Invoke, Number: 1}, err)
	return r.happen(machine.LockFailed{Place: at, Failure: f})
}

// unguard forgets the scopes of guards that have given their locks away: to the guard
// around them, or to the errand that frees them. The frames in them have ended before.
func (r *Run) unguard(which func(at store.Place) bool) {
	for at, g := range r.guards {
		n, _ := r.s.Node(at)
		if !which(at) || len(n.Holds) > 0 {
			continue
		}
		undoing := n.Compensate.State == store.StepCompensating
		forward := n.Invoke.State == store.StepInvoking && n.Compensate.State == store.StepNone
		if forward || undoing && r.unwinds(n) {
			r.forfeit(g) // it is in force, and what it had is lost, or taken again with more
			continue
		}
		if len(g.holds) == 0 && (n.Ticket != "" || undoing) {
			continue // else it was left, and is being compensated already
		}
		delete(r.guards, at)
		r.e.tickets.leave(g.wait.Ticket)
		g.scope.Surrender()
		if len(g.holds) == 0 {
			continue
		}
		r.bequeath(at, g.holds)
	}
}

// bequeath gives the holds of a guard that was left to the outermost one around it, as
// far as its node has them: an errand frees the others.
func (r *Run) bequeath(at store.Place, holds []runctx.Hold) {
	outer, around := r.outermost(at)
	var has []store.Hold
	if outer != nil {
		n, _ := r.s.Node(around)
		has = n.Holds
	}
	for i, rec := range holdRecords(holds) {
		if !slices.Contains(has, rec) {
			r.scopes.gone = append(r.scopes.gone, holds[i])
			continue
		}
		_ = outer.scope.Keep(holds[i]) // it has not ended: its node has this hold
		outer.holds = append(outer.holds, holds[i])
	}
}

// unwinds says that the branch of a guard is being compensated under locks of its own, or
// was left in its midst.
func (r *Run) unwinds(n store.Node) bool {
	return n.Invoke.State == store.StepInvoking || n.Ticket != "" && r.s.Frame(n.First).State == store.FrameUnwinding
}

// forfeit has a guard go on without the locks it had, which an errand gives back as far
// as they stand. Its scope stays: what runs in it finds there what is taken again.
func (r *Run) forfeit(g *guard) {
	for _, h := range g.holds {
		g.scope.Drop(h)
	}
	r.scopes.gone = append(r.scopes.gone, g.holds...)
	g.holds = nil
}

// outermost returns the outermost guard around a place that is in force.
func (r *Run) outermost(at store.Place) (outer *guard, place store.Place) {
	for id := at.Frame; id != 0; {
		parent := r.s.Frame(id).Parent
		if r.plan.Nodes[parent.Node].Kind == plan.GuardNode && r.guards[parent] != nil {
			outer, place = r.guards[parent], parent
		}
		id = parent.Frame
	}
	return outer, place
}

// freeLocks gives back what an errand says.
func (r *Run) freeLocks(ctx context.Context, n uint32, holds []store.Hold) error {
	live := r.scopes.freeing[n]
	delete(r.scopes.freeing, n)
	known := make(map[store.Hold]bool, len(live))
	for _, rec := range holdRecords(live) {
		known[rec] = true
	}
	for i, rec := range holdRecords(r.scopes.gone) {
		for _, h := range holds {
			if h == rec && !known[rec] {
				known[rec], live = true, append(live, r.scopes.gone[i])
			}
		}
	}
	var others []store.Hold
	for _, h := range holds {
		if !known[h] {
			others = append(others, h)
		}
	}
	live = slices.DeleteFunc(live, func(h runctx.Hold) bool {
		behind := r.scopes.root.Occupied(h)
		if behind {
			h.Abandon() // a body that was left behind believes to have it (I4)
		}
		return behind
	})
	if len(live) > 0 {
		freeHolds(r.e.cfg.Logger.With("execution", r.key.String()).Warn, live)
	}
	if len(others) == 0 || r.e.cfg.Keeper == nil {
		return nil
	}
	return r.e.cfg.Keeper.Free(ctx, others)
}

// takeOver takes over what the execution held under its owner before, ahead of
// everything else that a claim does.
func (r *Run) takeOver() error {
	if r.e.cfg.Keeper == nil || r.s.State.Finished() {
		return nil
	}
	ctx := r.e.past
	r.lost, r.forced = nil, false
	// The scopes of frames stand in those of the guards around them.
	for at, holds := range r.s.GuardHolds {
		if err := r.takeOverGuard(ctx, at, holds); err != nil {
			return err
		}
	}
	for id := range r.s.Frames {
		frame := store.FrameID(id)
		if err := r.takeOverFrame(ctx, frame); err != nil {
			return err
		}
	}
	return nil
}

// takeHolds takes holds of one owner over. Those that have ended with the process before are
// taken again, where nobody else can have had them.
func (r *Run) takeHolds(ctx context.Context, holds []store.Hold, as Generation, most time.Duration) (taken []runctx.Hold, stands bool, err error) {
	taken, stands, err = r.e.cfg.Keeper.TakeOver(ctx, holds, as, r.e.cfg.LockLease, most)
	if !stands && err == nil && r.restores.may(holds, r.s.Epoch) {
		return r.e.cfg.Keeper.Restore(ctx, holds, as, r.e.cfg.LockLease, most)
	}
	return taken, stands, err
}

// takeOverFrame takes over what steps have left to a sequence. What is lost of that is
// told: no step in flight relies on it.
func (r *Run) takeOverFrame(ctx context.Context, id store.FrameID) error {
	var left []store.Hold
	for _, h := range r.s.Frame(id).Holds {
		as := Generation{Epoch: r.s.Epoch, Attempt: h.Attempt}
		taken, stands, err := r.takeHolds(ctx, []store.Hold{h}, as, 0)
		switch {
		case err != nil && !errors.Is(err, ErrForced):
			return err
		case !stands:
			r.e.cfg.Logger.Warn("workflow: a lock that a step had left to its execution was lost", "execution", r.key.String(), "key", h.Key)
			continue
		}
		for _, hold := range taken {
			if err := r.scopes.sequence(r, id).Keep(hold); err != nil {
				return err
			}
		}
		left = append(left, holdRecords(taken)...)
	}
	r.s.SetHolds(id, left)
	return nil
}

// takeOverGuard takes over the locks of a guard that a claim has found.
func (r *Run) takeOverGuard(ctx context.Context, at store.Place, holds []store.Hold) error {
	n, _ := r.s.Node(at)
	g := r.guards[at]
	if g == nil { // else it was begun before, and did not come to its end
		g = r.enterGuard(at, &guard{scope: r.guardScope(at, n.Attempts)})
	}
	stands, err := r.renewGuard(ctx, at, g, holds, 0)
	if errors.Is(err, ErrForced) {
		r.forced, err = true, nil
	}
	if err == nil && !stands {
		r.lost = append(r.lost, at)
	}
	return err
}

// renewGuard takes over the locks of a guard with new tokens, later by some attempts. It
// answers false when one of them is lost. What it has taken over is noted with the next
// write, also where it comes to nothing in the end.
func (r *Run) renewGuard(ctx context.Context, at store.Place, g *guard, holds []store.Hold, later uint64) (stands bool, err error) {
	renewed := make([]store.Hold, 0, len(holds))
	stands = true
	for _, list := range byOwner(holds) {
		var taken []runctx.Hold
		if stands && err == nil {
			as := Generation{Epoch: r.s.Epoch, Attempt: list[0].Attempt + later}
			taken, stands, err = r.takeHolds(ctx, list, as, r.plan.Nodes[at.Node].Guard.MaxHold)
		}
		if len(taken) == 0 {
			renewed = append(renewed, list...)
			continue
		}
		g.holds = slices.DeleteFunc(g.holds, func(h runctx.Hold) bool {
			return slices.ContainsFunc(taken, func(t runctx.Hold) bool { return t.Record().LockID == h.Record().LockID })
		})
		for _, h := range taken {
			if err := g.scope.Keep(h); err != nil {
				return false, err
			}
		}
		g.holds = append(g.holds, taken...)
		r.watchLocks(taken)
		renewed = append(renewed, holdRecords(taken)...)
	}
	_, wrong := r.decide(machine.RenewedHolds{Place: at, Holds: renewed}, time.Now())
	return stands && err == nil && wrong == nil, errors.Join(err, wrong)
}

// byOwner groups holds by who has them at which provider.
func byOwner(holds []store.Hold) (groups [][]store.Hold) {
	for _, h := range holds {
		i := slices.IndexFunc(groups, func(g []store.Hold) bool { return g[0].Provider == h.Provider && g[0].Owner == h.Owner })
		if i < 0 {
			groups = append(groups, []store.Hold{h})
			continue
		}
		groups[i] = append(groups[i], h)
	}
	return groups
}
