package locking

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// holds is what this process has at one provider.
//
// Invariants:
//  1. There is at most one live hold per owner and key: the one with the highest
//     token. Another one that appears ends it.
//  2. A token that a release has been sent for is never handed to a new handle,
//     although the provider may answer a request that crossed with the release
//     by joining that very hold. Such a request is sent again.
//  3. Nothing is sent to the provider, and nothing of the user's is called, while
//     mu is held.
//  4. A hold ends once: its first cause stays. It is found by its name as long as it
//     lives, and after that as long as the provider may keep the key from others for
//     it, where this process has a say in that: a revoked one until it is released,
//     an abandoned one and one whose release got no answer until they lapse.
//  5. What runs beside the callers, such as renewals, is counted in running, and has
//     ended when close returns without an error.
type holds struct {
	provider *provider
	log      *slog.Logger
	clock    clock
	life     context.Context //nolint:containedctx // bounds what runs beside the callers
	stop     context.CancelFunc
	tickets  *listeners

	mu        sync.Mutex
	found     map[slot]*hold
	crossings map[slot]crossing
	agenda    agenda
	sight     uint32 // how often the provider has lost sight of its server, see verify
	closed    bool
	running   int           // how much runs beside the callers
	idle      chan struct{} // closes when nothing does any more; made by close
}

// slot is where a hold is found.
type slot struct{ owner, key string }

func slotOf(h *driver.Hold) slot { return slot{h.Owner, h.Key} }

func newHolds(p *provider, log *slog.Logger) *holds {
	hs := &holds{
		provider: p, log: log, clock: newClock(),
		found: make(map[slot]*hold), crossings: make(map[slot]crossing),
	}
	hs.life, hs.stop = context.WithCancel(context.Background())
	hs.agenda.skew = hs.clock.read().skew()
	return hs
}

// accept enters what was granted, and counts a handle for each key. A request that
// crossed with releases is sent again. The holds are in the room where they fit.
func (hs *holds) accept(ctx context.Context, a *ask, grant driver.Grant, room []*hold) ([]*hold, error) {
	got, crossed := hs.enter(grant, a, room)
	req, had := a.req, []*hold(nil)
	for crossed != nil {
		had = append(had, got...)
		select {
		case <-crossed:
		case <-ctx.Done():
			hs.giveBack(ctx, had)
			return nil, ctx.Err()
		}
		if a.req.Wait >= 0 {
			req.Wait = max(0, a.req.Wait-time.Since(a.start))
		}
		grant, err := hs.provider.driver.Acquire(ctx, req)
		if err != nil {
			hs.giveBack(ctx, had)
			return nil, err
		}
		got, crossed = hs.enter(grant, a, room)
	}
	hs.uncount(had) // holds that a former round entered were joined again by the last
	return got, nil
}

// enter records a grant. Where it crossed with a release, it returns the channel
// of that release, and the holds it did enter.
func (hs *holds) enter(grant driver.Grant, a *ask, room []*hold) (got []*hold, crossed <-chan struct{}) {
	var over cancellations
	got = slices.Grow(room[:0], len(grant.Holds))
	now := hs.clock.read()
	hs.mu.Lock()
	for i := range grant.Holds {
		g := &grant.Holds[i]
		c := hs.crossings[slotOf(&g.Hold)]
		if ch := c.answerOf(g.Token); ch != nil {
			crossed = ch
			continue
		}
		h, fresh := hs.holdOf(g, &over)
		if fresh {
			h.seen = a.sight
		}
		if c.wasRevoked(g.Token) {
			hs.end(h, ErrLockRevoked, &over)
		}
		if h.handles++; h.cause == nil {
			h.apply(&a.terms, g, fresh, now)
		}
		got = append(got, h)
	}
	if a.sight != hs.sight {
		hs.verifyUnseen(got)
	}
	hs.mu.Unlock()
	over.tell()
	return got, crossed
}

// holdOf returns the hold that was granted, which may have ended; it requires mu.
func (hs *holds) holdOf(g *driver.Granted, over *cancellations) (h *hold, fresh bool) {
	at := slotOf(&g.Hold)
	old := hs.found[at]
	// What this process let go in one way or another begins anew; what was revoked
	// stays so.
	if old != nil && old.record.Token == g.Token && (old.cause == nil || old.cause == ErrLockRevoked) { //nolint:errorlint // it is set as such
		return old, false
	}
	h = &hold{at: hs, record: g.Hold, place: -1}
	switch {
	case hs.closed:
		h.cause = ErrClosed
	case old != nil && old.record.Token > g.Token:
		h.cause = ErrLockLost
	default:
		if old != nil {
			hs.end(old, lossCause(old, g.Hold), over)
			hs.forget(old)
		}
		hs.found[at] = h
	}
	return h, true
}

// lossCause says why a hold ends that another of the same owner replaces.
func lossCause(old *hold, by driver.Hold) error {
	if by.Generation.Compare(old.record.Generation) > 0 {
		return ErrLockRevoked
	}
	return ErrLockLost
}

// end ends a hold for this process, and notes which contexts have to be cancelled;
// it requires mu. The hold is still found.
func (hs *holds) end(h *hold, cause error, over *cancellations) {
	if h.cause == nil {
		h.cause = cause
		h.deafen(over)
	}
	if h.place >= 0 {
		hs.schedule(h)
	}
}

// forget makes a hold be found no longer; it requires mu.
func (hs *holds) forget(h *hold) {
	hs.unschedule(h)
	if at := slotOf(&h.record); hs.found[at] == h {
		delete(hs.found, at)
	}
}

// uncount takes back handles that are not going to be made, of holds that stay.
func (hs *holds) uncount(list []*hold) {
	if len(list) == 0 {
		return
	}
	hs.mu.Lock()
	defer hs.mu.Unlock()
	for _, h := range list {
		h.handles--
	}
}

// giveBack releases handles of a request that failed after a part of it was
// granted. The caller's context may have ended, which must not leave locks.
func (hs *holds) giveBack(ctx context.Context, list []*hold) {
	if len(list) == 0 {
		return
	}
	ctx, cancel := detached(ctx)
	defer cancel()
	if _, _, err := hs.release(ctx, list); err != nil {
		hs.log.Warn("locking: could not give back the keys of a failed request", "provider", hs.provider.id, "error", err)
	}
}

// giveBackLater releases a hold that has ended, beside the callers; it requires mu.
func (hs *holds) giveBackLater(h *hold) {
	hs.spawn(func() {
		ctx, cancel := context.WithTimeout(hs.life, giveBackTime)
		defer cancel()
		if _, err := hs.freeAll(ctx, []*hold{h}); err != nil {
			hs.log.Warn("locking: could not give a lock back; it lapses by its lease",
				"key", h.record.Key, "provider", hs.provider.id, "error", err)
		}
	})
}

// spawn runs a function beside the callers; it requires mu.
func (hs *holds) spawn(f func()) {
	if hs.closed {
		return
	}
	hs.running++
	go func() {
		defer hs.ended()
		f()
	}()
}

// ended notes that something does not run any more.
func (hs *holds) ended() {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if hs.running--; hs.running == 0 && hs.closed {
		close(hs.idle)
	}
}

// close ends every hold of this process, without releasing any, and waits for what
// runs beside the callers, as long as ctx allows.
func (hs *holds) close(ctx context.Context) error {
	hs.shut()
	select {
	case <-hs.idle:
		return nil
	default:
	}
	select {
	case <-hs.idle:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (hs *holds) shut() {
	var over cancellations
	hs.mu.Lock()
	if !hs.closed {
		hs.closed, hs.idle = true, make(chan struct{})
		if hs.running == 0 {
			close(hs.idle)
		}
	}
	for _, h := range hs.found {
		hs.end(h, ErrClosed, &over)
		h.place = -1
	}
	clear(hs.found)
	hs.agenda.stop()
	hs.mu.Unlock()
	hs.stop()
	over.tell()
}
