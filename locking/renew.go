package locking

import (
	"context"
	"slices"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

const (
	// renewBatch is how many locks one command renews.
	renewBatch = 100
	// renewRetry is the pause after a renewal that got no answer. The holds stay
	// until their true end, however long the provider cannot be reached.
	renewRetry = 250 * time.Millisecond
	// renewPatience bounds one command, so that a server that does not answer
	// holds up no other lease.
	renewPatience = 3 * time.Second
)

// renewal is one timer for all leases at a provider. There is no goroutine
// unless a renewal is due. Its fields are guarded by holds.mu.
type renewal struct {
	timer   *time.Timer
	due     time.Time // when the timer fires; zero: it is not set
	running bool
}

func (r *renewal) stop() {
	if r.timer != nil {
		r.timer.Stop()
	}
	r.due = time.Time{}
}

// wakeRenewal makes sure that renewals run at the time or before; it requires mu.
func (hs *holds) wakeRenewal(at time.Time) {
	r := &hs.renewal
	if r.running || hs.closed || (!r.due.IsZero() && !at.Before(r.due)) {
		return
	}
	r.due = at
	wait := time.Until(at)
	if r.timer == nil {
		r.timer = time.AfterFunc(wait, hs.renewDue)
		return
	}
	r.timer.Reset(wait)
}

// renewDue renews every lease that has passed a third of its length.
func (hs *holds) renewDue() {
	hs.mu.Lock()
	r := &hs.renewal
	if r.running || hs.closed {
		hs.mu.Unlock()
		return
	}
	r.running, r.due = true, time.Time{}
	groups := hs.dueGroups(time.Now())
	hs.mu.Unlock()

	for ttl, list := range groups {
		for batch := range slices.Chunk(list, renewBatch) {
			hs.renew(ttl, batch)
		}
	}

	hs.mu.Lock()
	defer hs.mu.Unlock()
	r.running = false
	for _, s := range hs.slots {
		if s.hold != nil && !s.hold.renewAt.IsZero() {
			hs.wakeRenewal(s.hold.renewAt)
		}
	}
}

// dueGroups collects what is due, by the expiry it gets; it requires mu. Leases
// that fall due within the next twelfth of their length come along, so that
// locks taken at about the same time share their commands from then on, and so do
// offers.
func (hs *holds) dueGroups(now time.Time) map[time.Duration][]*hold {
	groups := make(map[time.Duration][]*hold)
	for _, s := range hs.slots {
		h := s.hold
		if h == nil || h.renewAt.IsZero() {
			continue
		}
		if h.offer {
			if h.renewAt.Sub(now) <= confirmAfter/2 {
				groups[h.full] = append(groups[h.full], h)
			}
			continue
		}
		if h.renewAt.Sub(now) > h.lease/12 {
			continue
		}
		ttl := h.lease
		if !h.renewTo.IsZero() {
			left := h.renewTo.Sub(now)
			if left < time.Millisecond || !h.renewTo.After(h.until) {
				h.renewAt = time.Time{} // it lives out what it has
				continue
			}
			ttl = min(ttl, left.Truncate(time.Millisecond))
		}
		groups[ttl] = append(groups[ttl], h)
	}
	return groups
}

// renew sends one command and acts on its answer.
func (hs *holds) renew(ttl time.Duration, list []*hold) {
	records := make([]driver.Hold, len(list))
	for i, h := range list {
		records[i] = h.record
	}
	patience := renewPatience
	if ttl > 0 {
		patience = min(ttl/3, patience)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	answers, err := hs.provider.driver.Extend(ctx, ttl, records)
	if err != nil {
		hs.log.Warn("locking: could not renew leases, trying again until they end",
			"provider", hs.provider.id, "locks", len(list), "error", err)
		hs.postpone(list)
		return
	}
	hs.mu.Lock()
	now := time.Now()
	for i, h := range list {
		switch {
		case !answers[i].Held:
			hs.drop(h)
		case !h.renewAt.IsZero():
			h.extended(answers[i].Until, now)
		}
	}
	hs.mu.Unlock()
	endLost(list, answers)
}

// endLost ends the holds that the provider has not extended.
func endLost(list []*hold, answers []driver.Extension) {
	for i, h := range list {
		switch {
		case answers[i].Revoked:
			h.cancel(ErrLockRevoked)
		case !answers[i].Held:
			h.cancel(ErrLockLost)
		}
	}
}

func (hs *holds) postpone(list []*hold) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	at := time.Now().Add(renewRetry)
	for _, h := range list {
		if !h.renewAt.IsZero() {
			h.renewAt = at
		}
	}
}

// extend gives the holds a longer life by hand. It answers false, and ends what
// is gone, when one of them is.
func (hs *holds) extend(ctx context.Context, d time.Duration, list []*hold) (bool, error) {
	hs.makeFull(list)
	records := make([]driver.Hold, len(list))
	for i, h := range list {
		records[i] = h.record
	}
	answers, err := hs.provider.driver.Extend(ctx, d, records)
	if err != nil {
		return false, err
	}
	held := true
	hs.mu.Lock()
	for i, h := range list {
		switch {
		case !answers[i].Held:
			held = false
			hs.drop(h)
		case h.Alive():
			h.setUntil(answers[i].Until)
		}
	}
	hs.mu.Unlock()
	endLost(list, answers)
	return held, nil
}

// makeFull extends the offers among the holds to what was asked for. Where that
// fails it is tried again until they end.
func (hs *holds) makeFull(list []*hold) {
	groups := make(map[time.Duration][]*hold)
	hs.mu.Lock()
	for _, h := range list {
		if h.offer {
			groups[h.full] = append(groups[h.full], h)
		}
	}
	hs.mu.Unlock()
	for ttl, offers := range groups {
		hs.renew(ttl, offers)
	}
}
