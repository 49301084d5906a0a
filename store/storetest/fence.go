package storetest

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

func fenceCases() []storeCase {
	return []storeCase{
		{
			name: "OtherOwnerIsFenced",
			rule: "a write under another owner than the execution's is refused, be it another node or another start of the same",
			why:  "I2: a stale owner changes nothing, and learns it",
			run: func(r *rig) {
				x := r.make("x")
				for _, other := range []store.Instance{r.instance("other"), r.instance(r.me.Node), {Node: r.me.Incarnation, Incarnation: r.me.Node}, {Node: r.me.Node}} {
					w := r.write(x)
					w.Fence.Owner = other
					r.wantFenced("by "+other.String(), w)
				}
				r.put(r.write(x))
			},
		},
		{
			name: "OtherEpochIsFenced",
			rule: "a write under another epoch than the execution's is refused, an older and a newer one",
			why:  "I2: an instance that had the execution before, and has it again, is a stale owner in what it began before",
			run: func(r *rig) {
				x := r.make("x")
				c := r.asking(r.me)
				c.Keys = []store.Key{x.Key}
				x = r.claimOne(c, x.Key).Snapshot
				for _, epoch := range []uint64{0, 1, 3, 1 << 63} {
					w := r.write(x)
					w.Fence.Epoch = epoch
					r.wantFenced("in epoch 2", w)
				}
				r.put(r.write(x))
			},
		},
		{
			name: "OtherRevisionIsFenced",
			rule: "a write under another revision than the execution's is refused, an older and a newer one",
			why:  "I2: it was decided on what does not stand any more",
			run: func(r *rig) {
				x := r.put(r.write(r.put(r.write(r.make("x")))))
				for _, revision := range []uint64{0, 1, 2, 4, 1 << 63} {
					w := r.write(x)
					w.Fence.Revision = revision
					r.wantFenced("at revision 3", w)
				}
				r.put(r.write(x))
			},
		},
		{
			name: "NobodyIsFenced",
			rule: "a write without an owner is refused, also when nobody owns the execution",
			why:  "I2: whoever writes has claimed",
			run: func(r *rig) {
				x := r.make("x", ownedByNobody)
				r.wantFenced("of what was never owned", r.write(x))
				y := r.letGo(r.make("y"), time.Time{})
				r.wantFenced("of what was let go", r.write(y))
				r.same("what was never owned", r.load(x.Key), x)
				r.same("what was let go", r.load(y.Key), y)
			},
		},
		{
			name: "FencedErrorTellsWhatStands",
			rule: "the error of a write that is refused has the fence it was made under, and the one that stands",
			why:  "I2: a stale owner learns who has it",
			run: func(r *rig) {
				x := r.put(r.write(r.make("x")))
				w := r.write(x)
				w.Fence = store.Fence{Owner: r.instance("other"), Epoch: 5, Revision: 7}
				err := r.commit(w)
				fenced, ok := errors.AsType[*store.FencedError](err)
				if !ok || fenced.Key != x.Key || fenced.Wrote != w.Fence || fenced.Found != x.Fence {
					r.Errorf("%v, want a FencedError for %s with what was written under, %s, and what stands, %s", err, x.Key, fenceText(w.Fence), fenceText(x.Fence))
				}
			},
		},
		{
			name: "RefusedWriteChangesNothing",
			rule: "of a write that is refused nothing is kept: no head, no cell, no message consumed, no owner less",
			why:  "I3: half a checkpoint is worse than none",
			run:  refusedWriteChangesNothing,
		},
		{
			name: "StaleOwnerIsFencedAfterAClaim",
			rule: "once an execution is claimed, the owner before writes no more, however it was lost",
			why:  "I2: two owners who both write do the same step twice",
			run: func(r *rig) {
				lost := r.instance("lost")
				lapsed, released := r.make("lapsed", ownedBy(lost)), r.make("released")
				ended := r.unleased("ended")
				r.beat(ended, forLong)
				left := r.make("left", ownedBy(ended))
				r.release(r.me, released)
				r.end(ended)
				r.lapse(lost)
				other := r.instance("other")
				r.claimEventually(r.asking(other), lapsed, released, left)
				for _, x := range []*store.Snapshot{lapsed, released, left} {
					now := r.load(x.Key)
					r.wantFenced("by the owner before of "+x.ID, r.write(x))
					r.same(x.ID, r.load(x.Key), now)
				}
			},
		},
		{
			name: "LapsedOwnerWritesUntilItIsClaimed",
			rule: "the owner whose lease has lapsed may write what it has begun, as long as nobody has claimed the execution",
			why:  "I1: a result that is there is recorded, and not worked for again",
			run: func(r *rig) {
				lost := r.instance("lost")
				x := r.make("x", ownedBy(lost))
				r.lapse(lost)
				x = r.put(r.write(x))
				r.claimEventually(r.asking(r.me), x)
				r.wantFenced("after the claim", r.write(x))
			},
		},
		{
			name: "OneOfManyWritersWins",
			rule: "of many writes under one fence at once one is made, and the others are refused",
			why:  "I2: two writes at one revision were decided without each other",
			run:  oneOfManyWritersWins,
		},
	}
}

func refusedWriteChangesNothing(r *rig) {
	x := r.make("x")
	r.deliver(x.Key, "m")
	x = r.put(r.write(r.load(x.Key)))
	for what, change := range map[string]func(f *store.Fence){
		"another owner":     func(f *store.Fence) { f.Owner.Incarnation += "x" },
		"nobody":            func(f *store.Fence) { f.Owner = store.Instance{} },
		"an older epoch":    func(f *store.Fence) { f.Epoch-- },
		"a newer epoch":     func(f *store.Fence) { f.Epoch++ },
		"an older revision": func(f *store.Fence) { f.Revision-- },
		"a newer revision":  func(f *store.Fence) { f.Revision++ },
	} {
		w := r.write(x)
		change(&w.Fence)
		w.Head = store.Head{State: store.Done, DueAt: r.now().Add(-time.Hour), FinishedAt: r.now(), ForgetAt: r.now().Add(-time.Hour), Output: []byte("o")}
		w.Cells = []store.Cell{{ID: 1}, {ID: 2, Data: []byte("changed")}, {ID: 3, Data: []byte("new")}}
		w.Consumed, w.Release = []string{"m"}, true
		r.wantFenced("under "+what, w)
		r.same("after a write under "+what, r.load(x.Key), x)
		r.wantInbox("after a write under "+what, x.Key, "m")
	}
	r.wantClaimed("after all of them", r.asking(r.instance("other")))
	r.put(r.write(x))
}

func oneOfManyWritersWins(r *rig) {
	const writers = 16
	handles := r.handles(writers)
	x := r.make("x")
	for range 10 {
		writes, errs := make([]store.Write, writers), make([]error, writers)
		var wg sync.WaitGroup
		for i := range writers {
			writes[i] = r.write(x)
			writes[i].Head.Output = fmt.Appendf(nil, "writer %d", i)
			wg.Go(func() { errs[i] = handles[i].Commit(r.ctx, writes[i:i+1])[0] })
		}
		wg.Wait()
		now := r.load(x.Key)
		winners := 0
		for i, err := range errs {
			switch {
			case err == nil:
				winners++
				if string(now.Output) != fmt.Sprintf("writer %d", i) {
					r.Errorf("writer %d won, but %q stands", i, now.Output)
				}
			case !errors.Is(err, store.ErrFenced):
				r.Errorf("writer %d: %v", i, err)
			}
		}
		if winners != 1 || now.Revision != x.Revision+1 {
			r.Fatalf("%d of %d writers won, and revision %d became %d; want one", winners, writers, x.Revision, now.Revision)
		}
		x = now
	}
}
