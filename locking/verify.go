package locking

import (
	"context"
	"slices"
	"time"
)

// verifyPatience bounds one command of a verification. It is short: what some answer is
// noted when the slowest has answered, or the time is up.
const verifyPatience = time.Second

// verify asks for every hold whether it stands, beside its caller: the server may have
// forgotten it, or it was taken by force and the word was lost. Offers are not asked
// for, they are made full soon.
//
// Holds.sight counts how often sight was lost, and a hold has seen as much of it as had
// happened when the last extension was asked for that was answered. What it has not seen
// is asked for until it has, or has ended, or the service has. A hold whose answer is on
// its way in the meantime is asked for once more: the answer may be older.
func (hs *holds) verify() {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	hs.sight++
	list := make([]*hold, 0, len(hs.found))
	for _, h := range hs.found {
		list = append(list, h)
	}
	hs.verifyUnseen(list)
}

// unseen says that nothing is known of a hold since sight was lost last; it requires
// holds.mu.
func (h *hold) unseen() bool { return h.cause == nil && h.seen != h.at.sight }

// verifyUnseen begins to ask for those of the holds of which nothing is known; it requires
// mu.
func (hs *holds) verifyUnseen(list []*hold) {
	var unseen []*hold
	for _, h := range list {
		if h.unseen() && !h.offer && !h.verifying {
			h.verifying = true
			unseen = append(unseen, h)
		}
	}
	for batch := range slices.Chunk(unseen, renewBatch) {
		hs.spawn(func() { hs.verifyBatch(batch) })
	}
}

// verifyBatch extends holds by so little that it changes nothing, until there is an answer
// for each.
func (hs *holds) verifyBatch(list []*hold) {
	for failing := false; ; {
		err := hs.verifyOnce(list)
		switch list = hs.stillUnseen(list); {
		case hs.life.Err() != nil:
			return
		case len(list) == 0:
			if failing {
				hs.log.Info("locking: locks that could not be verified have been, or have ended", "provider", hs.provider.id)
			}
			return
		case err == nil:
			continue // sight was lost once more
		case !failing:
			failing = true
			hs.log.Warn("locking: could not verify locks after the provider had lost sight of the server, trying again until they end",
				"provider", hs.provider.id, "locks", len(list), "error", err)
		}
		select {
		case <-time.After(renewRetry):
		case <-hs.life.Done():
			return
		}
	}
}

func (hs *holds) verifyOnce(list []*hold) error {
	ctx, cancel := context.WithTimeout(hs.life, verifyPatience)
	defer cancel()
	_, _, err := hs.extendAll(ctx, extension{ttl: time.Millisecond, byHand: true}, list)
	return err
}

// stillUnseen returns those of the holds of which nothing is known yet.
func (hs *holds) stillUnseen(list []*hold) []*hold {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	var unseen []*hold
	for _, h := range list {
		if h.unseen() {
			unseen = append(unseen, h)
		} else {
			h.verifying = false
		}
	}
	return unseen
}
