package storetest

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

// newWriteID gives each write an ID of its own.
func newWriteID() func(s store.Store, w *store.Write) {
	var n atomic.Uint64
	return func(_ store.Store, w *store.Write) { w.ID = n.Add(1) }
}

func commitMutants() []mutant {
	return []mutant{
		{
			name: "a write leaves what it has not", cases: []string{"WriteReplacesHeadAndItsCells"},
			wrap: onWrite(func(s store.Store, w *store.Write) {
				if x, err := s.Load(context.Background(), w.Key); err == nil && w.Head.CancelledAt.IsZero() {
					w.Head.CancelledAt = x.CancelledAt
				}
			}),
		},
		{
			name: "a write replaces all cells", cases: []string{"WriteReplacesHeadAndItsCells"},
			wrap: onWrite(func(s store.Store, w *store.Write) {
				x, err := s.Load(context.Background(), w.Key)
				if err != nil {
					return
				}
				for _, c := range x.Cells {
					w.Cells = slices.Insert(slices.Clone(w.Cells), 0, store.Cell{ID: c.ID})
				}
			}),
		},
		{
			name: "a write adds cells and replaces none", cases: []string{"WriteReplacesHeadAndItsCells"},
			wrap: onWrite(func(s store.Store, w *store.Write) {
				x, err := s.Load(context.Background(), w.Key)
				if err != nil {
					return
				}
				w.Cells = slices.DeleteFunc(slices.Clone(w.Cells), func(c store.Cell) bool {
					return slices.ContainsFunc(x.Cells, func(o store.Cell) bool { return o.ID == c.ID })
				})
			}),
		},
		{
			name: "a write counts as two", cases: []string{"WriteRaisesTheRevisionByOne", "RepeatedWriteIsDone"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, commit: func(ctx context.Context, w store.Write) error {
					err := one(ctx, s, w)
					w.Fence.Revision++
					w.Cells, w.Consumed, w.Release = nil, nil, false
					_ = one(ctx, s, w)
					return err
				}}
			},
		},
		{
			name: "no cell is deleted", cases: []string{"CellWithoutDataIsDeleted"},
			wrap: onWrite(func(_ store.Store, w *store.Write) {
				w.Cells = slices.DeleteFunc(slices.Clone(w.Cells), func(c store.Cell) bool { return c.Data == nil })
			}),
		},
		{
			name: "a deleted cell is empty", cases: []string{"CellWithoutDataIsDeleted"},
			wrap: onBytes(func(b []byte) []byte { return append([]byte{}, b...) }),
		},
		{
			name: "the first of one cell counts", cases: []string{"LastOfOneCellCounts"},
			wrap: onWrite(func(_ store.Store, w *store.Write) { w.Cells = slices.Clone(w.Cells); slices.Reverse(w.Cells) }),
		},
		{
			name: "deletions come first", cases: []string{"LastOfOneCellCounts"},
			wrap: onWrite(func(_ store.Store, w *store.Write) {
				w.Cells = slices.Clone(w.Cells)
				slices.SortStableFunc(w.Cells, func(a, b store.Cell) int { return min(len(a.Data), 1) - min(len(b.Data), 1) })
			}),
		},
		{
			name: "Release is not looked at", cases: []string{"ReleasingWriteLetsGo", "DueIsClaimed"},
			wrap: onWrite(func(_ store.Store, w *store.Write) { w.Release = false }),
		},
		{name: "who lets go gives up", cases: []string{"ReleasingWriteLetsGo", "DormantIsLeftAlone"}, wrap: givingUp(func(store.Key) bool { return true })},
		{
			name: "a batch ends with the first that is refused", cases: []string{"MembersOfABatchAreApart", "LargeBatchIsAnsweredInTurn"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, batch: func(ctx context.Context, writes []store.Write) []error {
					errs := make([]error, len(writes))
					for i, w := range writes {
						if errs[i] = one(ctx, s, w); errs[i] != nil {
							for j := i; j < len(errs); j++ {
								errs[j] = errs[i]
							}
							break
						}
					}
					return errs
				}}
			},
		},
		{
			name: "answers are in no order", cases: []string{"MembersOfABatchAreApart", "LargeBatchIsAnsweredInTurn"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, batch: func(ctx context.Context, writes []store.Write) []error {
					errs := s.Commit(ctx, writes)
					slices.Reverse(errs)
					return errs
				}}
			},
		},
		{
			name: "256 writes are enough", cases: []string{"LargeBatchIsAnsweredInTurn"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, batch: func(ctx context.Context, writes []store.Write) []error {
					n := min(len(writes), 256)
					return append(s.Commit(ctx, writes[:n]), make([]error, len(writes)-n)...)
				}}
			},
		},
		{
			name: "there is always an answer", cases: []string{"NoWritesNoAnswers"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, batch: func(ctx context.Context, writes []store.Write) []error {
					if len(writes) == 0 {
						return []error{nil}
					}
					return s.Commit(ctx, writes)
				}}
			},
		},
		{name: "a write to nothing is done", cases: []string{"WriteToNothingIsNotFound", "MembersOfABatchAreApart"}, wrap: pardoned(store.ErrNotFound)},
		{
			name: "a write to nothing makes it", cases: []string{"WriteToNothingIsNotFound"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, commit: func(ctx context.Context, w store.Write) error {
					err := one(ctx, s, w)
					if errors.Is(err, store.ErrNotFound) {
						_, _ = s.Create(ctx, &store.Snapshot{Identity: store.Identity{Key: w.Key}, Head: w.Head})
					}
					return err
				}}
			},
		},
	}
}

// givingUp has a write with Release be followed by a release.
func givingUp(of func(key store.Key) bool) func(store.Store) store.Store {
	return func(s store.Store) store.Store {
		return &faulty{Store: s, commit: func(ctx context.Context, w store.Write) error {
			gives := w.Release && of(w.Key)
			if gives {
				w.Release = false
			}
			err := one(ctx, s, w)
			if gives && err == nil {
				err = s.Release(ctx, w.Fence.Owner, []store.Held{{Key: w.Key, Epoch: w.Fence.Epoch}})
			}
			return err
		}}
	}
}

// pardoned answers no write by the error.
func pardoned(pardon error) func(store.Store) store.Store {
	return func(s store.Store) store.Store {
		return &faulty{Store: s, commit: func(ctx context.Context, w store.Write) error {
			if err := one(ctx, s, w); !errors.Is(err, pardon) {
				return err
			}
			return nil
		}}
	}
}

// lenient makes writes although their fence does not stand, where the two are close.
func lenient(near func(wrote, found store.Fence) bool) func(store.Store) store.Store {
	return func(s store.Store) store.Store {
		return &faulty{Store: s, commit: func(ctx context.Context, w store.Write) error {
			err := one(ctx, s, w)
			fenced, ok := errors.AsType[*store.FencedError](err)
			if !ok || !near(fenced.Wrote, fenced.Found) {
				return err
			}
			if fenced.Found.Owner.None() {
				return nil // as if it were made
			}
			return force(ctx, s, w)
		}}
	}
}

func fenceMutants() []mutant {
	return []mutant{
		{
			name: "owners are not compared", cases: []string{"OtherOwnerIsFenced", "RefusedWriteChangesNothing"},
			wrap: lenient(func(w, f store.Fence) bool { return w.Epoch == f.Epoch && w.Revision == f.Revision }),
		},
		{
			name: "of owners the nodes are compared", cases: []string{"OtherOwnerIsFenced"},
			wrap: lenient(func(w, f store.Fence) bool {
				return w.Owner.Node == f.Owner.Node && w.Epoch == f.Epoch && w.Revision == f.Revision
			}),
		},
		{
			name: "of owners the starts are compared", cases: []string{"RepeatedWriteIsDoneAfterARelease", "EndedOwnsNothing"},
			wrap: unreleased,
		},
		{
			name: "epochs are not compared", cases: []string{"OtherEpochIsFenced", "RefusedWriteChangesNothing"},
			wrap: lenient(func(w, f store.Fence) bool { return w.Owner == f.Owner && w.Revision == f.Revision }),
		},
		{
			name: "newer epochs are let through", cases: []string{"OtherEpochIsFenced"},
			wrap: lenient(func(w, f store.Fence) bool {
				return w.Owner == f.Owner && w.Epoch > f.Epoch && w.Revision == f.Revision
			}),
		},
		{
			name: "revisions are not compared", cases: []string{"OtherRevisionIsFenced", "RefusedWriteChangesNothing", "RepetitionOfAnOlderWriteIsFenced", "OneOfManyWritersWins"},
			wrap: lenient(func(w, f store.Fence) bool { return w.Owner == f.Owner && w.Epoch == f.Epoch }),
		},
		{
			name: "newer revisions are let through", cases: []string{"OtherRevisionIsFenced"},
			wrap: lenient(func(w, f store.Fence) bool {
				return w.Owner == f.Owner && w.Epoch == f.Epoch && w.Revision > f.Revision
			}),
		},
		{
			name: "nobody writes what nobody owns", cases: []string{"NobodyIsFenced"},
			wrap: lenient(func(w, f store.Fence) bool { return w == f }),
		},
		{
			name: "the owner before writes on", cases: []string{"StaleOwnerIsFencedAfterAClaim", "LapsedOwnerWritesUntilItIsClaimed"},
			wrap: lenient(func(w, f store.Fence) bool { return w.Epoch+1 == f.Epoch }),
		},
		{
			name: "the error says nothing", cases: []string{"FencedErrorTellsWhatStands"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, commit: func(ctx context.Context, w store.Write) error {
					if err := one(ctx, s, w); !errors.Is(err, store.ErrFenced) {
						return err
					}
					return store.ErrFenced
				}}
			},
		},
		{
			name: "the error has what was written under two times", cases: []string{"FencedErrorTellsWhatStands"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, commit: func(ctx context.Context, w store.Write) error {
					err := one(ctx, s, w)
					if fenced, ok := errors.AsType[*store.FencedError](err); ok {
						fenced.Found = fenced.Wrote
					}
					return err
				}}
			},
		},
		{name: "a refused write consumes", cases: []string{"RefusedWriteChangesNothing"}, wrap: refusedBut(func(w, part *store.Write) { part.Consumed = w.Consumed })},
		{name: "a refused write's cells stay", cases: []string{"RefusedWriteChangesNothing", "MembersOfABatchAreApart"}, wrap: refusedBut(func(w, part *store.Write) { part.Cells = w.Cells })},
		{name: "a refused write's head stays", cases: []string{"RefusedWriteChangesNothing", "AnotherWriteAtItsRevisionIsFenced"}, wrap: refusedBut(func(w, part *store.Write) { part.Head = w.Head })},
		{name: "a refused write lets go", cases: []string{"RefusedWriteChangesNothing"}, wrap: refusedBut(func(w, part *store.Write) { part.Release = w.Release })},
		{
			name: "a write looks for its writer's lease", cases: []string{"LapsedOwnerWritesUntilItIsClaimed"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, commit: func(ctx context.Context, w store.Write) error {
					if _, err := s.Claim(ctx, store.Claim{Instance: w.Fence.Owner}); err != nil {
						return &store.FencedError{Key: w.Key, Wrote: w.Fence}
					}
					return one(ctx, s, w)
				}}
			},
		},
		{
			name: "the fence is compared before the write, not in it", cases: []string{"OneOfManyWritersWins"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, commit: func(ctx context.Context, w store.Write) error {
					x, err := s.Load(ctx, w.Key)
					if err != nil || x.Fence != w.Fence {
						return one(ctx, s, w)
					}
					for range 20 {
						runtime.Gosched()
					}
					return force(ctx, s, w)
				}}
			},
		},
	}
}

// refusedBut makes a part of a write that was refused.
func refusedBut(take func(w, part *store.Write)) func(store.Store) store.Store {
	return func(s store.Store) store.Store {
		return &faulty{Store: s, commit: func(ctx context.Context, w store.Write) error {
			err := one(ctx, s, w)
			if fenced, ok := errors.AsType[*store.FencedError](err); ok && !fenced.Found.Owner.None() {
				if x, err := s.Load(ctx, w.Key); err == nil {
					part := store.Write{Key: w.Key, Fence: fenced.Found, ID: w.ID, Head: x.Head}
					take(&w, &part)
					_ = one(ctx, s, part)
				}
			}
			return err
		}}
	}
}

// unreleased refuses every write whose writer is not the owner, also one that was made,
// and lets an ended one write.
func unreleased(s store.Store) store.Store {
	return &faulty{Store: s, commit: func(ctx context.Context, w store.Write) error {
		x, err := s.Load(ctx, w.Key)
		switch {
		case err == nil && x.Owner.None() && x.Revision == 1:
			return nil
		case err == nil && x.Owner != w.Fence.Owner:
			return &store.FencedError{Key: w.Key, Wrote: w.Fence, Found: x.Fence}
		}
		return one(ctx, s, w)
	}}
}

// answered keeps the answers of writes, by what tells them apart, and repeats them.
func answered[K comparable](by func(w store.Write) K) func(store.Store) store.Store {
	return func(s store.Store) store.Store {
		var mu sync.Mutex
		done := map[K]bool{}
		return &faulty{Store: s, commit: func(ctx context.Context, w store.Write) error {
			mu.Lock()
			defer mu.Unlock()
			if done[by(w)] {
				return nil
			}
			err := one(ctx, s, w)
			done[by(w)] = err == nil
			return err
		}}
	}
}

func wholeMutants() []mutant {
	return []mutant{
		{
			name: "head and cells are read one after the other", cases: []string{"ReadersSeeWholeWrites"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, load: func(ctx context.Context, key store.Key) (*store.Snapshot, error) {
					head, err := s.Load(ctx, key)
					if err != nil {
						return nil, err
					}
					time.Sleep(time.Microsecond) // for as long as there is something to do
					x, err := s.Load(ctx, key)
					if err == nil {
						x.Head = head.Head
					}
					return x, err
				}}
			},
		},
		{
			name: "a write that is given up is made in part", cases: []string{"CallsThatEndAreWhole"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, commit: func(ctx context.Context, w store.Write) error {
					if ctx.Err() != nil {
						w.Cells = w.Cells[:len(w.Cells)/2]
						_ = one(context.WithoutCancel(ctx), s, w)
					}
					return one(ctx, s, w)
				}}
			},
		},
		{
			name: "a write that is given up is refused when it is repeated", cases: []string{"CallsThatEndAreWhole"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, commit: func(ctx context.Context, w store.Write) error {
					if ctx.Err() != nil {
						other := w
						other.ID = 1 << 60
						_ = one(context.WithoutCancel(ctx), s, other)
					}
					return one(ctx, s, w)
				}}
			},
		},
	}
}

var longAgo = time.Unix(1, 0)
