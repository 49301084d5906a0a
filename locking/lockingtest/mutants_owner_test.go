package lockingtest

import (
	"context"
	"errors"
	"sync"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

func ownerMutants() []mutant {
	return []mutant{
		{
			name:  "owners exclude themselves",
			cases: []string{"OwnerJoins", "PartlyHeldIsTakenWhole", "ProvidersExclude"},
			wrap: func(p driver.Provider) driver.Provider {
				return &faulty{Provider: p, acquire: func(ctx context.Context, req driver.Request) (driver.Grant, error) {
					for _, k := range req.Keys {
						if holderOf(p, k) == req.Owner {
							return driver.Grant{}, &driver.BusyError{Key: k, Holder: req.Owner}
						}
					}
					return p.Acquire(ctx, req)
				}}
			},
		},
		{
			name:  "a join takes afresh",
			cases: []string{"JoinKeepsToken", "PartlyHeldIsTakenWhole"},
			wrap: func(p driver.Provider) driver.Provider {
				return &faulty{Provider: p, acquire: func(ctx context.Context, req driver.Request) (driver.Grant, error) {
					grant, err := p.Acquire(ctx, req)
					for i, h := range grant.Holds {
						if h.Joined && freed(p, h.Hold) {
							again, err := p.Acquire(ctx, one(req, h.Key))
							if err != nil {
								return driver.Grant{}, err
							}
							grant.Holds[i] = again.Holds[0]
							grant.Holds[i].Joined = true
						}
					}
					return grant, err
				}}
			},
		},
		{name: "joins are counted", cases: []string{"ReleaseEndsJoinedHolds"}, wrap: countJoins},
		{
			name:  "once held, always joined",
			cases: []string{"ReleasedOwnerTakesAfresh", "LapsedOwnerTakesAfresh"},
			wrap: func(p driver.Provider) driver.Provider {
				f := &faulty{Provider: p}
				f.acquire = change(p, func(h *driver.Granted) {
					h.Joined = h.Joined || f.known(h.Key).Owner == h.Owner
				})
				return f
			},
		},
		{
			name: "generations do not count",
			cases: []string{
				"LaterGenerationTakesOver", "RevokedHoldFreesNothing", "RevokedHoldExtendsNothing",
				"EarlierGenerationIsRevoked", "EarlierGenerationChangesNothing", "EpochCountsBeforeAttempt",
				"RevokedAmongManyTakesNone", "TokensRiseOverTakeover", "TakeoverElsewhere",
			},
			wrap: translate{generation: func(driver.Generation) driver.Generation { return driver.Generation{} }}.wrap,
		},
		{
			name:  "an earlier generation is busy",
			cases: []string{"EarlierGenerationIsRevoked"},
			wrap: func(p driver.Provider) driver.Provider {
				return &faulty{Provider: p, acquire: func(ctx context.Context, req driver.Request) (driver.Grant, error) {
					grant, err := p.Acquire(ctx, req)
					if errors.Is(err, driver.ErrRevoked) {
						err = &driver.BusyError{Key: req.Keys[0], Holder: req.Owner}
					}
					return grant, err
				}}
			},
		},
		{
			name:  "attempts count before epochs",
			cases: []string{"EpochCountsBeforeAttempt"},
			wrap: translate{generation: func(g driver.Generation) driver.Generation {
				return driver.Generation{Epoch: g.Attempt, Attempt: g.Epoch}
			}}.wrap,
		},
		{
			name:  "an earlier generation extends",
			cases: []string{"EarlierGenerationChangesNothing"},
			wrap: func(p driver.Provider) driver.Provider {
				f := &faulty{Provider: p}
				f.acquire = func(ctx context.Context, req driver.Request) (driver.Grant, error) {
					grant, err := p.Acquire(ctx, req)
					if errors.Is(err, driver.ErrRevoked) {
						_, _ = p.Extend(ctx, req.TTL, []driver.Hold{f.known(req.Keys[0])})
					}
					return grant, err
				}
				return f
			},
		},
		{
			name:  "a takeover begins anew",
			cases: []string{"TakeoverKeepsExpiry"},
			wrap: func(p driver.Provider) driver.Provider {
				f := &faulty{Provider: p}
				f.acquire = func(ctx context.Context, req driver.Request) (driver.Grant, error) {
					for _, k := range req.Keys {
						if h := f.known(k); h.Owner == req.Owner && h.Generation.Compare(req.Generation) < 0 {
							freed(p, h)
						}
					}
					return p.Acquire(ctx, req)
				}
				return f
			},
		},
	}
}

// countJoins frees a key only with the last of its owner's holds.
func countJoins(p driver.Provider) driver.Provider {
	var mu sync.Mutex
	joins := map[driver.Hold]int{}
	return &faulty{
		Provider: p,
		acquire: change(p, func(h *driver.Granted) {
			mu.Lock()
			defer mu.Unlock()
			if h.Joined {
				joins[h.Hold]++
			}
		}),
		release: func(ctx context.Context, holds []driver.Hold) ([]bool, error) {
			mu.Lock()
			defer mu.Unlock()
			if len(holds) == 1 && joins[holds[0]] > 0 {
				joins[holds[0]]--
				return []bool{true}, nil
			}
			return p.Release(ctx, holds)
		},
	}
}
