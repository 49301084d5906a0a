package locking

import (
	"context"
	"slices"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// verify asks for every hold whether it stands, beside its caller: the server may have
// forgotten it, or it was taken by force and the word was lost. Offers are not asked
// for, they are made full soon.
func (hs *holds) verify() {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	var list []*hold
	for _, h := range hs.found {
		if h.cause == nil && !h.offer {
			list = append(list, h)
		}
	}
	for batch := range slices.Chunk(list, renewBatch) {
		hs.spawn(func() { hs.verifyBatch(batch) })
	}
}

// verifyBatch extends holds by so little that it changes nothing. Without an answer
// they are left to their renewal, and to the next time.
func (hs *holds) verifyBatch(list []*hold) {
	ctx, cancel := context.WithTimeout(hs.life, renewPatience)
	defer cancel()
	records := make([]driver.Hold, len(list))
	for i, h := range list {
		records[i] = h.record
	}
	answers, err := hs.extendAll(ctx, time.Millisecond, records)
	if err != nil {
		if hs.life.Err() == nil {
			hs.log.Warn("locking: could not verify locks after the provider had lost sight of the server",
				"provider", hs.provider.id, "locks", len(list), "error", err)
		}
		return
	}
	hs.renewed(time.Millisecond, list, answers, true)
}
