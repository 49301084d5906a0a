package storetest

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/lockstep-dev/lockstep/store"
)

// newClaimID gives each claim an ID of its own.
func newClaimID() func(s store.Store, c *store.Claim) {
	var n atomic.Uint64
	return func(_ store.Store, c *store.Claim) { c.ID = n.Add(1) }
}

func repeatMutants() []mutant {
	return []mutant{
		{
			name: "a repeated write is another", cases: []string{"RepeatedWriteIsDone", "RepeatedWriteConsumesNothingNew", "RepeatedReleasingWriteIsDone"},
			wrap: onWrite(newWriteID()),
		},
		{
			name: "a repeated write consumes", cases: []string{"RepeatedWriteConsumesNothingNew"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, commit: func(ctx context.Context, w store.Write) error {
					err := one(ctx, s, w)
					if x, lerr := s.Load(ctx, w.Key); err == nil && lerr == nil {
						_ = one(ctx, s, store.Write{Key: w.Key, Fence: x.Fence, ID: w.ID, Head: x.Head, Consumed: w.Consumed})
					}
					return err
				}}
			},
		},
		{name: "a write of who is not the owner any more is refused", cases: []string{"RepeatedReleasingWriteIsDone", "RepeatedWriteIsDoneAfterARelease"}, wrap: unreleased},
		{
			name: "a repeated write takes the execution back", cases: []string{"RepeatedWriteIsDoneAfterARelease"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, commit: func(ctx context.Context, w store.Write) error {
					err := one(ctx, s, w)
					if x, lerr := s.Load(ctx, w.Key); err == nil && lerr == nil && x.Owner != w.Fence.Owner {
						letAllGo(s, []store.Snapshot{*x})
					}
					return err
				}}
			},
		},
		{
			name: "IDs of writes are not looked at", cases: []string{"AnotherWriteAtItsRevisionIsFenced"},
			wrap: onWrite(func(_ store.Store, w *store.Write) { w.ID = 0 }),
		},
		{
			name: "IDs of writes are all that is looked at", cases: []string{"SameIDOfAnotherFenceIsFenced"},
			wrap: answered(func(w store.Write) uint64 { return w.ID }),
		},
		{
			name: "every write that ever was is done when it is repeated", cases: []string{"RepetitionOfAnOlderWriteIsFenced"},
			wrap: answered(func(w store.Write) store.Fence { return w.Fence }),
		},
		{
			name: "a repeated claim is another", cases: []string{"RepeatedClaimReturnsTheSame"},
			wrap: onClaim(newClaimID()),
		},
		{
			name: "a repeated claim forgets who was unclean", cases: []string{"RepeatedClaimReturnsTheSame"},
			wrap: func(s store.Store) store.Store {
				seen := map[uint64]bool{}
				return onClaimed(func(_ store.Store, c store.Claim, list []store.Claimed) []store.Claimed {
					for i := range list {
						list[i].Unclean = list[i].Unclean && !seen[c.ID]
					}
					seen[c.ID] = true
					return list
				})(s)
			},
		},
		{
			name: "a repeated claim has another epoch", cases: []string{"RepeatedClaimReturnsTheSame"},
			wrap: func(s store.Store) store.Store {
				next := newClaimID()
				return &faulty{Store: s, claim: func(ctx context.Context, c store.Claim) ([]store.Claimed, error) {
					list, err := s.Claim(ctx, c)
					if len(list) > 0 {
						next(s, &c)
						c.ID += 1 << 40
						c.Keys = nil
						for _, x := range list {
							c.Keys = append(c.Keys, x.Key)
						}
						return s.Claim(ctx, c)
					}
					return list, err
				}}
			},
		},
		{
			name: "a repeated claim returns what the instance had", cases: []string{"RepeatedClaimLeavesOutWhatHasGoneOn"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, claim: answeredClaims(s, func(c store.Claim) any { return c.ID })}
			},
		},
		{
			name: "IDs of claims are not looked at", cases: []string{"AnotherClaimReturnsNothingOfTheFirst"},
			wrap: onClaim(func(_ store.Store, c *store.Claim) { c.ID = 1 }),
		},
		{
			name: "no ID is one", cases: []string{"AnotherClaimReturnsNothingOfTheFirst"},
			wrap: onClaim(func(_ store.Store, c *store.Claim) { c.ID += 1 << 40 }),
		},
		{
			name: "claims are those of all instances", cases: []string{"ClaimsOfOthersUnderOneIDAreApart"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, claim: answeredClaims(s, func(c store.Claim) any { return c.ID })}
			},
		},
	}
}

// answeredClaims keeps what was claimed, by what tells claims apart, and returns it again.
func answeredClaims(s store.Store, by func(c store.Claim) any) func(ctx context.Context, c store.Claim) ([]store.Claimed, error) {
	var mu sync.Mutex
	had := map[any][]store.Claimed{}
	return func(ctx context.Context, c store.Claim) ([]store.Claimed, error) {
		mu.Lock()
		defer mu.Unlock()
		if list, ok := had[by(c)]; ok {
			return list, nil
		}
		list, err := s.Claim(ctx, c)
		had[by(c)] = slices.Clone(list)
		return list, err
	}
}
