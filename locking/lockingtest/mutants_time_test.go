package lockingtest

import (
	"context"
	"io"
	"slices"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

func expiryMutants() []mutant {
	return []mutant{
		{
			name:  "whole seconds",
			cases: []string{"LapsesInTime"},
			wrap:  requests(func(r *driver.Request) { r.TTL = (r.TTL + time.Second - 1).Truncate(time.Second) }),
		},
		{
			name:  "half the time",
			cases: []string{"LapsesInTime", "UntilComesBeforeTheEnd"},
			wrap: func(p driver.Provider) driver.Provider {
				return &faulty{
					Provider: p,
					acquire: func(ctx context.Context, req driver.Request) (driver.Grant, error) {
						ttl := req.TTL
						req.TTL /= 2
						grant, err := p.Acquire(ctx, req)
						for i := range grant.Holds {
							grant.Holds[i].Until = time.Now().Add(ttl)
						}
						return grant, err
					},
					extend: func(ctx context.Context, ttl time.Duration, holds []driver.Hold) ([]driver.Extension, error) {
						answers, err := p.Extend(ctx, ttl/2, holds)
						for i := range answers {
							answers[i].Until = time.Now().Add(ttl)
						}
						return answers, err
					},
				}
			},
		},
		{
			name:  "nothing ever lapses",
			cases: []string{"LapsesInTime", "LapseWakesWaiter", "LapsedOwnerTakesAfresh", "TokensRiseOverLapse", "ReleaseAfterLapse"},
			wrap:  requests(func(r *driver.Request) { r.TTL = 0 }),
		},
		{
			name: "waiters are deaf",
			cases: []string{
				"LapseWakesWaiter", "ReleaseWakesWaiter", "ReleaseAllWakesWaiter", "EveryWaiterIsServed",
				"WaiterForManyGetsAll", "ReleaseElsewhere",
			},
			wrap: deaf,
		},
		{name: "a join without TTL strips the expiry", cases: []string{"JoinWithoutTTLKeepsExpiry", "TakeoverKeepsExpiry"}, wrap: stripExpiry},
		{
			name:  "a join never extends",
			cases: []string{"JoinWithLongerTTLExtends"},
			wrap: func(p driver.Provider) driver.Provider {
				return &faulty{Provider: p, acquire: func(ctx context.Context, req driver.Request) (driver.Grant, error) {
					if holderOf(p, req.Keys[0]) == req.Owner {
						req.TTL = 0
					}
					return p.Acquire(ctx, req)
				}}
			},
		},
		{
			name:  "a join shortens",
			cases: []string{"JoinWithShorterTTLChangesNothing", "NoExpiryStays", "TakeoverKeepsExpiry"},
			wrap: func(p driver.Provider) driver.Provider {
				return &faulty{Provider: p, acquire: func(ctx context.Context, req driver.Request) (driver.Grant, error) {
					grant, err := p.Acquire(ctx, req)
					if err == nil && req.TTL > 0 {
						freeLater(p, req.TTL, req.Keys[0], req.Owner)
					}
					return grant, err
				}}
			},
		},
		{
			name:  "every hold has an end",
			cases: []string{"UntilIsZeroWithoutExpiry", "NoExpiryStays"},
			wrap: holds(func(h *driver.Granted) {
				if h.Until.IsZero() {
					h.Until = time.Now().Add(forever)
				}
			}),
		},
		{
			name:  "Until is late",
			cases: []string{"UntilComesBeforeTheEnd"},
			wrap: func(p driver.Provider) driver.Provider {
				return &faulty{Provider: p, extend: extensions(p, func(e *driver.Extension) { e.Until = e.Until.Add(moment / 4) })}
			},
		},
		{
			name:  "Until is on the wall clock",
			cases: []string{"UntilComesBeforeTheEnd"},
			wrap:  holds(func(h *driver.Granted) { h.Until = h.Until.Round(0) }),
		},
	}
}

func requests(f func(*driver.Request)) func(driver.Provider) driver.Provider {
	return func(p driver.Provider) driver.Provider { return &faulty{Provider: p, acquire: before(p, f)} }
}

func holds(f func(*driver.Granted)) func(driver.Provider) driver.Provider {
	return func(p driver.Provider) driver.Provider { return &faulty{Provider: p, acquire: change(p, f)} }
}

func extensions(p driver.Provider, f func(*driver.Extension)) func(context.Context, time.Duration, []driver.Hold) ([]driver.Extension, error) {
	return func(ctx context.Context, ttl time.Duration, list []driver.Hold) ([]driver.Extension, error) {
		answers, err := p.Extend(ctx, ttl, list)
		for i := range answers {
			f(&answers[i])
		}
		return answers, err
	}
}

// deaf lets a request that must wait do so to the end, and look again only then.
func deaf(p driver.Provider) driver.Provider {
	return &faulty{Provider: p, acquire: func(ctx context.Context, req driver.Request) (driver.Grant, error) {
		now := req
		now.Wait = driver.NoWait
		grant, err := p.Acquire(ctx, now)
		if err == nil || req.Wait < 0 {
			return grant, err
		}
		select {
		case <-ctx.Done():
			return driver.Grant{}, ctx.Err()
		case <-time.After(req.Wait):
			req.Wait = 0
			return p.Acquire(ctx, req)
		}
	}}
}

// stripExpiry takes afresh, without expiry, what an owner joins without a TTL.
func stripExpiry(p driver.Provider) driver.Provider {
	return &faulty{Provider: p, acquire: func(ctx context.Context, req driver.Request) (driver.Grant, error) {
		if req.TTL == 0 && req.Owner != driver.Anonymous && holderOf(p, req.Keys[0]) == req.Owner {
			freed(p, driver.Hold{Key: req.Keys[0], Owner: req.Owner})
		}
		return p.Acquire(ctx, req)
	}}
}

func extendMutants() []mutant {
	return []mutant{
		{
			name:  "Extend only says so",
			cases: []string{"ExtendMakesLonger", "ExtendAnswersInOrder"},
			wrap: func(p driver.Provider) driver.Provider {
				return &faulty{Provider: p, extend: func(ctx context.Context, _ time.Duration, list []driver.Hold) ([]driver.Extension, error) {
					return p.Extend(ctx, time.Millisecond, list) // the lock has more
				}}
			},
		},
		{
			name:  "Extend shortens",
			cases: []string{"ExtendNeverShortens", "ExtendAddsNoExpiry"},
			wrap: func(p driver.Provider) driver.Provider {
				return &faulty{Provider: p, extend: func(ctx context.Context, ttl time.Duration, list []driver.Hold) ([]driver.Extension, error) {
					freeLater(p, ttl, list[0].Key, list[0].Owner)
					return p.Extend(ctx, ttl, list)
				}}
			},
		},
		{
			name:  "Extend ignores the token",
			cases: []string{"ExtendComparesHolds", "RevokedHoldExtendsNothing"},
			wrap:  extendAs(func(given *driver.Hold, known driver.Hold) { given.Token = known.Token }),
		},
		{
			name:  "Extend ignores the owner",
			cases: []string{"ExtendComparesHolds"},
			wrap:  extendAs(func(given *driver.Hold, known driver.Hold) { given.Owner = known.Owner }),
		},
		{
			name:  "Extend revives",
			cases: []string{"ExtendRevivesNothing"},
			wrap: func(p driver.Provider) driver.Provider {
				return &faulty{Provider: p, extend: func(ctx context.Context, ttl time.Duration, list []driver.Hold) ([]driver.Extension, error) {
					for _, h := range list {
						_, _ = p.Acquire(ctx, lasting(ask(h.Owner, h.Key), ttl))
					}
					return p.Extend(ctx, ttl, list)
				}}
			},
		},
		{
			name:  "Extend has no answer for what is lost",
			cases: []string{"ExtendComparesHolds", "ExtendRevivesNothing", "ExtendAnswersInOrder"},
			wrap: func(p driver.Provider) driver.Provider {
				return &faulty{Provider: p, extend: extensions(p, func(e *driver.Extension) {
					if !e.Held {
						*e = driver.Extension{Err: io.EOF}
					}
				})}
			},
		},
		{
			name:  "Extend stops at the first that is lost",
			cases: []string{"ExtendAnswersInOrder"},
			wrap: func(p driver.Provider) driver.Provider {
				return &faulty{Provider: p, extend: func(ctx context.Context, ttl time.Duration, list []driver.Hold) ([]driver.Extension, error) {
					answers := make([]driver.Extension, len(list))
					for i := range list {
						one, err := p.Extend(ctx, ttl, list[i:i+1])
						if err != nil || !one[0].Held {
							return answers, err
						}
						answers[i] = one[0]
					}
					return answers, nil
				}}
			},
		},
	}
}

// extendAs changes each hold, knowing what was granted last on its key.
func extendAs(f func(given *driver.Hold, known driver.Hold)) func(driver.Provider) driver.Provider {
	return func(p driver.Provider) driver.Provider {
		f0 := &faulty{Provider: p}
		f0.extend = func(ctx context.Context, ttl time.Duration, list []driver.Hold) ([]driver.Extension, error) {
			changed := make([]driver.Hold, len(list))
			for i, h := range list {
				f(&h, f0.known(h.Key))
				changed[i] = h
			}
			return p.Extend(ctx, ttl, changed)
		}
		return f0
	}
}

func reverseExtensions(p driver.Provider) func(context.Context, time.Duration, []driver.Hold) ([]driver.Extension, error) {
	return func(ctx context.Context, ttl time.Duration, list []driver.Hold) ([]driver.Extension, error) {
		answers, err := p.Extend(ctx, ttl, list)
		slices.Reverse(answers)
		return answers, err
	}
}
