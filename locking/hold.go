package locking

import (
	"context"
	"errors"
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

	cause   error     // why it has ended; nil while it lives
	ears    *listener // the handles that are told when it ends
	watcher func()    // so is this, unless it is freed
	handles int32     // handles that have not been released
	seen    uint32    // it stood after the provider had lost sight that often, see verify

	until end // the hold has surely not lapsed before
	lease time.Duration
	// renewAt is when the next extension is due, and renewTo when renewal stops;
	// zero is never.
	renewAt, renewTo instant
	// full is what was asked for where the hold is an offer, which ends soon unless
	// it is extended once to that; zero is for ever.
	full time.Duration

	next   instant // when something is to be done, see holds.schedule
	place  int32   // in the agenda, -1 when nothing is to be done
	warned int32   // how many of the ears are still to be warned

	offer   bool
	maximum bool // renewTo is as long as it may be held
	cut     bool // until is not later than renewTo
	failed  bool // the last extension got no answer

	verifying bool // somebody is at it, see verify

	// abandoned says that the lock is left to its lease: nothing releases it.
	abandoned bool
	// unanswered says that a release got no answer, so that the lock may still stand.
	unanswered bool
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
func (h *hold) Alive() bool { return h.at.fate(h) == nil }

// Final implements [runctx.Hold].
func (h *hold) Final() bool {
	cause := h.at.fate(h)
	return errors.Is(cause, ErrLockRevoked) || errors.Is(cause, ErrMaxHold)
}

// Watch implements [runctx.Hold].
func (h *hold) Watch(lost func()) {
	var over cancellations
	h.at.mu.Lock()
	h.watcher = lost
	if h.cause != nil {
		h.deafen(&over)
	}
	h.at.mu.Unlock()
	over.tell()
}

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

// Abandon implements [runctx.Hold]. The contexts end with [ErrLockLost]. Until the
// lease has lapsed it is known that nothing may release the lock.
func (h *hold) Abandon() {
	var over cancellations
	h.at.mu.Lock()
	h.abandoned = true
	h.at.end(h, ErrLockLost, &over)
	h.at.mu.Unlock()
	over.tell()
}

// terms says for how long a lock is wanted.
type terms struct {
	ttl     time.Duration // on the server; zero is for ever
	lease   time.Duration // renewed at a third of it; zero: not renewed
	most    time.Duration // from the grant, after which renewal stops; zero: it does not
	maximum bool          // the lock is given back then, see [MaxHold]
}

// fixed is a lock that lapses after d, or never when d is zero.
func fixed(d time.Duration) terms { return terms{ttl: d} }

// leased is a lock that is renewed until it is released, or until most has
// passed when that is not zero.
func leased(lease, most time.Duration, maximum bool) terms {
	t := terms{ttl: lease, lease: lease, most: most, maximum: maximum && most > 0}
	if most > 0 {
		t.ttl = min(lease, most)
	}
	return t
}

// confirmAfter is when an offer is made a full hold: at once would cost those a
// command who give the lock back before.
const confirmAfter = 500 * time.Millisecond

// apply makes the hold live at least as long as the terms ask. It requires
// holds.mu.
func (h *hold) apply(t *terms, g *driver.Granted, fresh bool, now reading) {
	// A hold that is full stays so: what says otherwise is an older answer.
	offer := g.Offer && (fresh || h.offer)
	switch {
	case fresh:
		h.until = h.at.clock.end(g.Until, now)
	case offer == g.Offer:
		h.prolong(g.Until, now)
	}
	h.renewFor(t, now)
	switch {
	case offer:
		h.accept(t.ttl, now)
	case t.lease > 0:
		h.renewAt = now.mono.add(h.lease / 3)
	}
	h.at.schedule(h)
}

// renewFor has the hold renewed at least as long as the terms ask.
func (h *hold) renewFor(t *terms, now reading) {
	if t.lease == 0 {
		return
	}
	var to instant
	if t.most > 0 {
		to = now.mono.add(t.most)
	}
	switch {
	case h.lease == 0:
		h.lease = t.lease
	case h.renewTo == 0, to != 0 && to <= h.renewTo:
		return
	}
	h.renewTo, h.maximum = to, t.maximum
	h.cut = to != 0 && t.most <= t.lease
}

// accept has an offer made full soon, to the longest of what its requests asked
// for. It requires holds.mu.
func (h *hold) accept(ttl time.Duration, now reading) {
	if !h.offer {
		h.offer, h.full = true, ttl
	} else if h.full > 0 && (ttl == 0 || ttl > h.full) {
		h.full = ttl
	}
	h.renewAt = now.mono.add(min(confirmAfter, h.until.mono.sub(now.mono)/3))
}

// prolong moves the hold's end to a later moment, never to an earlier one: an
// expiry at the server is only ever extended, so an answer that says less is older
// than one that was here before. It requires holds.mu.
func (h *hold) prolong(until time.Time, now reading) {
	later := h.at.clock.end(until, now)
	if later.never() || !h.until.never() && later.mono > h.until.mono {
		h.until = later
	}
}

// extended notes an expiry that the provider has granted. The next extension is due a
// third of the lease after this one was asked for, however long the answer took. It
// requires holds.mu.
func (h *hold) extended(until time.Time, e *extension, now reading) {
	if h.offer {
		h.offer = false
		h.until = h.at.clock.end(until, now) // the one expiry that may be shortened
	} else {
		h.prolong(until, now)
	}
	h.failed = false
	h.renewAt = 0
	if h.lease > 0 {
		h.renewAt = e.sent.mono.add(h.lease / 3)
		h.cut = h.renewTo != 0 && e.ttl < h.lease
	}
	h.at.schedule(h)
}

// due is when the hold is over for this process, on the monotonic clock.
func (h *hold) due() instant {
	if h.maximum && h.cause == nil {
		return earliest(h.until.mono, h.renewTo)
	}
	return h.until.mono
}

// over says that the hold could have passed to somebody else, or has been held as
// long as it may.
func (h *hold) over(now reading) bool {
	return h.until.passed(now) || h.maximum && h.cause == nil && h.renewTo != 0 && now.mono >= h.renewTo
}
