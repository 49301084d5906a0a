package lockingtest

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockmem"
)

func exclusionMutants() []mutant {
	return []mutant{
		{
			name:  "holds in reverse",
			cases: []string{"GrantAnswersEachKey"},
			wrap: func(p driver.Provider) driver.Provider {
				return &faulty{Provider: p, acquire: func(ctx context.Context, req driver.Request) (driver.Grant, error) {
					grant, err := p.Acquire(ctx, req)
					slices.Reverse(grant.Holds)
					return grant, err
				}}
			},
		},
		{
			name: "every tenth busy request is granted",
			cases: []string{
				"NamedOwnersExclude", "AnonymousOwnersExclude", "ProvidersExcludeUnderContention",
			},
			wrap: grantBusy(10),
		},
		{
			name:  "busy requests are granted",
			cases: []string{"HeldKeyIsRefused"},
			wrap:  grantBusy(1),
		},
		{
			name:  "anonymous is a name",
			cases: []string{"AnonymousNeverJoins", "AnonymousOwnersExclude"},
			wrap: translate{owner: func(owner string) string {
				if owner == driver.Anonymous {
					return "anonymous"
				}
				return owner
			}}.wrap,
		},
		{
			name: "each provider has its own locks",
			cases: []string{
				"ProvidersExclude", "ProvidersExcludeUnderContention", "ReleaseElsewhere",
				"ReleaseAllElsewhere", "TakeoverElsewhere", "CloseFreesNothing",
			},
			wrap: func(driver.Provider) driver.Provider { return lockmem.New(lockmem.Config{}) },
		},
	}
}

// grantBusy makes up a grant for every nth request that is refused.
func grantBusy(nth int64) func(driver.Provider) driver.Provider {
	return func(p driver.Provider) driver.Provider {
		var n atomic.Int64
		return &faulty{Provider: p, acquire: func(ctx context.Context, req driver.Request) (driver.Grant, error) {
			now := req
			now.Wait = driver.NoWait
			grant, err := p.Acquire(ctx, now)
			switch {
			case !errors.Is(err, driver.ErrBusy):
				return grant, err
			case n.Add(1)%nth == 0:
				return madeUp(req), nil
			}
			return p.Acquire(ctx, req)
		}}
	}
}

func madeUp(req driver.Request) driver.Grant {
	var grant driver.Grant
	for _, k := range req.Keys {
		grant.Holds = append(grant.Holds, driver.Granted{
			Hold: driver.Hold{Key: k, Owner: req.Owner, Generation: req.Generation, Token: 1},
		})
	}
	return grant
}

func manyKeysMutants() []mutant {
	return []mutant{
		{
			name:  "one by one, nothing given back",
			cases: []string{"BusyKeyAmongManyTakesNone", "TimeoutAmongManyTakesNone", "RevokedAmongManyTakesNone"},
			wrap:  oneByOne(func(_ driver.Provider, _ []driver.Granted, _ error) {}, func([]string) {}),
		},
		{
			name:  "one by one in any order, given back",
			cases: []string{"OverlappingRequestsAllSucceed"},
			wrap:  oneByOne(giveAllBack, func(keys []string) { rand.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] }) }),
		},
		{
			name:  "only the first key is taken",
			cases: []string{"WaiterForManyGetsAll", "ManyKeysAtOnce"},
			wrap:  firstKeys(1),
		},
		{
			name:  "256 keys are enough",
			cases: []string{"ManyKeysAtOnce"},
			wrap:  firstKeys(256),
		},
		{
			name:  "one joined, all joined",
			cases: []string{"PartlyHeldIsTakenWhole"},
			wrap: func(p driver.Provider) driver.Provider {
				return &faulty{Provider: p, acquire: func(ctx context.Context, req driver.Request) (driver.Grant, error) {
					grant, err := p.Acquire(ctx, req)
					joined := slices.ContainsFunc(grant.Holds, func(h driver.Granted) bool { return h.Joined })
					for i := range grant.Holds {
						grant.Holds[i].Joined = joined
					}
					return grant, err
				}}
			},
		},
		{
			name:  "a failure frees",
			cases: []string{"FailureKeepsWhatWasHeld"},
			wrap: afterFailure(driver.ErrBusy, func(p driver.Provider, req driver.Request) {
				for _, k := range req.Keys {
					freed(p, driver.Hold{Key: k, Owner: req.Owner})
				}
			}),
		},
		{
			name:  "a failure extends",
			cases: []string{"FailureKeepsWhatWasHeld"},
			wrap: afterFailure(driver.ErrBusy, func(p driver.Provider, req driver.Request) {
				for _, k := range req.Keys {
					if holderOf(p, k) == req.Owner && req.Owner != driver.Anonymous {
						_, _ = p.Acquire(context.Background(), one(req, k))
					}
				}
			}),
		},
	}
}

// oneByOne takes key after key, in the order that arrange leaves them in.
func oneByOne(fail func(driver.Provider, []driver.Granted, error), arrange func([]string)) func(driver.Provider) driver.Provider {
	return func(p driver.Provider) driver.Provider {
		return &faulty{Provider: p, acquire: func(ctx context.Context, req driver.Request) (driver.Grant, error) {
			var grant driver.Grant
			keys := slices.Clone(req.Keys)
			arrange(keys)
			for _, k := range keys {
				g, err := p.Acquire(ctx, one(req, k))
				if err != nil {
					fail(p, grant.Holds, err)
					return driver.Grant{}, err
				}
				grant.Holds = append(grant.Holds, g.Holds...)
				time.Sleep(100 * time.Microsecond)
			}
			return grant, nil
		}}
	}
}

func giveAllBack(p driver.Provider, holds []driver.Granted, _ error) {
	for _, h := range holds {
		freed(p, h.Hold)
	}
}

func firstKeys(n int) func(driver.Provider) driver.Provider {
	return func(p driver.Provider) driver.Provider {
		return &faulty{Provider: p, acquire: func(ctx context.Context, req driver.Request) (driver.Grant, error) {
			n := min(n, len(req.Keys))
			left := req
			left.Keys = req.Keys[n:]
			req.Keys = req.Keys[:n]
			grant, err := p.Acquire(ctx, req)
			if err == nil {
				grant.Holds = append(grant.Holds, madeUp(left).Holds...)
			}
			return grant, err
		}}
	}
}

func afterFailure(want error, then func(driver.Provider, driver.Request)) func(driver.Provider) driver.Provider {
	return func(p driver.Provider) driver.Provider {
		return &faulty{Provider: p, acquire: func(ctx context.Context, req driver.Request) (driver.Grant, error) {
			grant, err := p.Acquire(ctx, req)
			if errors.Is(err, want) {
				then(p, req)
			}
			return grant, err
		}}
	}
}
