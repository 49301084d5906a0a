package locking

import (
	"context"
	"slices"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// giveBackTime bounds a release that nobody waits for with a context of his own.
const giveBackTime = 5 * time.Second

// detached returns a context that keeps ctx's values but not its end, and that
// is bounded all the same.
func detached(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), giveBackTime)
}

// release takes one handle from each hold, and frees those that have none left,
// which it returns. It answers false when one of them was gone.
func (hs *holds) release(ctx context.Context, list []*hold) (freed []*hold, there bool, err error) {
	hs.mu.Lock()
	for _, h := range list {
		if h.handles--; h.handles <= 0 {
			freed = append(freed, h)
		}
	}
	hs.mu.Unlock()
	answers, err := hs.freeAll(ctx, freed)
	return freed, all(answers), err
}

// freeAll gives holds back whatever handles there are, and answers for each. One
// that was abandoned is left to its lease.
func (hs *holds) freeAll(ctx context.Context, list []*hold) ([]bool, error) {
	hs.mu.Lock()
	sent := slices.DeleteFunc(slices.Clone(list), func(h *hold) bool { return h.abandoned })
	for _, h := range sent {
		h.handles = 0
	}
	answered := hs.leave(sent)
	hs.mu.Unlock()
	freed, err := hs.send(ctx, sent, answered)
	if err != nil || len(sent) == len(list) {
		return freed, err
	}
	answers := make([]bool, len(list))
	for i, h := range list {
		if len(sent) > 0 && h == sent[0] {
			answers[i], sent, freed = freed[0], sent[1:], freed[1:]
		}
	}
	return answers, nil
}

// unshared returns those of the holds that have no handle left.
func (hs *holds) unshared(list []*hold) []*hold {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	var found []*hold
	for _, h := range list {
		if h.handles <= 0 {
			found = append(found, h)
		}
	}
	return found
}

// leave ends the local side of holds that are about to be released; it requires
// mu. The returned function says that the provider has answered. Until then, and
// for requests that were on their way by then, the tokens are given up: unless
// there was an error, after which a hold may stand, and may be joined.
func (hs *holds) leave(list []*hold) (answered func(error)) {
	ch := make(chan struct{})
	for _, h := range list {
		id := slotKey{h.record.Owner, h.record.Key}
		s := hs.slots[id]
		if s == nil {
			s = &slot{}
			hs.slots[id] = s
		}
		if s.freeing == nil {
			s.freeing = make(map[driver.Token]chan struct{})
		}
		s.freeing[h.record.Token] = ch
		s.releases++
		hs.drop(h)
	}
	return func(err error) {
		hs.mu.Lock()
		defer hs.mu.Unlock()
		for _, h := range list {
			id := slotKey{h.record.Owner, h.record.Key}
			s := hs.slots[id]
			s.releases--
			if err != nil {
				delete(s.freeing, h.record.Token)
			}
			hs.sweep(id, s)
		}
		close(ch)
	}
}

// send releases the holds at the provider and ends their contexts.
func (hs *holds) send(ctx context.Context, list []*hold, answered func(error)) ([]bool, error) {
	if len(list) == 0 {
		return nil, nil
	}
	records := make([]driver.Hold, len(list))
	for i, h := range list {
		records[i] = h.record
	}
	end(list)
	freed, err := hs.provider.driver.Release(ctx, records)
	answered(err)
	return freed, err
}

func end(list []*hold) {
	for _, h := range list {
		h.cancel(ErrLockReleased)
	}
}

// freeNamed frees keys of an owner by name, whatever their tokens are.
func (hs *holds) freeNamed(ctx context.Context, owner string, keys []string) ([]bool, error) {
	records := make([]driver.Hold, len(keys))
	for i, k := range keys {
		records[i] = driver.Hold{Key: k, Owner: owner}
	}
	answered := hs.leaveNamed(func(id slotKey) bool {
		_, named := slices.BinarySearch(keys, id.key)
		return id.owner == owner && named
	})
	freed, err := hs.provider.driver.Release(ctx, records)
	answered(err)
	return freed, err
}

// freeOwner frees everything of an owner.
func (hs *holds) freeOwner(ctx context.Context, owner string) (int, error) {
	answered := hs.leaveNamed(func(id slotKey) bool { return id.owner == owner })
	n, err := hs.provider.driver.ReleaseAll(ctx, owner)
	answered(err)
	return n, err
}

// leaveNamed is leave for the holds of this process that match.
func (hs *holds) leaveNamed(match func(slotKey) bool) (answered func(error)) {
	var local []*hold
	hs.mu.Lock()
	for id, s := range hs.slots {
		if s.hold != nil && match(id) {
			s.hold.handles = 0
			local = append(local, s.hold)
		}
	}
	answered = hs.leave(local)
	hs.mu.Unlock()
	end(local)
	return answered
}
