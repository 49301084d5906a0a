package lockingtest

import (
	"context"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

func offerMutants() []mutant {
	return []mutant{
		{
			name:  "an extension gives a quarter of the time",
			cases: []string{"OfferBecomesAFullHold"},
			wrap:  extending(func(ttl time.Duration) time.Duration { return ttl / 4 }),
		},
		{
			name:  "an extension without a time gives some",
			cases: []string{"OfferBecomesAHoldForGood", "ExtendTakesTheExpiryAway"},
			wrap: extending(func(ttl time.Duration) time.Duration {
				if ttl == 0 {
					return forever
				}
				return ttl
			}),
		},
		{
			name:  "an extension gives more time",
			cases: []string{"OfferTakesTheTimeItIsGiven"},
			wrap:  extending(func(ttl time.Duration) time.Duration { return 6 * ttl }),
		},
		{
			name:  "what was waited for is not freed",
			cases: []string{"OfferIsReleased"},
			wrap: func(p driver.Provider) driver.Provider {
				return &faulty{Provider: p, release: func(ctx context.Context, list []driver.Hold) ([]bool, error) {
					if list[0].Owner == "first" {
						return []bool{true}, nil
					}
					return p.Release(ctx, list)
				}}
			},
		},
		{
			name:  "what was waited for lasts longer",
			cases: []string{"ShortWaitedHoldLapsesInTime"},
			wrap: requests(func(r *driver.Request) {
				if r.Wait > 0 {
					r.TTL *= 4
				}
			}),
		},
		{
			name:  "an offer's Until is too late",
			cases: []string{"LapsedOfferGoesOn"},
			wrap:  holds(func(h *driver.Granted) { h.Until = h.Until.Add(time.Second) }),
		},
		{
			name:  "an offer is a full hold",
			cases: []string{"LapsedOfferGoesOn"},
			wrap: func(p driver.Provider) driver.Provider {
				return &faulty{Provider: p, acquire: change(p, func(h *driver.Granted) {
					if h.Offer {
						_, _ = p.Extend(context.Background(), 0, []driver.Hold{h.Hold})
					}
				})}
			},
		},
	}
}

func extending(f func(time.Duration) time.Duration) func(driver.Provider) driver.Provider {
	return func(p driver.Provider) driver.Provider {
		return &faulty{Provider: p, extend: func(ctx context.Context, ttl time.Duration, list []driver.Hold) ([]driver.Extension, error) {
			return p.Extend(ctx, f(ttl), list)
		}}
	}
}
