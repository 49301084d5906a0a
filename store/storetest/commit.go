package storetest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

func commitCases() []storeCase {
	return []storeCase{
		{
			name: "WriteReplacesHeadAndItsCells",
			rule: "a write replaces the whole head and the cells that it names, adds those that are new, and leaves the others alone",
			why:  "I3: a checkpoint writes what has changed, and the rest stands",
			run: func(r *rig) {
				x := r.make("x", func(x *store.Snapshot) {
					x.CancelledAt, x.Output = r.now(), []byte("before")
					x.Cells = []store.Cell{{ID: 1, Data: []byte("one")}, {ID: 2, Data: []byte("two")}, {ID: 4, Data: []byte("four")}}
				})
				w := r.write(x)
				w.Head = store.Head{State: store.Compensating, DueAt: r.now().Add(time.Hour), Frames: 12}
				w.Cells = []store.Cell{{ID: 4, Data: []byte("4")}, {ID: 3, Data: []byte("three")}, {ID: 1, Data: []byte("a longer one")}}
				got := r.put(w)
				x.Head, x.Revision = w.Head, 2
				x.DueAt = x.DueAt.UTC()
				x.Cells = []store.Cell{
					{ID: 1, Data: []byte("a longer one")}, {ID: 2, Data: []byte("two")}, {ID: 3, Data: []byte("three")}, {ID: 4, Data: []byte("4")},
				}
				r.same("what was written", got, x)
			},
		},
		{
			name: "WriteRaisesTheRevisionByOne",
			rule: "a write raises the revision by one, and leaves epoch and owner",
			why:  "I2: its writer goes on under that fence, without loading it",
			run: func(r *rig) {
				x := r.make("x")
				w := r.write(x)
				for revision := uint64(2); revision <= 5; revision++ {
					got := r.put(w)
					if want := (store.Fence{Owner: r.me, Epoch: 1, Revision: revision}); got.Fence != want {
						r.Errorf("the fence is %s, want %s", fenceText(got.Fence), fenceText(want))
					}
					w.Fence.Revision, w.ID = revision, r.id()
				}
			},
		},
		{
			name: "CellWithoutDataIsDeleted",
			rule: "a write deletes a cell whose data is nil, also one that is not there, and the cell may come again",
			why:  "I3: an errand is done when its cell is gone",
			run: func(r *rig) {
				x := r.make("x")
				w := r.write(x)
				w.Cells = []store.Cell{{ID: 1}, {ID: 77}}
				x.Cells, x.Revision = x.Cells[1:], 2
				r.same("after its deletion", r.put(w), x)
				w = r.write(x)
				w.Cells = []store.Cell{{ID: 1, Data: []byte("again")}}
				x.Cells, x.Revision = slices.Insert(x.Cells, 0, store.Cell{ID: 1, Data: []byte("again")}), 3
				r.same("after it has come again", r.put(w), x)
			},
		},
		{
			name: "LastOfOneCellCounts",
			rule: "when a write or a new execution names one cell several times, the last counts",
			why:  "I3: one that is written and deleted within a checkpoint is not there after it",
			run: func(r *rig) {
				several := func() []store.Cell {
					return []store.Cell{
						{ID: 5, Data: []byte("first")},
						{ID: 6, Data: []byte("first")},
						{ID: 7},
						{ID: 5, Data: []byte("second")},
						{ID: 6},
						{ID: 7, Data: []byte("second")},
					}
				}
				want := []store.Cell{{ID: 5, Data: []byte("second")}, {ID: 7, Data: []byte("second")}}
				x := r.make("x", func(x *store.Snapshot) { x.Cells = several() })
				y := r.make("y", func(x *store.Snapshot) { x.Cells = []store.Cell{{ID: 6, Data: []byte("zeroth")}} })
				w := r.write(y)
				w.Cells = several()
				for what, got := range map[string]*store.Snapshot{"created": x, "written": r.put(w)} {
					r.same(what, &store.Snapshot{Cells: got.Cells}, &store.Snapshot{Cells: want})
				}
			},
		},
		{
			name: "ReleasingWriteLetsGo",
			rule: "a write with Release leaves the execution to nobody, in that same write: its writer cannot write again, and others claim it when it is due",
			why:  "I3: a death between the two would leave an owner who does not know that it owns",
			run: func(r *rig) {
				x := r.make("x")
				w := r.write(x)
				w.Release, w.Head.DueAt = true, r.now().Add(time.Hour)
				x.Owner, x.Revision, x.Head = store.Instance{}, 2, w.Head
				x.DueAt = x.DueAt.UTC()
				r.same("what was let go", r.put(w), x)
				again := r.write(x)
				again.Fence.Owner = r.me
				r.wantFenced("by the owner that let go", again)
				r.wantClaimed("of one that is not due", r.asking(r.me))
				y := r.make("y")
				r.letGo(y, r.now().Add(-time.Second))
				r.wantClaimed("of one that is due", r.asking(r.me), "y")
			},
		},
		{
			name: "MembersOfABatchAreApart",
			rule: "each write of a batch is made or refused by itself, and answered at its place",
			why:  "I2: the writes of many executions share a batch by chance",
			run:  membersAreApart,
		},
		{
			name: "LargeBatchIsAnsweredInTurn",
			rule: "a batch may have hundreds of writes",
			why:  "I2: a batch has what has come while the one before was written",
			run: func(r *rig) {
				const many = 300
				writes := make([]store.Write, many)
				for i := range writes {
					x := r.fresh(fmt.Sprintf("x-%d", i))
					r.create(x)
					writes[i] = r.write(x)
					writes[i].Fence.Epoch, writes[i].Fence.Revision = 1, 1
					if i%7 == 0 {
						writes[i].Fence.Revision = 5
					}
					writes[i].Head.Output = fmt.Appendf(nil, "output %d", i)
				}
				for i, err := range r.s.Commit(r.ctx, writes) {
					got := r.load(writes[i].Key)
					if refused := i%7 == 0; errors.Is(err, store.ErrFenced) != refused || (err == nil) == refused || (got.Output == nil) != refused {
						r.Errorf("write %d: %v, and the output is %q", i, err, got.Output)
					}
				}
			},
		},
		{
			name: "NoWritesNoAnswers",
			rule: "a batch without writes has no answers",
			why:  "I2: answers are for writes in turn",
			run: func(r *rig) {
				if errs := r.s.Commit(r.ctx, nil); len(errs) != 0 {
					r.Errorf("%v", errs)
				}
			},
		},
		{
			name: "WriteToNothingIsNotFound",
			rule: "a write to an execution that is not there is answered by ErrNotFound, and makes none",
			why:  "I9: what was forgotten does not come back in part",
			run: func(r *rig) {
				w := r.write(r.fresh("x"))
				if err := r.commit(w); !errors.Is(err, store.ErrNotFound) {
					r.Errorf("%v, want %v", err, store.ErrNotFound)
				}
				r.wantGone(w.Key)
			},
		},
	}
}

func membersAreApart(r *rig) {
	good, stale, last := r.make("good"), r.make("stale"), r.make("last")
	staleNow := r.put(r.write(stale))
	writes := []store.Write{r.write(good), r.write(stale), r.write(r.fresh("missing")), r.write(last)}
	for i := range writes {
		writes[i].Head.Output = fmt.Appendf(nil, "%d", i)
		writes[i].Cells = []store.Cell{{ID: 9, Data: []byte("nine")}}
	}
	errs := r.s.Commit(r.ctx, writes)
	if len(errs) != 4 || errs[0] != nil || !errors.Is(errs[1], store.ErrFenced) || !errors.Is(errs[2], store.ErrNotFound) || errs[3] != nil {
		r.Fatalf("the answers are %v, want none, fenced, not found, none", errs)
	}
	for i, x := range map[int]*store.Snapshot{0: good, 3: last} {
		x.Output, x.Revision = fmt.Appendf(nil, "%d", i), 2
		x.Cells = append(x.Cells, store.Cell{ID: 9, Data: []byte("nine")})
		r.same("a member that was made", r.load(x.Key), x)
	}
	r.same("a member that was refused", r.load(stale.Key), staleNow)
	r.wantGone(writes[2].Key)
}
