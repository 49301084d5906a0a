package engine

import (
	"context"
	"errors"
	"time"

	"github.com/lockstep-dev/lockstep/internal/machine"
	"github.com/lockstep-dev/lockstep/store"
)

// claimBatch is how many executions are claimed at once, at most.
const claimBatch = 100

// claimWhatIsLeft claims executions that nobody drives: when the store says that there
// are some, and from time to time.
func (e *Engine) claimWhatIsLeft() {
	tick := time.NewTicker(e.cfg.Lease / 2)
	defer tick.Stop()
	for {
		for e.claim() {
		}
		select {
		case <-e.life.Done():
			return
		case <-tick.C:
			e.lookForMessages()
			e.crowded()
		case <-e.claims:
		}
	}
}

// lookForMessages finds what the store did not tell of.
func (e *Engine) lookForMessages() {
	keys, err := e.cfg.Store.Unread(e.life, e.me)
	if err != nil && e.life.Err() == nil {
		e.cfg.Logger.Warn("workflow: could not look for messages; trying again", "error", err)
	}
	for _, key := range keys {
		e.unread(key)
	}
}

// unread has an execution of this engine look for its messages. One that nothing here
// drives is claimed.
func (e *Engine) unread(key store.Key) {
	if r := e.Find(key); r != nil {
		r.post(lookIntoInbox{})
		return
	}
	e.doubt(key)
	e.lookForWork()
}

// lookForWork has the engine claim what there is.
func (e *Engine) lookForWork() {
	select {
	case e.claims <- struct{}{}:
	default:
	}
}

// claim answers whether there may be more.
func (e *Engine) claim() (more bool) {
	e.mu.Lock()
	running := e.running
	e.mu.Unlock()
	if !running {
		return false
	}
	if keys := e.doubtful(); len(keys) > 0 {
		if _, answered := e.take(store.Claim{Keys: keys, Limit: claimBatch}); answered {
			e.doubted(keys)
		}
	}
	room := e.atWork.room()
	if room == 0 { // what holds locks has others wait for them
		got, _ := e.take(store.Claim{Holders: true, Limit: claimBatch})
		return len(got) == claimBatch
	}
	got, _ := e.take(store.Claim{Limit: room})
	if len(got) < room {
		return false
	}
	return got[room-1].Holding || e.atWork.room() > 0 // those that hold locks came first
}

// crowded claims some executions although there is no room, where nothing has left since
// the last time: what is at work may wait for one of them in ways that nobody sees, or for
// long.
func (e *Engine) crowded() {
	if e.atWork.stalled() {
		e.take(store.Claim{Limit: claimBatch})
	}
}

// take claims executions, and goes on with them. It returns them, and says whether the
// store has answered.
func (e *Engine) take(c store.Claim) (got []store.Claimed, answered bool) {
	got, err := e.ask(e.life, c)
	if err != nil {
		if e.life.Err() == nil {
			e.cfg.Logger.Warn("workflow: could not look for executions that nobody drives; trying again", "error", err)
		}
		return nil, false
	}
	for i := range got {
		if r := e.adopt(got[i]); r != nil {
			r.post(adopted{unclean: got[i].Unclean})
		}
	}
	return got, true
}

// ask claims executions. After an error the next claim has the same ID, and returns what
// this one may have claimed.
func (e *Engine) ask(ctx context.Context, c store.Claim) ([]store.Claimed, error) {
	c.Instance, c.ID, c.Plans, c.Predecessors = e.me, e.claimID, e.planIDs(), e.succeeds
	got, err := e.cfg.Store.Claim(ctx, c)
	if err != nil && ctx.Err() == nil && !errors.Is(err, store.ErrInstance) && !errors.Is(err, store.ErrClosed) {
		got, err = e.cfg.Store.Claim(ctx, c) // its answer may have been lost
	}
	if err == nil {
		e.claimID++
		e.succeeds = e.succeeds && (c.Holders || len(c.Keys) > 0 || len(got) == c.Limit) // else they have nothing left
	}
	return got, err
}

// planIDs are what the engine can drive.
func (e *Engine) planIDs() []store.PlanID {
	plans := make([]store.PlanID, 0, len(e.cfg.Plans))
	for _, p := range e.cfg.Plans {
		plans = append(plans, store.PlanID{Workflow: p.Name, Fingerprint: p.Fingerprint})
	}
	return plans
}

// adopt makes a run of an execution that was claimed, and enters it. It returns nil when
// there is none.
func (e *Engine) adopt(c store.Claimed) *Run {
	p := e.cfg.Plans[c.Workflow]
	state, err := machine.Load(p, c.Snapshot)
	if err != nil {
		e.cfg.Logger.Error("workflow: an execution cannot be gone on with: what is kept of it cannot be read", "execution", c.String(), "error", err)
		return nil
	}
	r := newRun(e, p, c.Key)
	r.s, r.inbox, r.claimed, r.taken = state, c.Inbox, true, true
	if !r.admit() {
		return nil
	}
	return r
}

// admit makes the run that of its execution. It answers false when the engine does not
// run any more.
func (r *Run) admit() bool {
	e := r.e
	e.mu.Lock()
	before := e.runs[r.key]
	if before != nil {
		before.share()
	}
	if e.stopped || e.lost {
		e.mu.Unlock()
		return false // the lease's end lets it go
	}
	r.enlist()
	e.ended.Add(1)
	e.runs[r.key] = r
	e.mu.Unlock()
	if before != nil {
		before.post(interrupted{ErrLostLease}) // its epoch is over
	}
	return true
}

// adopted is mail: the execution was claimed.
type adopted struct {
	unclean bool
	// barrier holds it back when its locks are taken over; nil is nothing.
	barrier *barrier
}

// early answers true for what comes before an execution that was claimed is ready for
// it, and keeps it.
func (r *Run) early(m mail) bool {
	switch m.(type) {
	case adopted, passed, interrupted:
		return false
	}
	r.held = append(r.held, m)
	return true
}

// ready lets what has come early be handled next.
func (r *Run) ready() {
	r.claimed = false
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mail = append(r.held, r.mail...)
	r.held = nil
}

func (m adopted) handle(r *Run) error {
	if r.scopes.root == nil {
		r.open()
	}
	err := r.takeOver()
	m.barrier.reached(r)
	if err != nil {
		r.e.cfg.Logger.Warn("workflow: the locks of an execution that was claimed could not be taken over; trying again",
			"execution", r.key.String(), "error", err)
		time.AfterFunc(lockPause, func() { r.post(m) })
		return nil
	}
	return m.barrier.pass(r, m.unclean)
}

// goOn goes on with an execution that was claimed and has its locks.
func (r *Run) goOn(unclean bool) error {
	r.ready()
	// What is lost is lost before anything goes on; what follows from it is in what
	// follows from the claim.
	if len(r.lost) > 0 {
		if _, err := r.decide(r.locksLost(r.lost, r.forced), time.Now()); err != nil {
			return err
		}
		r.lost = nil
	}
	commands, err := r.decide(machine.Recovered{Unclean: unclean}, time.Now())
	if err != nil {
		return err
	}
	r.settleLocks(commands)
	// It does not rest at once: where the store's clock is ahead of this one, it would be
	// claimed again and again until that is due here, too.
	if err := r.commit(); err != nil {
		return err
	}
	return r.after(commands)
}
