package locking

import (
	"context"
	"fmt"
	"time"

	"github.com/lockstep-dev/lockstep/internal/runctx"
	"github.com/lockstep-dev/lockstep/locking/driver"
)

// hold is a lock this process has: one key, one owner, one token. Handles that
// joined share it. Its fields are guarded by holds.mu, but for those that never
// change.
type hold struct {
	at     *holds
	record driver.Hold

	// ctx ends with the hold; its cause says why.
	ctx    context.Context //nolint:containedctx // the lifetime of the hold is what it stands for
	cancel context.CancelCauseFunc

	handles int         // handles that have not been released
	until   time.Time   // the hold has surely not lapsed before; zero: it does not expire
	lapse   *time.Timer // ends the hold at until
	lease   time.Duration
	renewTo time.Time // renewal stops here; zero: it does not
	renewAt time.Time // when the next extension is due; zero: none is
	// abandoned says that the lock is left to its lease: nothing releases it.
	abandoned bool
	// An offer ends soon unless it is extended once to what was asked for.
	offer bool
	full  time.Duration // what was asked for; zero is for ever
}

var _ runctx.BatchFreer = (*hold)(nil)

// Record implements [runctx.Hold].
func (h *hold) Record() runctx.HoldRecord {
	return runctx.HoldRecord{
		LockID:  runctx.LockID{Provider: h.at.provider.id, Key: h.record.Key},
		Owner:   h.record.Owner,
		Epoch:   h.record.Generation.Epoch,
		Attempt: h.record.Generation.Attempt,
		Token:   uint64(h.record.Token),
	}
}

// Alive implements [runctx.Hold].
func (h *hold) Alive() bool { return h.ctx.Err() == nil }

// Free implements [runctx.Hold]: it gives the lock back whatever handles there
// are.
func (h *hold) Free(ctx context.Context) (bool, error) {
	answers, err := h.at.freeAll(ctx, []*hold{h})
	return err == nil && answers[0], err
}

// FreeBatch implements [runctx.BatchFreer].
func (h *hold) FreeBatch(ctx context.Context, list []runctx.Hold) ([]bool, error) {
	own := make([]*hold, len(list))
	for i, other := range list {
		var ok bool
		if own[i], ok = other.(*hold); !ok || own[i].at != h.at {
			return nil, fmt.Errorf("locking: free %d holds at %s: hold %d is not this provider's", len(list), h.at.provider.id, i)
		}
	}
	return h.at.freeAll(ctx, own)
}

// Abandon implements [runctx.Hold]. The contexts end with [ErrLockLost].
func (h *hold) Abandon() {
	h.at.mu.Lock()
	h.abandoned = true
	h.at.drop(h)
	h.at.mu.Unlock()
	h.cancel(ErrLockLost)
}

// terms says for how long a lock is wanted.
type terms struct {
	ttl     time.Duration // on the server; zero is for ever
	lease   time.Duration // renewed at a third of it; zero: not renewed
	renewTo time.Time     // renewal stops here; zero: it does not
}

// fixed is a lock that lapses after d, or never when d is zero.
func fixed(d time.Duration) terms { return terms{ttl: d} }

// leased is a lock that is renewed until it is released, or until most has
// passed when that is not zero.
func leased(lease, most time.Duration) terms {
	t := terms{ttl: lease, lease: lease}
	if most > 0 {
		t.renewTo = time.Now().Add(most)
		t.ttl = min(lease, most)
	}
	return t
}

// confirmAfter is when an offer is made a full hold: at once would cost those a
// command who give the lock back before.
const confirmAfter = 500 * time.Millisecond

// apply makes the hold live at least as long as the terms ask. It requires
// holds.mu.
func (h *hold) apply(t terms, g *driver.Granted) {
	h.setUntil(g.Until)
	now := time.Now()
	switch {
	case t.lease == 0:
	case h.lease == 0, h.renewAt.IsZero():
		h.lease, h.renewTo = t.lease, t.renewTo
	case t.renewTo.IsZero() || (!h.renewTo.IsZero() && t.renewTo.After(h.renewTo)):
		h.renewTo = t.renewTo
	}
	switch {
	case g.Offer:
		h.accept(t.ttl, now)
	case t.lease > 0:
		h.schedule(now.Add(h.lease / 3))
	}
}

// accept has an offer made full soon, to the longest of what its requests asked
// for. It requires holds.mu.
func (h *hold) accept(ttl time.Duration, now time.Time) {
	if !h.offer {
		h.offer, h.full = true, ttl
	} else if h.full > 0 && (ttl == 0 || ttl > h.full) {
		h.full = ttl
	}
	h.schedule(now.Add(min(confirmAfter, h.until.Sub(now)/3)))
}

// setUntil moves the hold's end; it requires holds.mu.
func (h *hold) setUntil(until time.Time) {
	h.until = until
	switch {
	case until.IsZero():
		if h.lapse != nil {
			h.lapse.Stop()
		}
	case h.lapse == nil:
		h.lapse = time.AfterFunc(time.Until(until), h.lapsed)
	default:
		h.lapse.Reset(time.Until(until))
	}
}

// schedule requires holds.mu.
func (h *hold) schedule(at time.Time) {
	h.renewAt = at
	h.at.wakeRenewal(at)
}

// extended notes an expiry that the provider has granted; it requires holds.mu.
func (h *hold) extended(until, now time.Time) {
	h.setUntil(until)
	h.offer = false
	h.renewAt = time.Time{}
	if h.lease > 0 {
		h.renewAt = now.Add(h.lease / 3)
	}
}

// lapsed runs when the hold could have passed to somebody else.
func (h *hold) lapsed() {
	h.at.mu.Lock()
	if h.until.IsZero() || time.Now().Before(h.until) { // extended meanwhile
		h.at.mu.Unlock()
		return
	}
	h.at.drop(h)
	h.at.mu.Unlock()
	h.cancel(ErrLockLost)
}
