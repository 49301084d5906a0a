package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/lockstep-dev/lockstep/store"
)

// Locks that protect a process end with it. Where one process at a time has the store,
// nobody else can have had those that executions held when it died, as long as they are
// taken again in the next process that has instances, and before anything in that asks for
// a lock. So an engine on such a store takes them when it starts, and lets nothing go on
// before all are taken; where somebody has asked for a lock before that, they are lost.

// barrier holds executions back until all of them have come to it.
type barrier struct {
	mu      sync.Mutex
	missing map[*Run]bool
	latest  map[lockName]uint64 // the highest token that a record has
	all     chan struct{}       // closed when none is missing, after the barrier was set up
	open    bool
	waiting []func()
}

// lockName names a lock of a provider.
type lockName struct{ provider, key string }

// may says that holds of an execution may be restored: they were recorded by the owner just
// before, whose process was the last one that had any, and no record tells of a later holder.
func (b *barrier) may(holds []store.Hold, epoch uint64) bool {
	return b != nil && !slices.ContainsFunc(holds, func(h store.Hold) bool {
		return h.Epoch != epoch-1 || h.Token < b.latest[lockName{h.Provider, h.Key}]
	})
}

// reached notes that a run has tried to take its locks over. A nil barrier waits for none.
func (b *barrier) reached(r *Run) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.missing[r] {
		if delete(b.missing, r); len(b.missing) == 0 {
			close(b.all)
		}
	}
}

// pass goes on with a run that has its locks, now or when the barrier is open.
func (b *barrier) pass(r *Run, unclean bool) error {
	if b.holds(func() { r.post(passed{unclean}) }) {
		return nil
	}
	return passed{unclean}.handle(r)
}

// holds answers whether the barrier is closed, and keeps what is to be done when it opens.
func (b *barrier) holds(then func()) bool {
	if b == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.open {
		b.waiting = append(b.waiting, then)
	}
	return !b.open
}

// lift opens the barrier.
func (b *barrier) lift() {
	b.mu.Lock()
	b.open = true
	waiting := b.waiting
	b.waiting = nil
	b.mu.Unlock()
	for _, f := range waiting {
		f()
	}
}

// passed is mail: the barrier that held the execution back is open.
type passed struct{ unclean bool }

func (m passed) handle(r *Run) error {
	if r.restores = nil; !r.s.State.Finished() {
		return r.goOn(m.unclean)
	}
	r.ready()
	if err := r.readInbox(); err != nil || !r.s.State.Finished() || r.over {
		return err
	}
	return r.settle()
}

// restore claims what holds locks that nobody else can have taken since its process died,
// and waits until they are taken again. What is claimed goes on when resume is called.
func (e *Engine) restore(ctx context.Context) (resume func(), err error) {
	if e.cfg.Keeper == nil || !e.info.Durable || e.info.Shared {
		return func() {}, nil
	}
	b := &barrier{missing: map[*Run]bool{}, latest: map[lockName]uint64{}, all: make(chan struct{})}
	var post []func()
	for more := true; more; {
		got, err := e.ask(ctx, store.Claim{Holders: true, Limit: claimBatch})
		if err != nil {
			return nil, fmt.Errorf("look for executions that hold locks: %w", err)
		}
		for i := range got {
			r := e.adopt(got[i])
			if r == nil {
				continue
			}
			b.missing[r] = false
			for _, h := range r.s.Holds() {
				name := lockName{h.Provider, h.Key}
				b.latest[name] = max(b.latest[name], h.Token)
				b.missing[r] = b.missing[r] || e.cfg.Keeper.Local(h.Provider)
			}
			if got[i].Next {
				r.restores = b
			}
			post = append(post, func() { r.post(adopted{got[i].Unclean, b}) })
		}
		more = len(got) == claimBatch
	}
	maps.DeleteFunc(b.missing, func(_ *Run, waited bool) bool { return !waited })
	if len(b.missing) == 0 {
		close(b.all)
	}
	for _, f := range post {
		f()
	}
	select {
	case <-b.all:
		return b.lift, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("take over the locks of executions: %w", ctx.Err())
	case <-e.base.Done():
		return nil, fmt.Errorf("take over the locks of executions: %w", context.Cause(e.base))
	}
}
