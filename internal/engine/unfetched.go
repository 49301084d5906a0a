package engine

import (
	"container/list"
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
	count atomic.Int32
	mu    sync.Mutex
	order list.List // of *store.Snapshot
	byKey map[store.Key]*list.Element
}

// add returns the oldest when there are more than so many.
func (u *unfetched) add(x *store.Snapshot, most int) (oldest *store.Snapshot) {
	u.mu.Lock()
	defer u.mu.Unlock()
	defer func() { u.count.Store(int32(u.order.Len())) }()
	if u.byKey == nil {
		u.byKey = make(map[store.Key]*list.Element)
	}
	u.byKey[x.Key] = u.order.PushBack(x)
	if u.order.Len() <= most {
		return nil
	}
	oldest, _ = u.order.Remove(u.order.Front()).(*store.Snapshot)
	delete(u.byKey, oldest.Key)
	return oldest
}

func (u *unfetched) remove(key store.Key) {
	if u.count.Load() == 0 {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	defer func() { u.count.Store(int32(u.order.Len())) }()
	if at := u.byKey[key]; at != nil {
		u.order.Remove(at)
		delete(u.byKey, key)
	}
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
	x := &store.Snapshot{Identity: store.Identity{Key: r.key, RunUID: r.s.RunUID, Generated: true}, Head: store.Head{State: r.s.State}}
	if oldest := r.e.unfetched.add(x, r.e.cfg.Retention.MostGenerated); oldest != nil {
		r.e.forget(context.WithoutCancel(r.e.life), &oldest.Identity)
	}
}
