package storetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

func contestCases() []storeCase {
	return []storeCase{
		{
			name: "NeverTwoOwners",
			rule: "of many instances that claim at once each execution has one owner, and each is claimed, whatever for",
			why:  "I2: two owners do the same step at once; I8: one without an owner is stuck",
			run:  neverTwoOwners,
		},
		{
			name: "StormEndsEverything",
			rule: "while instances come and go, in all the ways that they can, every execution is driven to its end, and each write that was acknowledged is there, once",
			why:  "I1: a result is recorded exactly once; I2; I8",
			run:  stormEndsEverything,
		},
	}
}

func neverTwoOwners(r *rig) {
	const claimers, each = 16, 12
	lost := r.instance("lost")
	past := r.now().Add(-time.Minute)
	for i := range each {
		r.make(fmt.Sprint("due ", i), ownedByNobody, dueAt(past))
		r.release(r.me, r.make(fmt.Sprint("released ", i)))
		r.make(fmt.Sprint("lapsed ", i), ownedBy(lost))
		r.deliver(r.make(fmt.Sprint("told ", i), ownedByNobody).Key, "m")
		r.make(fmt.Sprint("unsettled ", i), inState(store.Done), unsettled, ownedByNobody)
		r.make(fmt.Sprint("of a predecessor ", i), ownedBy(r.instance(fmt.Sprintf("node-%d", i))))
	}
	r.lapse(lost)
	const all = 6 * each
	handles := r.handles(claimers)
	var mu sync.Mutex
	owners := map[string][]store.Fence{}
	count := func() int { mu.Lock(); defer mu.Unlock(); return len(owners) }
	var wg sync.WaitGroup
	for n, s := range handles {
		i := r.instance(fmt.Sprintf("node-%d", n))
		wg.Go(func() {
			deadline := time.Now().Add(r.patience)
			for count() < all && time.Now().Before(deadline) {
				c := r.asking(i)
				c.Limit, c.Predecessors = 3, true
				list, err := s.Claim(r.ctx, c)
				if err != nil {
					r.Errorf("%s: %v", i, err)
					return
				}
				mu.Lock()
				for _, x := range list {
					owners[x.ID] = append(owners[x.ID], x.Fence)
				}
				mu.Unlock()
				if len(list) == 0 {
					time.Sleep(pollInterval)
				}
			}
		})
	}
	wg.Wait()
	if len(owners) != all {
		r.Errorf("%d of %d executions were claimed", len(owners), all)
	}
	for id, fences := range owners {
		got := r.load(store.Key{Workflow: thePlan.Workflow, ID: id})
		if len(fences) != 1 || fences[0] != got.Fence || got.Epoch != 2 || got.Revision != 2 {
			r.Errorf("%q was claimed %d times, %v, and stands under %s; want once, in epoch 2", id, len(fences), fences, fenceText(got.Fence))
		}
	}
}

// storm is what the workers of a storm share.
type storm struct {
	*rig

	turns  atomic.Int64
	mu     sync.Mutex
	owners map[string]store.Instance // by execution and epoch
	acked  map[string][]store.CellID // by execution
	done   map[string]bool
}

const stormWrites = 12

func stormEndsEverything(r *rig) {
	const workers, executions = 8, 16
	st := &storm{rig: r, owners: map[string]store.Instance{}, acked: map[string][]store.CellID{}, done: map[string]bool{}}
	var made []*store.Snapshot
	for i := range executions {
		made = append(made, r.make(fmt.Sprint(i), ownedByNobody, dueAt(r.now().Add(-time.Minute)), func(x *store.Snapshot) { x.Cells, x.Frames = nil, 0 }))
	}
	var wg sync.WaitGroup
	for n, s := range r.handles(workers) {
		wg.Go(func() {
			for deadline := time.Now().Add(2 * r.patience); st.open(executions) && time.Now().Before(deadline); {
				st.life(s, n)
			}
		})
	}
	wg.Wait()
	for _, x := range made {
		st.judge(r.load(x.Key))
	}
}

func (st *storm) open(executions int) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return len(st.done) < executions
}

// life is that of one instance, which ends in one way or another.
func (st *storm) life(s store.Store, node int) {
	i := st.unleased(fmt.Sprintf("node-%d", node))
	if err := s.Heartbeat(st.ctx, i, st.lease()); err != nil {
		st.Errorf("the first heartbeat of %s: %v", i, err)
		return
	}
	for range 1 + rand.IntN(5) {
		c := st.asking(i)
		c.Limit = 1 + rand.IntN(3)
		c.Predecessors = rand.IntN(2) == 0 // those of this worker have ended
		list, err := s.Claim(st.ctx, c)
		switch {
		case errors.Is(err, store.ErrInstance):
			return
		case err != nil:
			st.Errorf("Claim: %v", err)
			return
		}
		for _, x := range list {
			st.claimed(x.Snapshot)
		}
		for _, x := range list {
			if !st.drive(s, x.Snapshot) {
				return // it dies in the midst of something
			}
		}
		if len(list) == 0 {
			time.Sleep(pollInterval)
		}
	}
	if rand.IntN(2) == 0 {
		if err := s.End(st.ctx, i); err != nil {
			st.Errorf("End: %v", err)
		}
	}
}

func (st *storm) claimed(x *store.Snapshot) {
	st.mu.Lock()
	defer st.mu.Unlock()
	at := fmt.Sprintf("%s in epoch %d", x.ID, x.Epoch)
	if other, ok := st.owners[at]; ok {
		st.Errorf("%s was claimed by %s and by %s", at, other, x.Owner)
	}
	st.owners[at] = x.Owner
}

// drive makes some writes. It answers false when the instance is to die.
func (st *storm) drive(s store.Store, x *store.Snapshot) bool {
	for range 1 + rand.IntN(4) {
		if st.turns.Add(1)%20 == 0 {
			st.pass(2 * st.lease()) // it hangs, and goes on
		}
		w := st.write(x)
		cell := store.CellID(w.ID)
		w.Cells = []store.Cell{{ID: cell, Data: []byte{1}}}
		w.Head.Frames++
		w.Head.DueAt = st.now().Add(-time.Second)
		if w.Head.Frames == stormWrites {
			w.Head.State, w.Head.FinishedAt = store.Done, st.now()
		}
		w.Release = w.Head.Frames == stormWrites || rand.IntN(4) == 0
		switch err := s.Commit(st.ctx, []store.Write{w})[0]; {
		case errors.Is(err, store.ErrFenced):
			return true // it was lost; what it has written, the store knows
		case err != nil:
			st.Errorf("Commit: %v", err)
			return true
		}
		st.mu.Lock()
		st.acked[x.ID] = append(st.acked[x.ID], cell)
		if w.Head.State == store.Done {
			st.done[x.ID] = true
		}
		st.mu.Unlock()
		if w.Release {
			return true
		}
		x.Head = w.Head
		x.Revision++
	}
	switch rand.IntN(3) {
	case 0:
		return false
	case 1:
		if err := s.Release(st.ctx, x.Owner, []store.Held{{Key: x.Key, Epoch: x.Epoch}}); err != nil {
			st.Errorf("Release: %v", err)
		}
	}
	return true
}

// judge looks at what has become of one execution.
func (st *storm) judge(x *store.Snapshot) {
	if x.State != store.Done || x.Frames != stormWrites || len(x.Cells) != stormWrites {
		st.Errorf("%s is %s after %d writes, with %d cells, under %s; want it done after %d", x.ID, x.State, x.Frames, len(x.Cells), fenceText(x.Fence), stormWrites)
	}
	if want := 1 + uint64(x.Frames) + x.Epoch - 1; x.Revision != want {
		st.Errorf("%s has the revision %d after %d writes and %d claims, want %d", x.ID, x.Revision, x.Frames, x.Epoch-1, want)
	}
	there := map[store.CellID]bool{}
	for _, c := range x.Cells {
		there[c.ID] = true
	}
	for _, id := range st.acked[x.ID] {
		if !there[id] {
			st.Errorf("write %d of %s was acknowledged, and is not there", id, x.ID)
		}
	}
	for epoch := uint64(2); epoch <= x.Epoch && !st.repeat; epoch++ { // of a call and its repetition only one is heard
		if _, ok := st.owners[fmt.Sprintf("%s in epoch %d", x.ID, epoch)]; !ok {
			st.Errorf("nobody was told to have %s in epoch %d", x.ID, epoch)
		}
	}
}
