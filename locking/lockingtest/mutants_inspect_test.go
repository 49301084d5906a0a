package lockingtest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

func inspectMutants() []mutant {
	return slices.Concat(keyMutants(), queueLookMutants(), listMutants())
}

func keyMutants() []mutant {
	return []mutant{
		{"a free key is held", []string{"InspectFree", "InspectLapsed"}, statesAs(func(s *driver.State) { s.Held = true })},
		{"a state has another key", []string{"InspectFree", "InspectHeld"}, statesAs(func(s *driver.State) { s.Key += " " })},
		{"a state has no generation", []string{"InspectHeld"}, statesAs(func(s *driver.State) { s.Generation = driver.Generation{} })},
		{"a state has no beginning", []string{"InspectHeld"}, statesAs(func(s *driver.State) { s.Since = s.Since.AddDate(-1, 0, 0) })},
		{"nothing expires", []string{"InspectExpiry", "InspectOffer"}, statesAs(func(s *driver.State) { s.Expires = false })},
		{"time to live is in other units", []string{"InspectExpiry"}, statesAs(func(s *driver.State) { s.TTL /= 1000 })},
		{"an offer is a hold", []string{"InspectOffer"}, statesAs(func(s *driver.State) { s.Offer = false })},
		{"keys are looked into without blanks", []string{"InspectsAnyBytes"}, looking(strings.TrimSpace)},
		{
			name:  "a closed provider knows of nothing",
			cases: []string{"NoLooksAfterClose"},
			wrap: func(p driver.Provider) driver.Provider {
				return &faulty{Provider: p, broken: broken{audit: func(ctx context.Context, limit int) ([]driver.AuditRecord, error) {
					list, err := whole(p).Audit(ctx, limit)
					if errors.Is(err, driver.ErrClosed) {
						err = nil
					}
					return list, err
				}}}
			},
		},
	}
}

func looking(f func(string) string) func(driver.Provider) driver.Provider {
	return func(p driver.Provider) driver.Provider {
		return &faulty{Provider: p, broken: broken{inspect: func(ctx context.Context, key string, waiters int) (driver.State, error) {
			return whole(p).Inspect(ctx, f(key), waiters)
		}}}
	}
}

// waitersAs changes what is told of each waiter.
func waitersAs(f func(*driver.Waiter)) func(driver.Provider) driver.Provider {
	return statesAs(func(s *driver.State) {
		for i := range s.Waiters {
			f(&s.Waiters[i])
		}
	})
}

func queueLookMutants() []mutant {
	return []mutant{
		{"waiters in reverse", []string{"InspectWaiters", "InspectTickets"}, statesAs(func(s *driver.State) { slices.Reverse(s.Waiters) })},
		{"waiters have no rank", []string{"InspectWaiters"}, waitersAs(func(w *driver.Waiter) { w.Rank = driver.Forward })},
		{"waiters have one key", []string{"InspectWaiters"}, waitersAs(func(w *driver.Waiter) { w.Keys = w.Keys[:1] })},
		{"nobody is set aside", []string{"TicketOutlivesItsProcess"}, waitersAs(func(w *driver.Waiter) { w.Aside = false })},
		{"tickets have no id", []string{"InspectTickets"}, waitersAs(func(w *driver.Waiter) { w.Ticket = "" })},
		{"nobody has waited", []string{"InspectWaited"}, waitersAs(func(w *driver.Waiter) { w.Waited = 0 })},
		{
			name:  "those are counted who are told",
			cases: []string{"InspectAsManyAsAsked"},
			wrap: func(p driver.Provider) driver.Provider {
				return &faulty{Provider: p, broken: broken{inspect: func(ctx context.Context, key string, waiters int) (driver.State, error) {
					s, err := whole(p).Inspect(ctx, key, waiters)
					if waiters > 0 {
						s.Waiting = len(s.Waiters)
					}
					return s, err
				}}}
			},
		},
		{
			name:  "all waiters are told",
			cases: []string{"InspectAsManyAsAsked"},
			wrap: func(p driver.Provider) driver.Provider {
				return &faulty{Provider: p, broken: broken{inspect: func(ctx context.Context, key string, _ int) (driver.State, error) {
					return whole(p).Inspect(ctx, key, 100)
				}}}
			},
		},
		{
			name:  "who has waited is counted for ever",
			cases: []string{"InspectNoLongerWaiting"},
			wrap: func(p driver.Provider) driver.Provider {
				most := map[string]int{}
				return statesAs(func(s *driver.State) {
					most[s.Key] = max(most[s.Key], s.Waiting)
					s.Waiting = most[s.Key]
				})(p)
			},
		},
	}
}

// pagesAs changes pages.
func pagesAs(limit func(int) int, f func(*driver.Page)) func(driver.Provider) driver.Provider {
	return func(p driver.Provider) driver.Provider {
		return &faulty{Provider: p, broken: broken{list: func(ctx context.Context, req driver.ListRequest) (driver.Page, error) {
			req.Limit = limit(req.Limit)
			page, err := whole(p).List(ctx, req)
			f(&page)
			return page, err
		}}}
	}
}

func same(n int) int { return n }

func listMutants() []mutant {
	return []mutant{
		{
			name:  "listed locks have no token",
			cases: []string{"ListTellsWhatIsHeld"},
			wrap: pagesAs(same, func(page *driver.Page) {
				for i := range page.Locks {
					page.Locks[i].Token = 0
				}
			}),
		},
		{
			name:  "free keys are listed",
			cases: []string{"ListTellsWhatIsHeld", "ListSkipsLapsed"},
			wrap: pagesAs(same, func(page *driver.Page) {
				page.Locks = append(page.Locks, driver.State{Key: "c"})
			}),
		},
		{
			name:  "a page goes without its first lock",
			cases: []string{"ListInPages", "ListTellsWhatIsHeld"},
			wrap: pagesAs(same, func(page *driver.Page) {
				if len(page.Locks) > 0 {
					page.Locks = page.Locks[1:]
				}
			}),
		},
		{
			name:  "the first page is the last",
			cases: []string{"ListInPages", "ListIsLimited"},
			wrap:  pagesAs(same, func(page *driver.Page) { page.Next = "" }),
		},
		{
			name:  "all is on one page",
			cases: []string{"ListIsLimited"},
			wrap:  pagesAs(func(int) int { return 1 << 20 }, func(*driver.Page) {}),
		},
	}
}

func forceMutants() []mutant {
	return slices.Concat(forceCallMutants(), auditMutants())
}

func forceCallMutants() []mutant {
	return []mutant{
		{
			name:  "force goes without the owner",
			cases: []string{"ForceComparesOwner"},
			wrap:  forceAs(func(p full, req *driver.ForceRequest) { req.Owner = holderOf(p, req.Key) }),
		},
		{
			name:  "force goes without the token",
			cases: []string{"ForceComparesToken"},
			wrap: forceAs(func(p full, req *driver.ForceRequest) {
				if s, err := p.Inspect(context.Background(), req.Key, 0); err == nil {
					req.Token = s.Token
				}
			}),
		},
		{
			name: "force only says so",
			cases: []string{
				"ForceTellsTheHolder", "ForceIsAnEvent", "ForceIsInspected", "ForceNowHandsOver", "RevokedOwnerDoesNotJoin", "RevokedAgain",
				"ForceOfAFreeKey", "AuditRecordsForce", "RevokedWaiterEnds", "RevokedLapses",
			},
			wrap: func(p driver.Provider) driver.Provider {
				return &faulty{Provider: p, broken: broken{force: func(context.Context, driver.ForceRequest) (bool, error) { return true, nil }}}
			},
		},
		{
			name:  "force is always now",
			cases: []string{"RevokedIsKept", "RevokedLapses", "ForceTellsTheHolder", "ForceIsInspected", "RevokedAreReleasedTogether", "RevokedAgain"},
			wrap:  forceAs(func(_ full, req *driver.ForceRequest) { req.Now = true }),
		},
		{
			name:  "force is never now",
			cases: []string{"ForceNowHandsOver", "RevokedAgain", "ForceTakesAnOffer"},
			wrap:  forceAs(func(_ full, req *driver.ForceRequest) { req.Now = false }),
		},
		{
			name:  "the reason is lost",
			cases: []string{"ForceIsAnEvent", "ForceNowIsAnEvent", "ForceIsInspected", "AuditRecordsForce"},
			wrap:  forceAs(func(_ full, req *driver.ForceRequest) { req.Reason = "" }),
		},
		{
			name:  "who calls is told",
			cases: []string{"ForceIsAnEventElsewhere"},
			wrap: func(p driver.Provider) driver.Provider {
				var tell func(driver.Event)
				return &faulty{Provider: p, broken: broken{
					start: func(ctx context.Context, env driver.Env) error {
						tell = env.Notify
						return p.Start(ctx, env)
					},
					force: func(ctx context.Context, req driver.ForceRequest) (bool, error) {
						tell(driver.Event{Revoked: driver.Hold{Key: req.Key, Owner: req.Owner, Token: req.Token}, Reason: req.Reason})
						return whole(p).ForceRelease(ctx, req)
					},
				}}
			},
		},
		{
			name:  "what is revoked is forgotten by ReleaseAll",
			cases: []string{"RevokedAreReleasedTogether"},
			wrap: func(p driver.Provider) driver.Provider {
				return &faulty{Provider: p, releaseAll: func(context.Context, string) (int, error) { return 0, nil }}
			},
		},
		{
			name:  "an owner stays revoked",
			cases: []string{"AfterForceTheKeyIsFresh", "ForceTakesOneKey"},
			wrap:  stayingRevoked,
		},
	}
}

// stayingRevoked refuses an owner whose key was once taken by force.
func stayingRevoked(p driver.Provider) driver.Provider {
	var mu sync.Mutex
	taken := map[string]bool{}
	return &faulty{
		Provider: p,
		acquire: func(ctx context.Context, req driver.Request) (driver.Grant, error) {
			mu.Lock()
			revoked := taken[req.Owner]
			mu.Unlock()
			if revoked {
				return driver.Grant{}, driver.ErrRevoked
			}
			return p.Acquire(ctx, req)
		},
		broken: broken{force: func(ctx context.Context, req driver.ForceRequest) (bool, error) {
			mu.Lock()
			taken[req.Owner] = true
			mu.Unlock()
			return whole(p).ForceRelease(ctx, req)
		}},
	}
}

// recordsAs changes what is told of the records.
func recordsAs(limit func(int) int, f func([]driver.AuditRecord)) func(driver.Provider) driver.Provider {
	return func(p driver.Provider) driver.Provider {
		return &faulty{Provider: p, broken: broken{audit: func(ctx context.Context, n int) ([]driver.AuditRecord, error) {
			list, err := whole(p).Audit(ctx, limit(n))
			f(list)
			return list, err
		}}}
	}
}

func auditMutants() []mutant {
	return []mutant{
		{"records come oldest first", []string{"AuditRecordsForce"}, recordsAs(same, slices.Reverse[[]driver.AuditRecord])},
		{"all records are told", []string{"AuditIsLimited"}, recordsAs(func(int) int { return 100 }, func([]driver.AuditRecord) {})},
		{
			name:  "records have no time",
			cases: []string{"AuditRecordsForce"},
			wrap: recordsAs(same, func(list []driver.AuditRecord) {
				for i := range list {
					list[i].At = list[i].At.AddDate(-1, 0, 0)
				}
			}),
		},
		{
			name:  "what was refused is recorded",
			cases: []string{"AuditOfWhatWasRefused"},
			wrap: func(p driver.Provider) driver.Provider {
				var refused []driver.AuditRecord
				return &faulty{Provider: p, broken: broken{
					force: func(ctx context.Context, req driver.ForceRequest) (bool, error) {
						refused = append(refused, driver.AuditRecord{ForceRequest: req})
						return whole(p).ForceRelease(ctx, req)
					},
					audit: func(context.Context, int) ([]driver.AuditRecord, error) { return refused, nil },
				}}
			},
		},
	}
}
