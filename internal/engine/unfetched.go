package engine

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/lockstep-dev/lockstep/store"
)

// unfetched are the finished executions with generated ids whose results nobody waited
// for when they ended, the oldest first. More than so many are not kept (I9).
type unfetched struct {
	// count is how many there are. Who removes one knows that its run has ended, and so
	// that it was added, if it was.
	count  atomic.Int32
	mu     sync.Mutex
	oldest *unfetchedOne
	latest *unfetchedOne
	byKey  map[store.Key]*unfetchedOne
}

// unfetchedOne is as little as can be: there may be a hundred thousand of them.
type unfetchedOne struct {
	key           store.Key
	runUID        string
	before, after *unfetchedOne
}

// add returns the oldest when there are more than so many.
func (u *unfetched) add(x *unfetchedOne, most int) (oldest *unfetchedOne) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.byKey == nil {
		u.byKey = make(map[store.Key]*unfetchedOne)
	}
	u.byKey[x.key] = x
	if x.before = u.latest; x.before != nil {
		x.before.after = x
	} else {
		u.oldest = x
	}
	u.latest = x
	u.count.Store(int32(len(u.byKey)))
	if len(u.byKey) <= most {
		return nil
	}
	oldest = u.oldest
	u.drop(oldest)
	return oldest
}

func (u *unfetched) remove(key store.Key) {
	if u.count.Load() == 0 {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if x := u.byKey[key]; x != nil {
		u.drop(x)
	}
}

// drop requires mu.
func (u *unfetched) drop(x *unfetchedOne) {
	if x.before != nil {
		x.before.after = x.after
	} else {
		u.oldest = x.after
	}
	if x.after != nil {
		x.after.before = x.before
	} else {
		u.latest = x.before
	}
	delete(u.byKey, x.key)
	u.count.Store(int32(len(u.byKey)))
}

// keepUnfetched has the result of a finished execution kept until it is fetched, or
// until it is one of too many.
func (r *Run) keepUnfetched() {
	if s := r.s.State; r.err != nil || r.joined || !r.s.Generated || r.s.Parent != nil || s != store.Done && s != store.Reverted {
		return
	}
	if r.waiting.Load() > 0 {
		return // whoever waits fetches it now
	}
	x := &unfetchedOne{key: r.key, runUID: r.s.RunUID}
	x.key.Workflow = r.plan.Name // which is there in any case
	if x.runUID == x.key.ID {
		x.runUID = x.key.ID // once
	}
	if oldest := r.e.unfetched.add(x, r.e.cfg.Retention.MostGenerated); oldest != nil {
		r.e.forget(context.WithoutCancel(r.e.life), oldest.key, oldest.runUID)
	}
}
