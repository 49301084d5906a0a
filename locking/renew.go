package locking

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"net"
	"slices"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

const (
	// renewBatch is how many locks one command renews.
	renewBatch = 100
	// renewRetry is the pause after a renewal that got no answer, but shortly before the
	// end, when there is no time for it, and renewRetryLeast what it is then. The holds
	// stay until their true end, however long the provider cannot be reached.
	renewRetry      = 250 * time.Millisecond
	renewRetryLeast = 10 * time.Millisecond
	// renewPatience bounds one command, so that one that gets no answer is sent
	// again while there is time.
	renewPatience = 3 * time.Second
	// renewInVain is after how many commands that all failed a batch is not divided
	// any further: the fault is then not one key's.
	renewInVain = 16
)

// renewable says whether a hold is to be extended, and for how long; it requires
// mu.
func (h *hold) renewable(now reading) (ttl time.Duration, ok bool) {
	switch {
	case h.cause != nil || h.renewAt == 0:
		return 0, false
	case h.offer:
		return h.full, true
	case h.renewTo == 0:
		return h.lease, true
	}
	left := h.renewTo.sub(now.mono).Truncate(time.Millisecond)
	if h.cut || left < time.Millisecond || h.renewTo <= h.until.mono {
		return 0, false // it lives out what it has
	}
	return min(h.lease, left), true
}

// renewals are holds that are due, by what one command can renew together. Offers
// stand apart, since they end soon, and so do those whose last extension got no answer, by
// how soon they end: a command waits for the slowest of its answers.
type renewals map[renewal][]*hold

type renewal struct {
	ttl   time.Duration
	offer bool
	hurry int // 0: the last extension got an answer
}

// hurry is the same for holds without an answer whose ends are about as far away. It
// requires mu.
func (h *hold) hurry(now reading) int {
	switch {
	case !h.failed:
		return 0
	case h.until.never():
		return 1
	}
	return 2 + bits.Len64(uint64(max(h.until.mono.sub(now.mono).Milliseconds(), 0)))
}

// add takes a hold that is due; it requires mu.
func (r *renewals) add(h *hold, now reading) {
	ttl, ok := h.renewable(now)
	h.renewAt = 0
	if !ok {
		return
	}
	if *r == nil {
		*r = make(renewals)
	}
	kind := renewal{ttl, h.offer, h.hurry(now)}
	(*r)[kind] = append((*r)[kind], h)
}

// renewDue renews what is due, beside the callers and each command beside the
// others, so that one without an answer holds up none. Leases that fall due within
// the next twelfth of their length come along, so that locks taken at about the same
// time share their commands from then on, and so do offers. It requires mu.
func (hs *holds) renewDue(due renewals, now reading) {
	if len(due) == 0 {
		return
	}
	for _, h := range hs.agenda.list {
		soon := h.lease / 12
		if h.offer {
			soon = confirmAfter / 2
		}
		if h.renewAt != 0 && h.renewAt.sub(now.mono) <= soon {
			due.add(h, now) // it stands too early in the agenda from now on, which is harmless
		}
	}
	for kind, list := range due {
		for batch := range slices.Chunk(list, renewBatch) {
			hs.spawn(func() { _ = hs.renew(hs.life, kind, batch) }) // the error is logged
		}
	}
}

// renew extends holds. What gets no answer is tried again until the holds end.
func (hs *holds) renew(ctx context.Context, kind renewal, list []*hold) error {
	var r round
	hs.renewPart(ctx, &r, kind, list)
	if r.err != nil && ctx.Err() == nil {
		hs.log.Warn("locking: could not renew leases, trying again until they end",
			"provider", hs.provider.id, "locks", r.failed, "error", r.err)
	}
	return r.err
}

// round is what became of a batch.
type round struct {
	sent, renewed, failed int
	err                   error
}

// renewPart extends a part of a batch. When the provider refuses it, it is divided,
// so that one key that cannot be renewed does not cost the others. Where the provider
// has answered for some, what it says of the rest is theirs alone.
func (hs *holds) renewPart(ctx context.Context, r *round, kind renewal, list []*hold) {
	_, open, err := hs.extendOnce(ctx, kind, list)
	r.sent++
	r.renewed += len(list) - len(open)
	switch {
	case len(open) == 0:
	case len(open) == len(list) && len(list) > 1 && refusal(err) && (r.renewed > 0 || r.sent < renewInVain):
		half := len(list) / 2
		hs.renewPart(ctx, r, kind, list[:half])
		hs.renewPart(ctx, r, kind, list[half:])
	default:
		r.failed, r.err = r.failed+len(open), err
		hs.postpone(open)
	}
}

// extendOnce sends one command. What has to be answered soon is not waited for until the
// holds end: some may be answered that wait for others.
func (hs *holds) extendOnce(ctx context.Context, kind renewal, list []*hold) (held bool, open []*hold, err error) {
	patience := renewPatience
	if kind.ttl > 0 {
		patience = min(patience, kind.ttl/3)
	}
	if kind.offer || kind.hurry > 0 {
		now := hs.clock.read()
		hs.mu.Lock()
		for _, h := range list {
			if !h.until.never() && h.cause == nil {
				patience = min(patience, max(h.until.mono.sub(now.mono)/3, time.Millisecond))
			}
		}
		hs.mu.Unlock()
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return hs.extendAll(ctx, extension{ttl: kind.ttl}, list)
}

// extension is what is asked of the provider.
type extension struct {
	ttl    time.Duration
	byHand bool    // it leaves the renewal as it is
	sent   reading // when it was asked
	sight  uint32  // what holds.sight was then
}

// extendAll sends one command, and notes the answers: held says whether all that have one
// stand. Open are the holds without an answer, and err is why the first of them has none.
func (hs *holds) extendAll(ctx context.Context, e extension, list []*hold) (held bool, open []*hold, err error) {
	e.sent = hs.clock.read()
	hs.mu.Lock()
	e.sight = hs.sight
	hs.mu.Unlock()
	records := make([]driver.Hold, len(list))
	for i, h := range list {
		records[i] = h.record // it never changes
	}
	answers, err := hs.provider.driver.Extend(ctx, e.ttl, records)
	if err == nil && len(answers) != len(records) {
		err = fmt.Errorf("locking: %s gave %d answers to an extension of %d locks", hs.provider.id, len(answers), len(records))
	}
	if err != nil {
		return true, list, err
	}
	held, open = hs.noteAnswers(&e, list, answers)
	for i := range answers {
		if err == nil {
			err = answers[i].Err
		}
	}
	return held, open, err
}

// refusal says that an error is the provider's answer, not the lack of one.
func refusal(err error) bool {
	if _, ok := errors.AsType[net.Error](err); ok {
		return false
	}
	return !slices.ContainsFunc([]error{
		context.Canceled, context.DeadlineExceeded, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, driver.ErrClosed,
	}, func(target error) bool { return errors.Is(err, target) })
}

// noteAnswers notes the answers to an extension. It says whether all that have one are held,
// and returns those that have none.
func (hs *holds) noteAnswers(e *extension, list []*hold, answers []driver.Extension) (held bool, open []*hold) {
	var over cancellations
	held = true
	now := hs.clock.read()
	hs.mu.Lock()
	for i, h := range list {
		a := &answers[i]
		if a.Err != nil {
			open = append(open, h)
			continue
		}
		held = held && a.Held
		switch {
		case h.cause != nil:
		case a.Held:
			h.seen = max(h.seen, e.sight)
			if e.byHand {
				h.prolong(a.Until, now)
				hs.schedule(h)
			} else {
				h.extended(a.Until, e, now)
			}
		case a.Revoked:
			hs.revoke(h, "", &over)
		default:
			hs.end(h, ErrLockLost, &over)
			hs.forget(h)
		}
	}
	hs.verifyUnseen(list)
	hs.mu.Unlock()
	over.tell()
	return held, open
}

func (hs *holds) postpone(list []*hold) {
	now := hs.clock.read()
	hs.mu.Lock()
	defer hs.mu.Unlock()
	for _, h := range list {
		if h.cause == nil {
			h.failed = true
			pause := renewRetry
			if !h.until.never() {
				pause = min(pause, max(h.until.mono.sub(now.mono)/4, renewRetryLeast))
			}
			h.renewAt = now.mono.add(pause)
			hs.schedule(h)
		}
	}
}

// extend gives the holds a longer life by hand. It answers false, and ends what
// is gone, when one of them is; else an error says that one has no answer.
func (hs *holds) extend(ctx context.Context, d time.Duration, list []*hold) (bool, error) {
	if err := hs.makeFull(ctx, list); err != nil {
		return false, err
	}
	held, _, err := hs.extendAll(ctx, extension{ttl: d, byHand: true}, list)
	if !held {
		return false, nil
	}
	return true, err
}

// makeFull extends the offers among the holds to what was asked for. Where that
// fails it is tried again until they end.
func (hs *holds) makeFull(ctx context.Context, list []*hold) error {
	var offers renewals
	now := hs.clock.read()
	hs.mu.Lock()
	for _, h := range list {
		if h.offer && h.cause == nil {
			h.renewAt = now.mono
			offers.add(h, now)
		}
	}
	hs.mu.Unlock()
	var errs []error
	for kind, batch := range offers {
		errs = append(errs, hs.renew(ctx, kind, batch))
	}
	return errors.Join(errs...)
}
