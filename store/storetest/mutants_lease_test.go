package storetest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

func leaseMutants() []mutant {
	return []mutant{
		{
			name: "a lease is not renewed", cases: []string{"HeartbeatRenews"},
			wrap: func(s store.Store) store.Store {
				seen := map[store.Instance]bool{}
				return &faulty{Store: s, heartbeat: func(ctx context.Context, i store.Instance, lease time.Duration) error {
					if seen[i] {
						return nil
					}
					seen[i] = true
					return s.Heartbeat(ctx, i, lease)
				}}
			},
		},
		{
			name: "a renewal is counted from the end of the lease", cases: []string{"HeartbeatRenews"},
			wrap: func(s store.Store) store.Store {
				until := map[store.Instance]time.Time{}
				return &faulty{Store: s, heartbeat: func(ctx context.Context, i store.Instance, lease time.Duration) error {
					from := time.Now()
					if until[i].After(from) && lease < forLong {
						from = until[i].Add(1000 * lease)
					}
					until[i] = from.Add(lease)
					return s.Heartbeat(ctx, i, time.Until(until[i]))
				}}
			},
		},
		{
			name: "a lease is never shortened", cases: []string{"RenewalMayBeShorter"},
			wrap: func(s store.Store) store.Store {
				until := map[store.Instance]time.Time{}
				return &faulty{Store: s, heartbeat: func(ctx context.Context, i store.Instance, lease time.Duration) error {
					if end := time.Now().Add(lease); end.After(until[i]) {
						until[i] = end
					}
					return s.Heartbeat(ctx, i, time.Until(until[i]))
				}}
			},
		},
		{
			name: "no heartbeat is refused", cases: []string{"LapseIsForGood", "EndIsForGood", "NobodyHasNoLease", "HandlesSeeOneAnother"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, heartbeat: func(ctx context.Context, i store.Instance, lease time.Duration) error {
					if err := s.Heartbeat(ctx, i, lease); !errors.Is(err, store.ErrInstance) {
						return err
					}
					return nil
				}}
			},
		},
		{
			name: "a heartbeat is refused once", cases: []string{"LapseIsForGood"},
			wrap: func(s store.Store) store.Store {
				refused := map[store.Instance]bool{}
				return &faulty{Store: s, heartbeat: func(ctx context.Context, i store.Instance, lease time.Duration) error {
					err := s.Heartbeat(ctx, i, lease)
					if errors.Is(err, store.ErrInstance) && refused[i] {
						return nil
					}
					refused[i] = err != nil
					return err
				}}
			},
		},
		{
			name: "the end of nobody ends what nobody owns", cases: []string{"NobodyHasNoLease"},
			wrap: func(s store.Store) store.Store {
				me := store.Instance{Node: "another"}
				_ = s.Heartbeat(context.Background(), me, forLong)
				return &faulty{Store: s, end: func(ctx context.Context, i store.Instance) error {
					for _, x := range everything(s) {
						if x.Owner == i {
							plan := store.PlanID{Workflow: x.Workflow, Fingerprint: x.Fingerprint}
							_ = s.Deliver(ctx, x.Key, store.Message{ID: "wakes"})
							_, _ = s.Claim(ctx, store.Claim{Instance: me, Plans: []store.PlanID{plan}, Keys: []store.Key{x.Key}})
							letAllGo(s, []store.Snapshot{{Identity: x.Identity, Fence: store.Fence{Owner: me, Epoch: x.Epoch + 1}}})
						}
					}
					return s.End(ctx, i)
				}}
			},
		},
		{
			name: "the end of one start is that of its node", cases: []string{"LeasesAreApart", "EndReleasesAtOnce"},
			wrap: func(s store.Store) store.Store {
				var h heard
				f := h.wrap(s)
				f.end = func(ctx context.Context, i store.Instance) error {
					for _, other := range h.list {
						if other.Node == i.Node || i.Node == "old" {
							_ = s.End(ctx, other)
						}
					}
					return s.End(ctx, i)
				}
				return f
			},
		},
		{
			name: "node and start run together", cases: []string{"LeasesAreApart"},
			wrap: func(s store.Store) store.Store {
				var h heard
				f := h.wrap(s)
				f.end = func(ctx context.Context, i store.Instance) error {
					for _, other := range h.list {
						if other.String() == i.String() {
							_ = s.End(ctx, other)
						}
					}
					return s.End(ctx, i)
				}
				return f
			},
		},
		{
			name: "names are text", cases: []string{"LeasesAreApart"},
			wrap: func(s store.Store) store.Store {
				var h heard
				f := h.wrap(s)
				f.end = func(ctx context.Context, i store.Instance) error {
					for _, other := range h.list {
						if strings.ToValidUTF8(other.String(), "\ufffd") == strings.ToValidUTF8(i.String(), "\ufffd") {
							_ = s.End(ctx, other)
						}
					}
					return s.End(ctx, i)
				}
				return f
			},
		},
	}
}

// onRelease breaks what is released.
func onRelease(change func(s store.Store, i *store.Instance, h *store.Held)) func(store.Store) store.Store {
	return func(s store.Store) store.Store {
		return &faulty{Store: s, release: func(ctx context.Context, i store.Instance, held []store.Held) error {
			for _, h := range held {
				i := i
				change(s, &i, &h)
				if err := s.Release(ctx, i, []store.Held{h}); err != nil {
					return err
				}
			}
			return nil
		}}
	}
}

func releaseMutants() []mutant {
	return []mutant{
		{name: "a release is a write", cases: []string{"ReleaseTakesTheOwnership"}, wrap: lettingGo},
		{
			name: "a release does nothing", cases: []string{"ReleaseTakesTheOwnership", "ReleasedIsClaimedAtOnce"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, release: func(context.Context, store.Instance, []store.Held) error { return nil }}
			},
		},
		{
			name: "anybody releases", cases: []string{"ReleaseLeavesAloneWhatIsNotOwned"},
			wrap: onRelease(func(s store.Store, i *store.Instance, h *store.Held) {
				if x, err := s.Load(context.Background(), h.Key); err == nil {
					*i = x.Owner
				}
			}),
		},
		{
			name: "any start of a node releases", cases: []string{"ReleaseLeavesAloneWhatIsNotOwned"},
			wrap: onRelease(func(s store.Store, i *store.Instance, h *store.Held) {
				if x, err := s.Load(context.Background(), h.Key); err == nil && x.Owner.Node == i.Node {
					*i = x.Owner
				}
			}),
		},
		{
			name: "what is not there is an error", cases: []string{"ReleaseLeavesAloneWhatIsNotOwned"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, release: func(ctx context.Context, i store.Instance, held []store.Held) error {
					for _, h := range held {
						if _, err := s.Load(ctx, h.Key); err != nil {
							return err
						}
					}
					return s.Release(ctx, i, held)
				}}
			},
		},
		{
			name: "epochs of a release are not looked at", cases: []string{"LateReleaseChangesNothing", "ManyAreReleasedTogether"},
			wrap: onRelease(func(s store.Store, _ *store.Instance, h *store.Held) {
				if x, err := s.Load(context.Background(), h.Key); err == nil {
					h.Epoch = x.Epoch
				}
			}),
		},
		{
			name: "newer epochs are let through", cases: []string{"LateReleaseChangesNothing"},
			wrap: onRelease(func(s store.Store, _ *store.Instance, h *store.Held) {
				if x, err := s.Load(context.Background(), h.Key); err == nil {
					h.Epoch = min(h.Epoch, x.Epoch)
				}
			}),
		},
		{
			name: "100 are enough", cases: []string{"ManyAreReleasedTogether"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, release: func(ctx context.Context, i store.Instance, held []store.Held) error {
					return s.Release(ctx, i, held[:min(len(held), 100)])
				}}
			},
		},
	}
}

// deliverAgain stores a message that is there under another name.
func deliverAgain(s store.Store) store.Store {
	return &faulty{Store: s, deliver: func(ctx context.Context, key store.Key, m store.Message) error {
		list, err := s.Inbox(ctx, key)
		if err != nil {
			return err
		}
		for _, other := range list {
			if other.ID == m.ID {
				m.ID += " again"
			}
		}
		return s.Deliver(ctx, key, m)
	}}
}

// counted calls one of every n times.
func counted(n int) func() bool {
	var mu sync.Mutex
	calls := 0
	return func() bool {
		mu.Lock()
		defer mu.Unlock()
		calls++
		return calls%n == 0
	}
}
