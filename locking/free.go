package locking

import (
	"context"
	"slices"
	"sync"
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
// which it returns. It answers false when one of them was gone. A hold that has none left is
// on its way at once: a handle that is made meanwhile is one of the next hold.
func (hs *holds) release(ctx context.Context, list []*hold) (freed []*hold, there bool, err error) {
	var over cancellations
	hs.mu.Lock()
	shared := 0
	for _, h := range list {
		if h.handles--; h.handles > 0 {
			shared++
		}
	}
	if freed = list; shared > 0 {
		freed = slices.DeleteFunc(slices.Clone(list), func(h *hold) bool { return h.handles > 0 })
	}
	sent := hs.depart(freed, &over)
	hs.mu.Unlock()
	over.tell()
	answers, err := hs.freeDeparted(ctx, freed, sent)
	return freed, all(answers), err
}

// freeAll gives holds back whatever handles there are, and answers for each. One
// that was abandoned is left to its lease.
func (hs *holds) freeAll(ctx context.Context, list []*hold) ([]bool, error) {
	var over cancellations
	hs.mu.Lock()
	sent := hs.depart(list, &over)
	hs.mu.Unlock()
	over.tell()
	return hs.freeDeparted(ctx, list, sent)
}

// depart ends the local side of holds, and returns those that are to be freed. It requires mu.
func (hs *holds) depart(list []*hold, over *cancellations) (sent []*hold) {
	abandoned := func(h *hold) bool { return h.abandoned }
	if sent = list; slices.ContainsFunc(list, abandoned) {
		sent = slices.DeleteFunc(slices.Clone(list), abandoned)
	}
	hs.leave(sent, over)
	return sent
}

// freeDeparted frees what has been sent off of a list, and answers for each of that.
func (hs *holds) freeDeparted(ctx context.Context, list, sent []*hold) ([]bool, error) {
	if len(sent) == 0 {
		return make([]bool, len(list)), nil
	}
	freed, err := hs.sendRelease(ctx, sent)
	hs.left(sent, err)
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

// records are lists of holds as providers take them.
var records = sync.Pool{New: func() any { return new([]driver.Hold) }}

// sendRelease asks the provider to release holds.
func (hs *holds) sendRelease(ctx context.Context, list []*hold) ([]bool, error) {
	own, ok := records.Get().(*[]driver.Hold)
	if !ok {
		own = new([]driver.Hold)
	}
	for _, h := range list {
		*own = append(*own, h.record)
	}
	freed, err := hs.provider.driver.Release(ctx, *own)
	if err == nil && cap(*own) <= recordsKept { // without an answer the call may still be under way
		clear(*own)
		*own = (*own)[:0]
		records.Put(own)
	}
	return freed, err
}

// recordsKept is how long a list is at most that is used again.
const recordsKept = 64

// leave ends the local side of holds that are about to be released; it requires mu.
func (hs *holds) leave(list []*hold, over *cancellations) {
	for _, h := range list {
		h.handles, h.unanswered = 0, false
		hs.releasing(h)
		hs.forget(h)
		hs.end(h, ErrLockReleased, over)
	}
}

// left notes the provider's answer to the release of holds. Without one the lock
// may still stand, and is kept in mind.
func (hs *holds) left(list []*hold, err error) {
	now := hs.clock.read()
	hs.mu.Lock()
	defer hs.mu.Unlock()
	for _, h := range list {
		hs.released(h, err)
		at := slotOf(&h.record)
		if err == nil || hs.closed || hs.found[at] != nil || h.until.passed(now) {
			continue
		}
		h.unanswered = true
		hs.found[at] = h
		hs.schedule(h)
	}
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

// freeNamed frees keys of an owner by name, whatever their tokens are.
func (hs *holds) freeNamed(ctx context.Context, owner string, keys []string) ([]bool, error) {
	var over cancellations
	var local []*hold
	records := make([]driver.Hold, len(keys))
	hs.mu.Lock()
	for i, k := range keys {
		records[i] = driver.Hold{Key: k, Owner: owner}
		if h := hs.found[slot{owner, k}]; h != nil {
			local = append(local, h)
		}
	}
	hs.leave(local, &over)
	hs.mu.Unlock()
	over.tell()
	freed, err := hs.provider.driver.Release(ctx, records)
	hs.left(local, err)
	return freed, err
}

// freeOwner frees everything of an owner. It looks at every hold of this process.
func (hs *holds) freeOwner(ctx context.Context, owner string) (int, error) {
	var over cancellations
	var local []*hold
	hs.mu.Lock()
	for at, h := range hs.found {
		if at.owner == owner {
			local = append(local, h)
		}
	}
	hs.leave(local, &over)
	hs.mu.Unlock()
	over.tell()
	n, err := hs.provider.driver.ReleaseAll(ctx, owner)
	hs.left(local, err)
	return n, err
}
