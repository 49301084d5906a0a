package lockingtest

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

func releaseMutants() []mutant {
	return slices.Concat(oneReleaseMutants(), releaseAllMutants())
}

func oneReleaseMutants() []mutant {
	return []mutant{
		{
			name:  "Release only says so",
			cases: []string{"ReleaseFrees", "ReleaseEndsJoinedHolds", "ReleasedOwnerTakesAfresh"},
			wrap: func(p driver.Provider) driver.Provider {
				return &faulty{Provider: p, release: func(_ context.Context, list []driver.Hold) ([]bool, error) {
					answers := make([]bool, len(list))
					for i := range answers {
						answers[i] = true
					}
					return answers, nil
				}}
			},
		},
		{
			name:  "Release ignores the owner",
			cases: []string{"ReleaseComparesOwner", "ReleaseWithoutOwnerSparesNamed", "ReleaseAnswersInOrder"},
			wrap: releaseAs(func(p driver.Provider, h *driver.Hold) {
				h.Owner, h.Token = holderOf(p, h.Key), 0
			}),
		},
		{
			name:  "Release without an owner frees any",
			cases: []string{"ReleaseWithoutOwnerSparesNamed"},
			wrap: releaseAs(func(p driver.Provider, h *driver.Hold) {
				if h.Owner == driver.Anonymous || h.Owner == "" {
					h.Owner, h.Token = holderOf(p, h.Key), 0
				}
			}),
		},
		{
			name: "Release ignores the token",
			cases: []string{
				"ReleaseComparesToken", "LapsedAnonymousFreesNothing", "LapsedNamedFreesNothing",
				"RevokedHoldFreesNothing", "TakeoverElsewhere",
			},
			wrap: releaseAs(func(_ driver.Provider, h *driver.Hold) { h.Token = 0 }),
		},
		{
			name:  "Release wants a token",
			cases: []string{"ReleaseWithoutToken"},
			wrap: releaseAs(func(_ driver.Provider, h *driver.Hold) {
				if h.Token == 0 {
					h.Token = 1
				}
			}),
		},
		{
			name:  "Release of what was held says yes",
			cases: []string{"ReleaseAfterLapse", "ReleaseFrees", "LapsedNamedFreesNothing"},
			wrap: func(p driver.Provider) driver.Provider {
				f := &faulty{Provider: p}
				f.release = func(ctx context.Context, list []driver.Hold) ([]bool, error) {
					answers, err := p.Release(ctx, list)
					for i := range answers {
						answers[i] = answers[i] || f.known(list[i].Key).Owner == list[i].Owner
					}
					return answers, err
				}
				return f
			},
		},
		{
			name:  "answers in reverse",
			cases: []string{"ReleaseAnswersInOrder", "ExtendAnswersInOrder"},
			wrap: func(p driver.Provider) driver.Provider {
				f := &faulty{Provider: p}
				f.release = func(ctx context.Context, list []driver.Hold) ([]bool, error) {
					answers, err := p.Release(ctx, list)
					slices.Reverse(answers)
					return answers, err
				}
				f.extend = reverseExtensions(p)
				return f
			},
		},
		{
			name:  "Release stops at the first that is gone",
			cases: []string{"ReleaseAnswersInOrder"},
			wrap: func(p driver.Provider) driver.Provider {
				return &faulty{Provider: p, release: func(ctx context.Context, list []driver.Hold) ([]bool, error) {
					answers := make([]bool, len(list))
					for i := range list {
						one, err := p.Release(ctx, list[i:i+1])
						if err != nil || !one[0] {
							return answers, err
						}
						answers[i] = true
					}
					return answers, nil
				}}
			},
		},
	}
}

// releaseAs changes each hold that is released, but for the suite's own probes.
func releaseAs(f func(driver.Provider, *driver.Hold)) func(driver.Provider) driver.Provider {
	return func(p driver.Provider) driver.Provider {
		return &faulty{Provider: p, release: func(ctx context.Context, list []driver.Hold) ([]bool, error) {
			changed := make([]driver.Hold, len(list))
			for i, h := range list {
				if h.Owner != stranger {
					f(p, &h)
				}
				changed[i] = h
			}
			return p.Release(ctx, changed)
		}}
	}
}

func releaseAllMutants() []mutant {
	return []mutant{
		{
			name:  "ReleaseAll does not count",
			cases: []string{"ReleaseAllCounts"},
			wrap: func(p driver.Provider) driver.Provider {
				return &faulty{Provider: p, releaseAll: func(ctx context.Context, owner string) (int, error) {
					_, err := p.ReleaseAll(ctx, owner)
					return 0, err
				}}
			},
		},
		{
			name:  "ReleaseAll does nothing",
			cases: []string{"ReleaseAllCounts", "ReleaseAllWakesWaiter", "TokensRiseOverReleaseAll"},
			wrap: func(p driver.Provider) driver.Provider {
				return &faulty{Provider: p, releaseAll: func(context.Context, string) (int, error) { return 0, nil }}
			},
		},
		{
			name:  "ReleaseAll goes by the beginning of the name",
			cases: []string{"ReleaseAllSparesOthers"},
			wrap:  releaseAllOf(strings.HasPrefix),
		},
		{
			name:  "ReleaseAll of anonymous frees all",
			cases: []string{"ReleaseAllOfAnonymous"},
			wrap:  releaseAllOf(func(has, owner string) bool { return has == owner || owner == driver.Anonymous }),
		},
		{
			name:  "ReleaseAll counts what has lapsed",
			cases: []string{"ReleaseAllSkipsLapsed"},
			wrap: func(p driver.Provider) driver.Provider {
				var mu sync.Mutex
				taken := map[string]int{}
				return &faulty{
					Provider: p,
					acquire: change(p, func(h *driver.Granted) {
						mu.Lock()
						defer mu.Unlock()
						taken[h.Owner]++
					}),
					releaseAll: func(ctx context.Context, owner string) (int, error) {
						_, err := p.ReleaseAll(ctx, owner)
						mu.Lock()
						defer mu.Unlock()
						return taken[owner], err
					},
				}
			},
		},
	}
}

// releaseAllOf frees what the owners have that the rule takes for the given one.
func releaseAllOf(same func(has, owner string) bool) func(driver.Provider) driver.Provider {
	return func(p driver.Provider) driver.Provider {
		var mu sync.Mutex
		owners := map[string]bool{}
		return &faulty{
			Provider: p,
			acquire: change(p, func(h *driver.Granted) {
				mu.Lock()
				defer mu.Unlock()
				owners[h.Owner] = true
			}),
			releaseAll: func(ctx context.Context, owner string) (int, error) {
				mu.Lock()
				defer mu.Unlock()
				n, err := p.ReleaseAll(ctx, owner)
				for has := range owners {
					if has != owner && same(has, owner) {
						_, _ = p.ReleaseAll(ctx, has)
					}
				}
				return n, err
			},
		}
	}
}
