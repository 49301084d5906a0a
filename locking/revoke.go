package locking

import (
	"errors"
	"fmt"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// notify is told by the provider what happens to holds of this process. It does
// not block, and calls the provider only beside its caller.
//
// A hold that was taken by force ends here and now; it goes on to the next in line
// when its handles have released it, which is how its holder says that it has
// stopped. So an event never releases what somebody may still work under: not a hold
// that is known, not one whose grant is still on its way, not one that was abandoned
// to its lease, and not one that this process knows nothing of, since another user of
// the provider may have it. The one that it does release is a hold whose handles are
// gone, and whose release got no answer.
func (hs *holds) notify(e driver.Event) {
	if e.Ticket != "" {
		e.Err = hs.provider.explainEnd(e.Ticket, e.Err)
		hs.tickets.tell(e)
		return
	}
	if e.Verify {
		hs.verify()
		return
	}
	var over cancellations
	hs.mu.Lock()
	at := slotOf(&e.Revoked)
	h := hs.found[at]
	c, requested := hs.crossings[at]
	switch {
	case hs.closed:
	case h != nil && h.record.Token == e.Revoked.Token:
		hs.revoke(h, e.Reason, &over)
	case requested && c.requests > 0:
		c.revoked = append(c.revoked, e.Revoked.Token)
		hs.crossings[at] = c
	}
	hs.mu.Unlock()
	over.tell()
}

// revoke requires mu.
func (hs *holds) revoke(h *hold, reason string, over *cancellations) {
	switch {
	case h.cause == nil:
		hs.end(h, ErrLockRevoked, over)
		hs.spawn(func() {
			hs.log.Warn("locking: a lock was taken from this process by force",
				"key", h.record.Key, "owner", h.record.Owner, "token", h.record.Token, "provider", hs.provider.id, "reason", reason)
		})
	case h.unanswered && !h.abandoned:
		h.unanswered = false
		hs.giveBackLater(h)
	}
}

// explainEnd puts the reason why a ticket has ended into this package's words.
func (p *provider) explainEnd(ticket string, err error) error {
	var circle *driver.DeadlockError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &circle):
		return &DeadlockError{Cycle: circle.Cycle, Provider: p.id}
	case errors.Is(err, driver.ErrRevoked):
		return fmt.Errorf("%w: ticket %q at %s is of an earlier attempt", ErrLockRevoked, ticket, p.id)
	default:
		return fmt.Errorf("locking: ticket %q at %s: %w", ticket, p.id, err)
	}
}
