package lockingtest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

func orderMutants() []mutant {
	return []mutant{
		{
			name:  "every other request goes first",
			cases: []string{"FIFOOnOneKey", "FIFOOverManyKeys", "FIFOWithinARank", "FIFOOverProviders", "QueuesMakeNoCircle"},
			wrap: func(p driver.Provider) driver.Provider {
				var n atomic.Int64
				return requests(func(r *driver.Request) {
					if r.Wait > 0 && n.Add(1)%2 == 0 {
						r.Rank = driver.Compensation
					}
				})(p)
			},
		},
		{
			name:  "who does not wait goes first",
			cases: []string{"NoWaitDoesNotBarge", "NobodyPassesWithoutNeed"},
			wrap: requests(func(r *driver.Request) {
				if r.Wait == driver.NoWait {
					r.Rank = driver.Compensation
				}
			}),
		},
		{
			name:  "a waiter that goes first is a holder",
			cases: []string{"NoWaitDoesNotBarge", "NobodyPassesWithoutNeed"},
			wrap: errorAs(func(_ driver.Request, err error) error {
				if busy, ok := errors.AsType[*driver.BusyError](err); ok && busy.Holder == "" {
					busy.Holder = "waiter"
				}
				return err
			}),
		},
		{
			name:  "a release hands over later",
			cases: []string{"ReleaseHandsOver"},
			wrap: func(p driver.Provider) driver.Provider {
				return &faulty{Provider: p, release: func(_ context.Context, list []driver.Hold) ([]bool, error) {
					list = slices.Clone(list)
					time.AfterFunc(blockedFor, func() { _, _ = p.Release(context.Background(), list) })
					return slices.Repeat([]bool{true}, len(list)), nil
				}}
			},
		},
		{
			name:  "a grant comes late",
			cases: []string{"HandOverIsPrompt"},
			wrap: func(p driver.Provider) driver.Provider {
				return &faulty{Provider: p, acquire: func(ctx context.Context, req driver.Request) (driver.Grant, error) {
					grant, err := p.Acquire(ctx, req)
					if req.Wait > 0 {
						time.Sleep(2 * promptly)
					}
					return grant, err
				}}
			},
		},
		{
			name:  "who leaves keeps its place",
			cases: []string{"CancelledWaiterLetsOthersPass", "TimedOutWaiterLetsOthersPass", "InspectNoLongerWaiting"},
			wrap:  standing,
		},
		{
			name: "nobody passes those who wait",
			cases: []string{
				"QueuesAreApart", "JoinPassesWaiters", "TakeoverPassesWaiters", "RankPassesAtAFreeKey", "WaitingGenerationIsRevoked",
				"HolderPassesWhoWaitsForIt", "EnclosedPassesWhoWaitsForEncloser", "HolderPassesOverHolders", "HolderPassesOverQueues",
				"ChainIsNoCircle", "HoldersPassAtAFreeKey",
			},
			wrap: whileOthersWait(func(req driver.Request) error {
				if req.Wait == driver.NoWait {
					return &driver.BusyError{Key: req.Keys[0]}
				}
				return nil
			}),
		},
		{
			name:  "who is revoked waits on",
			cases: []string{"WaitingGenerationIsRevoked", "EarlierGenerationIsRevokedFirst", "RevokedWaiterEnds"},
			wrap:  never(driver.ErrRevoked),
		},
		{
			name:  "only the first key is taken",
			cases: []string{"ManyForAllKeys"},
			wrap:  firstKeys(1),
		},
		{
			name:  "every tenth busy request is granted",
			cases: []string{"ManyForAllKeys"},
			wrap:  grantBusy(10),
		},
	}
}

// whileOthersWait asks what is to become of a request when others wait; nil passes
// it on.
func whileOthersWait(f func(driver.Request) error) func(driver.Provider) driver.Provider {
	return func(p driver.Provider) driver.Provider {
		var waiting atomic.Int64
		return &faulty{Provider: p, acquire: func(ctx context.Context, req driver.Request) (driver.Grant, error) {
			if waiting.Load() > 0 {
				if err := f(req); err != nil {
					return driver.Grant{}, err
				}
			}
			if req.Wait > 0 {
				waiting.Add(1)
				defer waiting.Add(-1)
			}
			return p.Acquire(ctx, req)
		}}
	}
}

// standing leaves a request in its place when its caller has left.
func standing(p driver.Provider) driver.Provider {
	return &faulty{Provider: p, acquire: func(ctx context.Context, req driver.Request) (driver.Grant, error) {
		if req.Wait <= 0 {
			return p.Acquire(ctx, req)
		}
		end, cancel := context.WithTimeoutCause(ctx, req.Wait, driver.ErrTimeout)
		defer cancel()
		req.Wait += 2 * mutantPatience
		var grant driver.Grant
		var err error
		done := make(chan struct{})
		go func() {
			defer close(done)
			grant, err = p.Acquire(context.WithoutCancel(ctx), req)
		}()
		select {
		case <-done:
			return grant, err
		case <-end.Done():
			return driver.Grant{}, context.Cause(end)
		}
	}}
}

// never lets those who wait do so for ever instead of an error.
func never(reason error) func(driver.Provider) driver.Provider {
	return func(p driver.Provider) driver.Provider {
		return &faulty{Provider: p, acquire: func(ctx context.Context, req driver.Request) (driver.Grant, error) {
			grant, err := p.Acquire(ctx, req)
			if errors.Is(err, reason) && req.Wait > 0 {
				<-ctx.Done()
				err = ctx.Err()
			}
			return grant, err
		}}
	}
}

// elsewho asks for those who wait under another name.
func elsewho(p driver.Provider) driver.Provider {
	return &faulty{Provider: p, acquire: func(ctx context.Context, req driver.Request) (driver.Grant, error) {
		if req.Wait <= 0 {
			return p.Acquire(ctx, req)
		}
		return translate{owner: func(owner string) string { return owner + "'" }}.acquire(ctx, p, req)
	}}
}

func rankMutants() []mutant {
	return []mutant{
		{
			name: "ranks are ignored",
			cases: []string{
				"CompensationGoesFirst", "CompensationGoesBeforeHolders", "FIFOWithinARank", "RankPassesAtAFreeKey", "CompensationIsSpared",
				"TheYoungestOfThreeIsGivenUp",
			},
			wrap: requests(func(r *driver.Request) { r.Rank = driver.Forward }),
		},
		{
			name:  "all are of one rank",
			cases: []string{"HoldersGoFirst", "EnclosingHoldersGoFirst", "FIFOWithinARank", "CompensationGoesFirst"},
			wrap:  requests(func(r *driver.Request) { r.Rank = driver.Compensation }),
		},
		{
			name:  "who once held something goes first",
			cases: []string{"WhoHeldGoesLast"},
			wrap: func(p driver.Provider) driver.Provider {
				f := &faulty{Provider: p}
				f.acquire = func(ctx context.Context, req driver.Request) (driver.Grant, error) {
					if req.Owner == "once" && f.known("x").Owner == req.Owner {
						req.Rank = driver.Compensation
					}
					return p.Acquire(ctx, req)
				}
				return f
			},
		},
		{
			name:  "a compensation takes by force",
			cases: []string{"RankTakesNothingAway"},
			wrap: requestsAt(func(p driver.Provider, r *driver.Request) {
				if r.Rank == driver.Compensation {
					_, _ = p.ReleaseAll(context.Background(), holderOf(p, r.Keys[0]))
				}
			}),
		},
		{
			name:  "enclosing owners are ignored",
			cases: []string{"EnclosingHoldersGoFirst", "EnclosedPassesWhoWaitsForEncloser", "DeadlockThroughEncloser", "DeadlockClosedByEnclosed"},
			wrap:  requests(func(r *driver.Request) { r.Enclosing = nil }),
		},
		{
			name: "who waits is somebody else",
			cases: []string{
				"HoldersGoFirst", "WaiterPassesWhoWaitsForIt", "DeadlockIsFound", "DeadlockOfThree", "DeadlockClosedByAGrant",
			},
			wrap: elsewho,
		},
	}
}

func requestsAt(f func(driver.Provider, *driver.Request)) func(driver.Provider) driver.Provider {
	return func(p driver.Provider) driver.Provider {
		return &faulty{Provider: p, acquire: before(p, func(r *driver.Request) { f(p, r) })}
	}
}

func deadlockMutants() []mutant {
	return slices.Concat(foundMutants(), victimMutants())
}

func foundMutants() []mutant {
	return []mutant{
		{
			name: "deadlocks are not found",
			cases: []string{
				"DeadlockIsFound", "DeadlockNamesTheCircle", "DeadlockSparesTheOther", "DeadlockVictimLeavesNothing", "DeadlockOfThree",
				"DeadlockThroughEncloser", "DeadlockClosedByEnclosed", "DeadlockClosedByAGrant", "EveryCircleIsFound",
				"DeadlockOverProviders",
			},
			wrap: never(driver.ErrDeadlock),
		},
		{
			name:  "a deadlock without details",
			cases: []string{"DeadlockIsFound", "DeadlockNamesTheCircle", "DeadlockOfThree", "TheYoungestIsGivenUp"},
			wrap: errorAs(func(_ driver.Request, err error) error {
				if isDeadlock(err) {
					return driver.ErrDeadlock
				}
				return err
			}),
		},
		{
			name:  "the circle begins with another",
			cases: []string{"DeadlockNamesTheCircle", "DeadlockOfThree", "TheYoungestIsGivenUp"},
			wrap:  errorAs(func(_ driver.Request, err error) error { return rotated(err) }),
		},
		{
			name:  "all of a circle are given up",
			cases: []string{"DeadlockSparesTheOther", "WhoClosesIsGivenUp", "TheYoungestGivesUpItself", "OneOfCompensationsIsGivenUp"},
			wrap:  givingUpAll,
		},
		{
			name:  "a victim loses what it holds",
			cases: []string{"DeadlockVictimLeavesNothing"},
			wrap: afterFailure(driver.ErrDeadlock, func(p driver.Provider, req driver.Request) {
				_, _ = p.ReleaseAll(context.Background(), req.Owner)
			}),
		},
		{
			name:  "a second waiter makes a circle",
			cases: []string{"NobodyWaitsForItself", "ChainIsNoCircle", "QueuesMakeNoCircle", "AnonymousMakeNoCircle"},
			wrap: whileOthersWait(func(req driver.Request) error {
				if req.Wait > 0 {
					return &driver.DeadlockError{}
				}
				return nil
			}),
		},
	}
}

// rotated makes a deadlock's circle begin with the one after the victim.
func rotated(err error) error {
	if d, ok := errors.AsType[*driver.DeadlockError](err); ok {
		d.Cycle = append(slices.Clone(d.Cycle[1:]), d.Cycle[0])
	}
	return err
}

// givingUpAll ends all that wait when one is the victim of a deadlock.
func givingUpAll(p driver.Provider) driver.Provider {
	var mu sync.Mutex
	var all []context.CancelCauseFunc
	return &faulty{Provider: p, acquire: func(ctx context.Context, req driver.Request) (driver.Grant, error) {
		ctx, end := context.WithCancelCause(ctx)
		defer end(nil)
		mu.Lock()
		all = append(all, end)
		mu.Unlock()
		grant, err := p.Acquire(ctx, req)
		if cause := context.Cause(ctx); err != nil && cause != nil {
			err = cause
		}
		if errors.Is(err, driver.ErrDeadlock) {
			mu.Lock()
			defer mu.Unlock()
			for _, end := range all {
				end(err)
			}
		}
		return grant, err
	}}
}

func victimMutants() []mutant {
	return []mutant{
		{
			name:  "births are ignored",
			cases: []string{"TheYoungestIsGivenUp", "TheYoungestOfThreeIsGivenUp", "DeadlockOverProviders"},
			wrap:  requests(func(r *driver.Request) { r.Born = 0 }),
		},
		{
			name:  "the oldest is given up",
			cases: []string{"TheYoungestIsGivenUp", "TheYoungestGivesUpItself", "OneOfCompensationsIsGivenUp"},
			wrap: requests(func(r *driver.Request) {
				if r.Born > 0 {
					r.Born = 1_000_000 - r.Born
				}
			}),
		},
		{
			name:  "who came first is given up",
			cases: []string{"WhoClosesIsGivenUp", "DeadlockNamesTheCircle", "DeadlockSparesTheOther"},
			wrap: func(p driver.Provider) driver.Provider {
				var n atomic.Uint64
				return requests(func(r *driver.Request) { r.Born = 1_000_000 - n.Add(1) })(p)
			},
		},
	}
}
