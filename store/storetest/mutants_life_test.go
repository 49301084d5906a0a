package storetest

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/store/storemem"
)

func watchMutants() []mutant {
	return []mutant{
		{name: "a watch begins in silence", cases: []string{"WatchBeginsWithMissed"}, wrap: onNotice(func(n store.Notice) bool { return !n.Missed })},
		{name: "messages are not told", cases: []string{"WatchTellsOfMessages"}, wrap: onNotice(func(n store.Notice) bool { return n.Message == store.Key{} })},
		{name: "nobody is told what may be claimed", cases: []string{"WatchTellsOfWhatMayBeClaimed"}, wrap: onNotice(func(n store.Notice) bool { return !n.Claimable })},
		{name: "ends are not told", cases: []string{"WatchTellsOfTheFinished"}, wrap: onNotice(func(n store.Notice) bool { return n.Finished == store.Key{} })},
		{name: "everybody is told of messages", cases: []string{"WatchTellsOfMessages"}, wrap: tellingAll},
		{
			name: "the finished is told when it is written to", cases: []string{"WatchTellsOfTheFinished"},
			wrap: func(s store.Store) store.Store {
				f := tellingAll(s).(*faulty)
				watch := f.watch
				var mu sync.Mutex
				var tells []func(store.Notice)
				f.watch = func(ctx context.Context, i store.Instance, tell func(store.Notice)) error {
					mu.Lock()
					tells = append(tells, tell)
					mu.Unlock()
					return watch(ctx, i, tell)
				}
				f.commit = func(ctx context.Context, w store.Write) error {
					if w.Head.State == store.Invoking {
						mu.Lock()
						for _, tell := range tells {
							tell(store.Notice{Finished: w.Key})
						}
						mu.Unlock()
					}
					return one(ctx, s, w)
				}
				return f
			},
		},
		{
			name: "the end of a watch is no error", cases: []string{"WatchEndsWithItsContext", "CloseEndsAWatch", "ClosedStoreSaysSo", "EndedContextChangesNothing"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, watch: func(ctx context.Context, i store.Instance, tell func(store.Notice)) error {
					_ = s.Watch(ctx, i, tell)
					return nil
				}}
			},
		},
		{
			name: "something is told after the end", cases: []string{"WatchEndsWithItsContext"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, watch: func(ctx context.Context, i store.Instance, tell func(store.Notice)) error {
					err := s.Watch(ctx, i, tell)
					time.AfterFunc(pollInterval, func() { tell(store.Notice{Claimable: true}) })
					return err
				}}
			},
		},
		{name: "who is slow loses what it is told", cases: []string{"SlowListenerHoldsNobodyUp"}, wrap: losing},
		{name: "who is slow is waited for", cases: []string{"SlowListenerHoldsNobodyUp"}, wrap: waitingForListeners},
	}
}

// tellingAll tells every watcher of the messages to each.
func tellingAll(s store.Store) store.Store {
	var mu sync.Mutex
	tells := map[int]func(store.Notice){}
	n := 0
	return &faulty{Store: s, watch: func(ctx context.Context, i store.Instance, tell func(store.Notice)) error {
		mu.Lock()
		n++
		me := n
		tells[me] = tell
		mu.Unlock()
		defer func() {
			mu.Lock()
			defer mu.Unlock()
			delete(tells, me)
		}()
		return s.Watch(ctx, i, func(n store.Notice) {
			if n.Message == (store.Key{}) {
				tell(n)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			for _, tell := range tells {
				tell(n)
			}
		})
	}}
}

// losing drops what is told while something else is.
func losing(s store.Store) store.Store {
	return &faulty{Store: s, watch: func(ctx context.Context, i store.Instance, tell func(store.Notice)) error {
		notices := make(chan store.Notice)
		var wg sync.WaitGroup
		wg.Go(func() {
			for n := range notices {
				tell(n)
			}
		})
		err := s.Watch(ctx, i, func(n store.Notice) {
			if n.Missed {
				notices <- n
				return
			}
			select {
			case notices <- n:
			case <-time.After(time.Microsecond):
			}
		})
		close(notices)
		wg.Wait()
		return err
	}}
}

// waitingForListeners has a delivery wait until all have heard what was told before.
func waitingForListeners(s store.Store) store.Store {
	var telling atomic.Int64
	return &faulty{
		Store: s,
		watch: func(ctx context.Context, i store.Instance, tell func(store.Notice)) error {
			return s.Watch(ctx, i, func(n store.Notice) {
				telling.Add(1)
				defer telling.Add(-1)
				tell(n)
			})
		},
		deliver: func(ctx context.Context, key store.Key, m store.Message) error {
			for telling.Load() > 0 {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				time.Sleep(pollInterval)
			}
			return s.Deliver(ctx, key, m)
		},
	}
}

func contestMutants() []mutant {
	return []mutant{
		{
			name: "what is claimed is given to two at times", cases: []string{"NeverTwoOwners", "StormEndsEverything"},
			wrap: func(s store.Store) store.Store {
				again := counted(3)
				var mu sync.Mutex
				var had []store.Snapshot
				return onClaimed(func(_ store.Store, _ store.Claim, list []store.Claimed) []store.Claimed {
					mu.Lock()
					defer mu.Unlock()
					if len(had) > 0 && again() {
						x := had[len(had)-1]
						return append(list, store.Claimed{Snapshot: &x})
					}
					for _, x := range list {
						had = append(had, *x.Snapshot)
					}
					return list
				})(s)
			},
		},
		{
			name: "some are never claimed", cases: []string{"NeverTwoOwners", "ClaimsReachAll"},
			wrap: notReturned(func(_ store.Claim, x store.Claimed) bool { return x.ID == "lapsed 3" || x.ID == "lapsed-3" }),
		},
		{
			name: "one write of twenty is lost", cases: []string{"StormEndsEverything"},
			wrap: func(s store.Store) store.Store {
				lost := counted(20)
				return &faulty{Store: s, commit: func(ctx context.Context, w store.Write) error {
					if lost() {
						return nil
					}
					return one(ctx, s, w)
				}}
			},
		},
		{name: "a claim counts as two, at times", cases: []string{"StormEndsEverything"}, wrap: claimingTwice},
		{
			name: "the owner before writes on", cases: []string{"StormEndsEverything"},
			wrap: lenient(func(w, f store.Fence) bool { return !f.Owner.None() && w.Epoch < f.Epoch }),
		},
	}
}

func lifeMutants() []mutant {
	list := []mutant{
		{
			name: "the store has no ID", cases: []string{"DescribesItself"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, describe: func() store.Info { return store.Info{Shared: true, Durable: true} }}
			},
		},
		{
			name: "the store's ID changes", cases: []string{"DescribesItself", "ReopenedHasAll"},
			wrap: func(s store.Store) store.Store {
				n := 0
				return &faulty{Store: s, describe: func() store.Info {
					n++
					return store.Info{ID: strconv.Itoa(n), Shared: true, Durable: true}
				}}
			},
		},
		{
			name: "all stores have one ID", cases: []string{"DescribesItself"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, describe: func() store.Info { return store.Info{ID: "store", Shared: true, Durable: true} }}
			},
		},
		{
			name: "the store says that it is not shared", cases: []string{"DescribesItself"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, describe: func() store.Info { return store.Info{ID: s.Describe().ID, Durable: true} }}
			},
		},
		{
			name: "all stores are one", cases: []string{"StoresAreApart", "DescribesItself"},
			subject: func(s *Subject) {
				one := sync.OnceValue(func() store.TaskQueue { return storemem.New() })
				s.New = func(testing.TB) store.Store { return claimedToLast{one()} }
			},
		},
		{
			name: "Close does nothing", cases: []string{"ClosedStoreSaysSo", "CloseEndsAWatch"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, close: func(context.Context) error { return nil }}
			},
		},
		{
			name: "Close is an error the second time", cases: []string{"ClosedStoreSaysSo"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, close: func(ctx context.Context) error {
					if _, err := s.Unread(ctx, store.Instance{}); err != nil {
						return err
					}
					return s.Close(ctx)
				}}
			},
		},
		{
			name: "a closed store cannot find", cases: []string{"ClosedStoreSaysSo"},
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, load: func(ctx context.Context, key store.Key) (*store.Snapshot, error) {
					x, err := s.Load(ctx, key)
					if errors.Is(err, store.ErrClosed) {
						err = store.ErrNotFound
					}
					return x, err
				}}
			},
		},
		{
			name: "what is opened again is empty", cases: []string{"ReopenedHasAll"},
			subject: func(s *Subject) {
				s.Reopen = func(testing.TB, store.Store) store.Store { return claimedToLast{storemem.New()} }
			},
		},
		{
			name: "each process has a store of its own", cases: []string{"HandlesSeeOneAnother", "DescribesItself", "OneOfManyCreatorsWins"},
			subject: func(s *Subject) {
				s.Another = func(testing.TB, store.Store) store.Store { return claimedToLast{storemem.New()} }
			},
		},
	}
	return append(list, detachedMutants()...)
}

// detachedMutants each have one call that does not look at its context.
func detachedMutants() []mutant {
	free := context.WithoutCancel
	var list []mutant
	for what, wrap := range map[string]func(s store.Store) *faulty{
		"Create": func(s store.Store) *faulty {
			return &faulty{create: func(ctx context.Context, x *store.Snapshot) (*store.Snapshot, error) { return s.Create(free(ctx), x) }}
		},
		"Commit": func(s store.Store) *faulty {
			return &faulty{batch: func(ctx context.Context, writes []store.Write) []error { return s.Commit(free(ctx), writes) }}
		},
		"Claim": func(s store.Store) *faulty {
			return &faulty{claim: func(ctx context.Context, c store.Claim) ([]store.Claimed, error) { return s.Claim(free(ctx), c) }}
		},
		"Heartbeat": func(s store.Store) *faulty {
			return &faulty{heartbeat: func(ctx context.Context, i store.Instance, lease time.Duration) error {
				return s.Heartbeat(free(ctx), i, lease)
			}}
		},
		"Release": func(s store.Store) *faulty {
			return &faulty{release: func(ctx context.Context, i store.Instance, held []store.Held) error {
				return s.Release(free(ctx), i, held)
			}}
		},
		"End": func(s store.Store) *faulty {
			return &faulty{end: func(ctx context.Context, i store.Instance) error { return s.End(free(ctx), i) }}
		},
		"Deliver": func(s store.Store) *faulty {
			return &faulty{deliver: func(ctx context.Context, key store.Key, m store.Message) error { return s.Deliver(free(ctx), key, m) }}
		},
		"Inbox": func(s store.Store) *faulty {
			return &faulty{inbox: func(ctx context.Context, key store.Key) ([]store.Message, error) { return s.Inbox(free(ctx), key) }}
		},
		"Unread": func(s store.Store) *faulty {
			return &faulty{unread: func(ctx context.Context, i store.Instance) ([]store.Key, error) { return s.Unread(free(ctx), i) }}
		},
		"Load": func(s store.Store) *faulty {
			return &faulty{load: func(ctx context.Context, key store.Key) (*store.Snapshot, error) { return s.Load(free(ctx), key) }}
		},
		"List": func(s store.Store) *faulty {
			return &faulty{list: func(ctx context.Context, q store.Query) (store.Page, error) { return s.List(free(ctx), q) }}
		},
		"Forget": func(s store.Store) *faulty {
			return &faulty{forget: func(ctx context.Context, key store.Key, run string) error { return s.Forget(free(ctx), key, run) }}
		},
	} {
		list = append(list, mutant{
			name: what + " does not look at its context", cases: []string{"EndedContextChangesNothing"},
			wrap: func(s store.Store) store.Store {
				f := wrap(s)
				f.Store = s
				return f
			},
		})
	}
	// The answer may be right although something was done.
	return append(list, mutant{
		name: "a call that is given up is made", cases: []string{"EndedContextChangesNothing"},
		wrap: func(s store.Store) store.Store {
			f := &faulty{Store: s}
			f.commit = func(ctx context.Context, w store.Write) error {
				err := one(free(ctx), s, w)
				return orEnded(ctx, err)
			}
			return f
		},
	}, mutant{
		name: "an end that is given up is made", cases: []string{"EndedContextChangesNothing"},
		wrap: func(s store.Store) store.Store {
			return &faulty{Store: s, end: func(ctx context.Context, i store.Instance) error { return orEnded(ctx, s.End(free(ctx), i)) }}
		},
	}, mutant{
		name: "a claim that is given up is made", cases: []string{"EndedContextChangesNothing"},
		wrap: func(s store.Store) store.Store {
			return &faulty{Store: s, claim: func(ctx context.Context, c store.Claim) ([]store.Claimed, error) {
				list, err := s.Claim(free(ctx), c)
				if ctx.Err() != nil {
					return nil, ctx.Err()
				}
				return list, err
			}}
		},
	})
}

func orEnded(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
