package locking

import (
	"context"
	"log/slog"
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
//  3. Nothing is sent to the provider while mu is held.
type holds struct {
	provider *provider
	log      *slog.Logger

	mu      sync.Mutex
	slots   map[slotKey]*slot
	renewal renewal
	closed  bool
}

type slotKey struct{ owner, key string }

// slot is kept while there is a hold, or a request or a release on its way.
type slot struct {
	hold     *hold
	requests int
	releases int
	// freeing has the tokens that are being released, or were while a request was
	// on its way; the channel closes when the release has been answered.
	freeing map[driver.Token]chan struct{}
}

func newHolds(p *provider, log *slog.Logger) *holds {
	return &holds{provider: p, log: log, slots: make(map[slotKey]*slot)}
}

// acquire takes all keys of the request, or none, and counts a handle for each.
func (hs *holds) acquire(ctx context.Context, req driver.Request, t terms) ([]*hold, error) {
	if err := hs.expect(req); err != nil {
		return nil, err
	}
	defer hs.settle(req)
	var had []*hold
	start, wait := time.Now(), req.Wait
	for {
		grant, err := hs.provider.driver.Acquire(ctx, req)
		if err != nil {
			hs.giveBack(ctx, had)
			return nil, err
		}
		got, crossed := hs.enter(grant, t)
		had = append(had, got...)
		if crossed == nil {
			// A hold that a former round entered was joined again by this one.
			hs.uncount(had[:len(had)-len(got)])
			return got, nil
		}
		select {
		case <-crossed:
		case <-ctx.Done():
			hs.giveBack(ctx, had)
			return nil, ctx.Err()
		}
		if wait >= 0 {
			req.Wait = max(0, wait-time.Since(start))
		}
	}
}

// expect announces a request, so that releases know that it may cross them.
func (hs *holds) expect(req driver.Request) error {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if hs.closed {
		return ErrClosed
	}
	for _, k := range req.Keys {
		id := slotKey{req.Owner, k}
		s := hs.slots[id]
		if s == nil {
			s = &slot{}
			hs.slots[id] = s
		}
		s.requests++
	}
	return nil
}

// settle takes the announcement back.
func (hs *holds) settle(req driver.Request) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	for _, k := range req.Keys {
		id := slotKey{req.Owner, k}
		s := hs.slots[id]
		s.requests--
		hs.sweep(id, s)
	}
}

func (hs *holds) sweep(id slotKey, s *slot) {
	if s.requests > 0 || s.releases > 0 {
		return
	}
	s.freeing = nil
	if s.hold == nil {
		delete(hs.slots, id)
	}
}

// enter records a grant. Where it crossed with a release, it returns the channel
// of that release, and the holds it did enter.
func (hs *holds) enter(grant driver.Grant, t terms) (got []*hold, crossed <-chan struct{}) {
	type ended struct {
		h     *hold
		cause error
	}
	var over []ended
	hs.mu.Lock()
	for i := range grant.Holds {
		g := &grant.Holds[i]
		s := hs.slots[slotKey{g.Owner, g.Key}]
		if ch, ok := s.freeing[g.Token]; ok {
			crossed = ch
			continue
		}
		h := s.hold
		if h == nil || h.record.Token != g.Token {
			fresh := hs.newHold(g.Hold)
			switch {
			case hs.closed:
				over = append(over, ended{fresh, ErrClosed})
			case h != nil && h.record.Token > g.Token:
				over = append(over, ended{fresh, ErrLockLost})
			default:
				if h != nil {
					over = append(over, ended{h, lossCause(h, g.Hold)})
					hs.stop(h)
				}
				s.hold = fresh
			}
			h = fresh
		}
		h.handles++
		if s.hold == h {
			h.apply(t, g)
		}
		got = append(got, h)
	}
	hs.mu.Unlock()
	for _, o := range over {
		o.h.cancel(o.cause)
	}
	return got, crossed
}

func (hs *holds) newHold(record driver.Hold) *hold {
	ctx, cancel := context.WithCancelCause(context.Background())
	return &hold{at: hs, record: record, ctx: ctx, cancel: cancel}
}

// lossCause says why a hold ends that another of the same owner replaces.
func lossCause(old *hold, by driver.Hold) error {
	if by.Generation.Compare(old.record.Generation) > 0 {
		return ErrLockRevoked
	}
	return ErrLockLost
}

// uncount takes back handles that are not going to be made, of holds that stay.
func (hs *holds) uncount(list []*hold) {
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

// drop ends the local side of a hold; it requires mu. The caller cancels it.
func (hs *holds) drop(h *hold) {
	hs.stop(h)
	id := slotKey{h.record.Owner, h.record.Key}
	if s := hs.slots[id]; s != nil && s.hold == h {
		s.hold = nil
		hs.sweep(id, s)
	}
}

// stop ends a hold's timers; it requires mu.
func (hs *holds) stop(h *hold) {
	if h.lapse != nil {
		h.lapse.Stop()
	}
	h.renewAt = time.Time{}
}

// close ends every hold of this process, without releasing any.
func (hs *holds) close() {
	hs.mu.Lock()
	hs.closed = true
	var all []*hold
	for _, s := range hs.slots {
		if s.hold != nil {
			all = append(all, s.hold)
		}
	}
	for _, h := range all {
		hs.drop(h)
	}
	hs.renewal.stop()
	hs.mu.Unlock()
	for _, h := range all {
		h.cancel(ErrClosed)
	}
}
