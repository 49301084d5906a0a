package storetest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

func claimMutants() []mutant {
	return []mutant{
		{name: "what has a time is due", cases: []string{"DueIsClaimed", "UnsettledIsClaimed", "ReleaseIsForOneClaim"}, wrap: onHead(func(h *store.Head) {
			if !h.DueAt.IsZero() {
				h.DueAt = longAgo
			}
		})},
		{name: "nothing is ever due", cases: []string{"DueIsClaimed"}, wrap: onHead(func(h *store.Head) { h.DueAt = time.Time{} })},
		{name: "everything is due late", cases: []string{"DueIsClaimed", "UnsettledIsClaimed"}, wrap: onHead(func(h *store.Head) { h.DueAt = h.DueAt.Add(time.Hour) })},
		{name: "what has no time is due", cases: []string{"DormantIsLeftAlone"}, wrap: onHead(func(h *store.Head) {
			if h.DueAt.IsZero() {
				h.DueAt = longAgo
			}
		})},
		{
			name: "a claim takes from owners", cases: []string{"OwnedIsLeftAlone", "LapsedIsClaimed", "PredecessorsAreClaimedAtOnce"},
			wrap: onClaim(func(s store.Store, c *store.Claim) {
				if len(c.Keys) == 0 {
					letAllGo(s, everything(s))
				}
			}),
		},
		{
			name: "a claim by keys takes from owners", cases: []string{"OwnedIsLeftAlone", "KeysAreAskedForAlone"},
			wrap: onClaim(func(s store.Store, c *store.Claim) {
				letAllGo(s, slices.DeleteFunc(everything(s), func(x store.Snapshot) bool { return !slices.Contains(c.Keys, x.Key) }))
			}),
		},
		{
			name: "what has messages is taken from its owner", cases: []string{"OwnedIsLeftAlone", "OtherNodesAreNoPredecessors"},
			wrap: onClaim(func(s store.Store, _ *store.Claim) {
				letAllGo(s, slices.DeleteFunc(everything(s), func(x store.Snapshot) bool {
					m, err := s.Inbox(context.Background(), x.Key)
					return err != nil || len(m) == 0
				}))
			}),
		},
		{name: "an instance claims what it has", cases: []string{"OwnedIsLeftAlone", "AnotherClaimReturnsNothingOfTheFirst"}, wrap: claimingOwn},
		{name: "a release waits until it is due", cases: []string{"ReleasedIsClaimedAtOnce", "ReleaseTakesTheOwnership"}, wrap: lettingGo},
		{
			name: "released once is released for ever", cases: []string{"ReleaseIsForOneClaim"},
			wrap: func(s store.Store) store.Store {
				released := map[store.Key]bool{}
				f := givingUp(func(key store.Key) bool { return released[key] })(s).(*faulty)
				f.release = func(ctx context.Context, i store.Instance, held []store.Held) error {
					for _, h := range held {
						released[h.Key] = true
					}
					return s.Release(ctx, i, held)
				}
				return f
			},
		},
		{
			name: "who has no owner has no inbox", cases: []string{"MessageWakes", "WatchTellsOfWhatMayBeClaimed", "DeliveredIsInTheInboxInOrder"},
			wrap: onDeliver(func(x *store.Snapshot) bool { return x.Owner.None() }),
		},
		{
			name: "a write consumes what came before it", cases: []string{"MessageThatCameBeforeWakes", "DeliveryLeavesTheFence", "RefusedWriteChangesNothing"},
			wrap: onWrite(func(s store.Store, w *store.Write) {
				list, err := s.Inbox(context.Background(), w.Key)
				if err != nil {
					return
				}
				w.Consumed = nil
				for _, m := range list {
					w.Consumed = append(w.Consumed, m.ID)
				}
			}),
		},
		{name: "what has finished is unsettled", cases: []string{"FinishedIsLeftAlone", "MessageToTheFinishedWakes"}, wrap: onHead(func(h *store.Head) { h.Unsettled = h.Unsettled || h.State.Finished() })},
		{name: "what has finished is settled", cases: []string{"UnsettledIsClaimed", "UncleanIsWhoDidNotLetGo", "ClaimsReachAll"}, wrap: onHead(func(h *store.Head) { h.Unsettled = h.Unsettled && !h.State.Finished() })},
		{
			name: "what has finished has no inbox", cases: []string{"MessageToTheFinishedWakes", "DeliveredIsInTheInboxInOrder", "UnreadAreOwnedWithMessages"},
			wrap: onDeliver(func(x *store.Snapshot) bool { return x.State.Finished() }),
		},
		{name: "a claim counts as two", cases: []string{"ClaimRaisesEpochAndRevisionByOne", "NeverTwoOwners"}, wrap: claimingTwice},
		{
			name: "a claim returns what stood before it", cases: []string{"ClaimReturnsAllThatIsKept", "ClaimRaisesEpochAndRevisionByOne", "OwnIsClaimedByItsKey"},
			wrap: onClaimed(func(_ store.Store, _ store.Claim, list []store.Claimed) []store.Claimed {
				for i := range list {
					list[i].Epoch--
					list[i].Revision--
				}
				return list
			}),
		},
		{
			name: "a claim returns no inbox", cases: []string{"ClaimReturnsAllThatIsKept", "MessageWakes", "MessageThatCameBeforeWakes", "MessageToTheFinishedWakes"},
			wrap: onClaimed(func(_ store.Store, _ store.Claim, list []store.Claimed) []store.Claimed {
				for i := range list {
					list[i].Inbox = nil
				}
				return list
			}),
		},
		{
			name: "a claim returns no cells", cases: []string{"ClaimReturnsAllThatIsKept"},
			wrap: onClaimed(func(_ store.Store, _ store.Claim, list []store.Claimed) []store.Claimed {
				for i := range list {
					list[i].Cells = nil
				}
				return list
			}),
		},
	}
}

// onDeliver drops messages to some.
func onDeliver(drop func(x *store.Snapshot) bool) func(store.Store) store.Store {
	return func(s store.Store) store.Store {
		return &faulty{Store: s, deliver: func(ctx context.Context, key store.Key, m store.Message) error {
			if x, err := s.Load(ctx, key); err == nil && drop(x) {
				return nil
			}
			return s.Deliver(ctx, key, m)
		}}
	}
}

// claimingOwn has a claim without keys return what the instance owns as well.
func claimingOwn(s store.Store) store.Store {
	return onClaimed(func(s store.Store, c store.Claim, list []store.Claimed) []store.Claimed {
		for _, x := range everything(s) {
			if x.Owner == c.Instance && len(c.Keys) == 0 && !slices.ContainsFunc(list, func(o store.Claimed) bool { return o.Key == x.Key }) {
				list = append(list, store.Claimed{Snapshot: &x})
			}
		}
		return list
	})(s)
}

// lettingGo makes of a release a write that lets go.
func lettingGo(s store.Store) store.Store {
	return &faulty{Store: s, release: func(ctx context.Context, i store.Instance, held []store.Held) error {
		for _, h := range held {
			x, err := s.Load(ctx, h.Key)
			if err == nil && x.Owner == i && x.Epoch == h.Epoch {
				_ = one(ctx, s, store.Write{Key: h.Key, Fence: x.Fence, Head: x.Head, Release: true})
			}
		}
		return nil
	}}
}

// claimingTwice claims again what it has just claimed.
func claimingTwice(s store.Store) store.Store {
	return &faulty{Store: s, claim: func(ctx context.Context, c store.Claim) ([]store.Claimed, error) {
		list, err := s.Claim(ctx, c)
		if len(list) == 0 {
			return list, err
		}
		c.ID += 1 << 40
		c.Keys = nil
		for _, x := range list {
			c.Keys = append(c.Keys, x.Key)
		}
		return s.Claim(ctx, c)
	}}
}

// notReturned gives back some of what was claimed.
func notReturned(of func(c store.Claim, x store.Claimed) bool) func(store.Store) store.Store {
	return onClaimed(func(s store.Store, c store.Claim, list []store.Claimed) []store.Claimed {
		return slices.DeleteFunc(list, func(x store.Claimed) bool {
			if !of(c, x) {
				return false
			}
			letAllGo(s, []store.Snapshot{*x.Snapshot})
			return true
		})
	})
}

func allPlans(s store.Store) (plans []store.PlanID) {
	for _, x := range everything(s) {
		plans = append(plans, store.PlanID{Workflow: x.Workflow, Fingerprint: x.Fingerprint})
	}
	return plans
}

func whichMutants() []mutant {
	return []mutant{
		{
			name: "plans are not looked at", cases: []string{"OtherPlansAreLeftAlone", "KeysAreAskedForAlone"},
			wrap: onClaim(func(s store.Store, c *store.Claim) { c.Plans = allPlans(s) }),
		},
		{
			name: "fingerprints are not looked at", cases: []string{"OtherPlansAreLeftAlone", "OwnOfAnotherPlanIsLeftAlone"},
			wrap: onClaim(func(s store.Store, c *store.Claim) {
				asked := c.Plans
				c.Plans = slices.DeleteFunc(allPlans(s), func(p store.PlanID) bool {
					return !slices.ContainsFunc(asked, func(o store.PlanID) bool { return o.Workflow == p.Workflow })
				})
			}),
		},
		{
			name: "workflows are not looked at", cases: []string{"OtherPlansAreLeftAlone"},
			wrap: onClaim(func(s store.Store, c *store.Claim) {
				asked := c.Plans
				c.Plans = slices.DeleteFunc(allPlans(s), func(p store.PlanID) bool {
					return !slices.ContainsFunc(asked, func(o store.PlanID) bool { return o.Fingerprint == p.Fingerprint })
				})
			}),
		},
		{
			name: "no plan is all", cases: []string{"OtherPlansAreLeftAlone"},
			wrap: onClaim(func(s store.Store, c *store.Claim) {
				if len(c.Plans) == 0 {
					c.Plans = allPlans(s)
				}
			}),
		},
		{
			name: "the limit is that of all plans", cases: []string{"UnknownPlansAreInNobodysWay"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, claim: func(ctx context.Context, c store.Claim) ([]store.Claimed, error) {
					asked := c.Plans
					c.Plans = allPlans(s)
					list, err := s.Claim(ctx, c)
					return slices.DeleteFunc(list, func(x store.Claimed) bool {
						return !slices.Contains(asked, store.PlanID{Workflow: x.Workflow, Fingerprint: x.Fingerprint})
					}), err
				}}
			},
		},
		{
			name: "keys are not looked at", cases: []string{"KeysAreAskedForAlone", "OwnIsClaimedByItsKey"},
			wrap: onClaim(func(_ store.Store, c *store.Claim) { c.Keys = nil }),
		},
		{
			name: "what is named two times is claimed two times", cases: []string{"KeysAreAskedForAlone"},
			wrap: claimingTwice,
		},
		{
			name: "the limit is not looked at", cases: []string{"LimitBoundsAClaim", "ClaimsReachAll"},
			wrap: onClaim(func(_ store.Store, c *store.Claim) { c.Limit = 1000 }),
		},
		{
			name: "a claim by keys has no limit", cases: []string{"LimitBoundsAClaim"},
			wrap: onClaim(func(_ store.Store, c *store.Claim) {
				if len(c.Keys) > 0 {
					c.Limit = 1000
				}
			}),
		},
		{
			name: "50 is the limit", cases: []string{"LimitBoundsAClaim"},
			wrap: onClaim(func(_ store.Store, c *store.Claim) {
				if c.Limit == 0 {
					c.Limit = 50
				}
			}),
		},
		{
			name: "what is told is never reached", cases: []string{"ClaimsReachAll"},
			wrap: notReturned(func(_ store.Claim, x store.Claimed) bool { return strings.HasPrefix(x.ID, "told") }),
		},
		{
			name: "what is unsettled is never reached", cases: []string{"ClaimsReachAll", "NeverTwoOwners"},
			wrap: notReturned(func(_ store.Claim, x store.Claimed) bool { return x.Unsettled }),
		},
		{
			name: "who holds locks is not looked at", cases: []string{"HoldersAreClaimedFirst", "ClaimReturnsAllThatIsKept"},
			wrap: onHead(func(h *store.Head) { h.Holding = false }),
		},
		{
			name: "who asks for holders gets others too", cases: []string{"HoldersAreAskedForAlone"},
			wrap: onClaim(func(_ store.Store, c *store.Claim) { c.Holders = false }),
		},
		{
			name: "who asks for holders gets none", cases: []string{"HoldersAreAskedForAlone"},
			wrap: onClaimed(func(_ store.Store, c store.Claim, list []store.Claimed) []store.Claimed {
				if c.Holders {
					return nil
				}
				return list
			}),
		},
		{
			name: "holders are taken from their owners", cases: []string{"HoldersAreLeftAloneLikeOthers"},
			wrap: onClaim(func(s store.Store, _ *store.Claim) {
				letAllGo(s, slices.DeleteFunc(everything(s), func(x store.Snapshot) bool { return !x.Holding }))
			}),
		},
		{
			name: "holders are always due", cases: []string{"HoldersAreLeftAloneLikeOthers"},
			wrap: onHead(func(h *store.Head) {
				if h.Holding {
					h.DueAt = longAgo
				}
			}),
		},
		{
			name: "nothing is an error", cases: []string{"ClaimOfNothingIsEmpty"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, claim: func(ctx context.Context, c store.Claim) ([]store.Claimed, error) {
					list, err := s.Claim(ctx, c)
					if len(list) == 0 && err == nil {
						err = store.ErrNotFound
					}
					return list, err
				}}
			},
		},
	}
}

// heard keeps the instances that have had a heartbeat.
type heard struct {
	mu   sync.Mutex
	list []store.Instance
}

func (h *heard) wrap(s store.Store) *faulty {
	return &faulty{Store: s, heartbeat: func(ctx context.Context, i store.Instance, lease time.Duration) error {
		h.mu.Lock()
		defer h.mu.Unlock()
		if !slices.Contains(h.list, i) {
			h.list = append(h.list, i)
		}
		return s.Heartbeat(ctx, i, lease)
	}}
}

// endOthers ends the leases of other instances that the claim is told to.
func endOthers(of func(c store.Claim, other store.Instance) bool) func(store.Store) store.Store {
	return func(s store.Store) store.Store {
		var h heard
		f := h.wrap(s)
		f.claim = func(ctx context.Context, c store.Claim) ([]store.Claimed, error) {
			h.mu.Lock()
			defer h.mu.Unlock()
			for _, other := range h.list {
				if other != c.Instance && c.Predecessors && of(c, other) {
					_ = s.End(ctx, other)
				}
			}
			return s.Claim(ctx, c)
		}
		return f
	}
}

// onLease breaks leases.
func onLease(change func(lease time.Duration) time.Duration) func(store.Store) store.Store {
	return func(s store.Store) store.Store {
		return &faulty{Store: s, heartbeat: func(ctx context.Context, i store.Instance, lease time.Duration) error {
			return s.Heartbeat(ctx, i, change(lease))
		}}
	}
}

// uncleanIs tells of each owner that it was clean, or was not.
func uncleanIs(unclean bool) func(store.Store) store.Store {
	return onClaimed(func(_ store.Store, _ store.Claim, list []store.Claimed) []store.Claimed {
		for i := range list {
			list[i].Unclean = unclean
		}
		return list
	})
}

func endDoesNothing(s store.Store) store.Store {
	return &faulty{Store: s, end: func(context.Context, store.Instance) error { return nil }}
}

func ownerMutants() []mutant {
	ctx := context.Background()
	return []mutant{
		{
			name: "leases never end", cases: []string{"LapsedIsClaimed", "StaleOwnerIsFencedAfterAClaim", "ClaimWithoutALease", "RenewalMayBeShorter", "NeverTwoOwners"},
			wrap: onLease(func(time.Duration) time.Duration { return 1000 * time.Hour }),
		},
		{name: "leases are short", cases: []string{"LapsedIsClaimed", "HeartbeatRenews"}, wrap: onLease(func(d time.Duration) time.Duration { return d / 4 })},
		{name: "all owners are clean", cases: []string{"LapsedIsClaimed", "PredecessorsAreClaimedAtOnce", "ReopenedHasAll"}, wrap: uncleanIs(false)},
		{name: "no owner is clean", cases: []string{"EndReleasesAtOnce", "UncleanIsWhoDidNotLetGo"}, wrap: uncleanIs(true)},
		{name: "End does nothing", cases: []string{"EndReleasesAtOnce", "EndedOwnsNothing", "EndIsForGood", "ClaimWithoutALease", "LeasesAreApart"}, wrap: endDoesNothing},
		{
			name: "End leaves what is not due", cases: []string{"EndReleasesAtOnce"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, end: func(ctx context.Context, i store.Instance) error {
					for _, x := range everything(s) {
						if x.Owner == i {
							_ = one(ctx, s, store.Write{Key: x.Key, Fence: x.Fence, Head: x.Head, Release: true})
						}
					}
					return s.End(ctx, i)
				}}
			},
		},
		{
			name: "who has ended writes on", cases: []string{"EndedOwnsNothing", "ReleasingWriteLetsGo"},
			wrap: lenient(func(w, f store.Fence) bool { return f.Owner.None() && !w.Owner.None() }),
		},
		{
			name: "Predecessors is not looked at", cases: []string{"PredecessorsAreClaimedAtOnce", "ReopenedHasAll"},
			wrap: onClaim(func(_ store.Store, c *store.Claim) { c.Predecessors = false }),
		},
		{
			name: "other starts are always predecessors", cases: []string{"PredecessorsAreClaimedAtOnce"},
			wrap: onClaim(func(_ store.Store, c *store.Claim) { c.Predecessors = true }),
		},
		{
			name: "predecessors were clean", cases: []string{"PredecessorsAreClaimedAtOnce"},
			wrap: endOthers(func(c store.Claim, other store.Instance) bool { return c.Instance.Node == other.Node }),
		},
		{
			name: "all others are predecessors", cases: []string{"OtherNodesAreNoPredecessors", "PredecessorsAreClaimedAtOnce"},
			wrap: endOthers(func(store.Claim, store.Instance) bool { return true }),
		},
		{
			name: "names that begin alike are one", cases: []string{"OtherNodesAreNoPredecessors"},
			wrap: endOthers(func(c store.Claim, other store.Instance) bool { return strings.HasPrefix(c.Instance.Node, other.Node) }),
		},
		{
			name: "no name is a name", cases: []string{"OtherNodesAreNoPredecessors"},
			wrap: endOthers(func(c store.Claim, other store.Instance) bool { return c.Instance.Node == other.Node }),
		},
		{
			name: "to claim is to live", cases: []string{"ClaimWithoutALease"},
			wrap: func(s store.Store) store.Store {
				var n uint64
				return &faulty{Store: s, claim: func(ctx context.Context, c store.Claim) ([]store.Claimed, error) {
					list, err := s.Claim(ctx, c)
					if errors.Is(err, store.ErrInstance) {
						n++
						c.Instance = store.Instance{Node: "made up", Incarnation: string(rune(n))}
						_ = s.Heartbeat(ctx, c.Instance, forLong)
						return s.Claim(ctx, c)
					}
					return list, err
				}}
			},
		},
		{
			name: "nobody claims its own", cases: []string{"OwnIsClaimedByItsKey", "OtherEpochIsFenced"},
			wrap: onClaim(func(s store.Store, c *store.Claim) {
				if len(c.Keys) == 0 {
					return
				}
				c.Keys = slices.DeleteFunc(slices.Clone(c.Keys), func(key store.Key) bool {
					x, err := s.Load(ctx, key)
					return err == nil && x.Owner == c.Instance
				})
				c.Keys = append(c.Keys, store.Key{})
			}),
		},
		{
			name: "its own has the epoch that it had", cases: []string{"OwnIsClaimedByItsKey"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, claim: func(ctx context.Context, c store.Claim) ([]store.Claimed, error) {
					var list []store.Claimed
					for _, key := range c.Keys {
						if x, err := s.Load(ctx, key); err == nil && x.Owner == c.Instance {
							list = append(list, store.Claimed{Snapshot: x})
						}
					}
					if list != nil {
						return list, nil
					}
					return s.Claim(ctx, c)
				}}
			},
		},
	}
}
