package lockingtest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

func ticketMutants() []mutant {
	return []mutant{
		{
			name:  "an offer to a ticket is a full hold",
			cases: []string{"FreeKeysAreOffered"},
			wrap: placesAs(func(place *driver.Place) {
				for i := range place.Grant.Holds {
					place.Grant.Holds[i].Offer = false
				}
			}),
		},
		{
			name:  "an offer has only the first key",
			cases: []string{"FreeKeysAreOffered", "TicketJoins", "EnqueueRepeatsTheOffer", "CancelFreesTheOffer"},
			wrap:  enqueueAs(func(_ full, t *driver.Ticket) { t.Keys = t.Keys[:1] }),
		},
		{
			name: "events do not come",
			cases: []string{
				"TicketWaits", "TicketIgnoresItsWait", "EnqueueKeepsThePlace", "EventsComeOneByOne", "ClaimAfterTheWait", "ClaimTooEarly",
				"TicketIsGivenUp", "TicketIsRevoked", "TicketsAndCallsAreOneQueue", "TicketsHaveRanks", "TicketWaitsForAll",
				"ForceIsAnEvent", "ForceIsAnEventElsewhere", "ForceNowIsAnEvent", "ForceFollowsTheTicket",
			},
			wrap: eventsAs(func(func(driver.Event), driver.Event) {}),
		},
		{
			name:  "events come too early",
			cases: []string{"TicketWaits", "TicketIgnoresItsWait", "EnqueueKeepsThePlace", "TicketMovesToWhoEnqueues"},
			wrap:  tellingEarly,
		},
		{
			name:  "events come all at once",
			cases: []string{"EventsComeOneByOne"},
			wrap: eventsAs(func(tell func(driver.Event), e driver.Event) {
				for range 8 {
					go tell(e)
				}
			}),
		},
		{
			name:  "tickets go first",
			cases: []string{"TicketWaitsAtWhatAWaiterIsFirst", "TicketsAndCallsAreOneQueue", "TicketsHaveRanks"},
			wrap:  enqueueAs(func(_ full, t *driver.Ticket) { t.Rank = driver.Compensation }),
		},
		{
			name:  "calls go before tickets",
			cases: []string{"TicketsAndCallsAreOneQueue", "TicketsHaveRanks", "TicketWaitsForAll", "CancelLeavesTheQueue"},
			wrap:  requests(func(r *driver.Request) { r.Rank = driver.Compensation }),
		},
		{
			name:  "tickets wait as long as they say",
			cases: []string{"TicketIgnoresItsWait"},
			wrap: enqueueAs(func(p full, t *driver.Ticket) {
				if t.Wait != 0 {
					again := *t
					time.AfterFunc(t.Wait, func() { _, _ = p.Cancel(context.Background(), again) })
				}
			}),
		},
		{
			name: "a ticket that comes again is new",
			cases: []string{
				"EnqueueKeepsThePlace", "EnqueueRepeatsTheOffer", "TicketIsTakenUp", "TicketMovesToWhoEnqueues",
			},
			wrap: enqueueAs(func(p full, t *driver.Ticket) { _, _ = p.Cancel(context.Background(), *t) }),
		},
		{
			name:  "what a ticket joins seems fresh",
			cases: []string{"TicketJoins"},
			wrap: placesAs(func(place *driver.Place) {
				for i := range place.Grant.Holds {
					place.Grant.Holds[i].Joined = false
				}
			}),
		},
		{
			name:  "ids of tickets lose what follows a NUL",
			cases: []string{"AnyBytesMakeATicket"},
			wrap:  enqueueAs(func(_ full, t *driver.Ticket) { t.ID, _, _ = strings.Cut(t.ID, "\x00") }),
		},
		{
			name:  "ids of tickets are valid UTF-8",
			cases: []string{"AnyBytesMakeATicket", "InspectTickets"},
			wrap:  enqueueAs(func(_ full, t *driver.Ticket) { t.ID = strings.ToValidUTF8(t.ID, "\ufffd") }),
		},
		{
			name:  "a closed provider has no offers",
			cases: []string{"NoTicketsAfterClose"},
			wrap: claimErrorAs(func(_ full, _ driver.Ticket, err error) (driver.Grant, error) {
				if errors.Is(err, driver.ErrClosed) {
					err = driver.ErrNoOffer
				}
				return driver.Grant{}, err
			}),
		},
	}
}

// placesAs changes what a ticket is answered.
func placesAs(f func(*driver.Place)) func(driver.Provider) driver.Provider {
	return func(p driver.Provider) driver.Provider {
		return &faulty{Provider: p, broken: broken{enqueue: func(ctx context.Context, t driver.Ticket) (driver.Place, error) {
			place, err := whole(p).Enqueue(ctx, t)
			f(&place)
			return place, err
		}}}
	}
}

// tellingEarly tells a ticket of its grant when it is parked.
func tellingEarly(p driver.Provider) driver.Provider {
	var tell func(driver.Event)
	return &faulty{Provider: p, broken: broken{
		start: func(ctx context.Context, env driver.Env) error {
			tell = env.Notify
			return p.Start(ctx, env)
		},
		enqueue: func(ctx context.Context, t driver.Ticket) (driver.Place, error) {
			place, err := whole(p).Enqueue(ctx, t)
			if err == nil && !place.Offered {
				tell(driver.Event{Ticket: t.ID, Grant: madeUp(t.Request)})
			}
			return place, err
		},
	}}
}

// claimErrorAs changes what a claim is answered that fails.
func claimErrorAs(f func(full, driver.Ticket, error) (driver.Grant, error)) func(driver.Provider) driver.Provider {
	return func(p driver.Provider) driver.Provider {
		return &faulty{Provider: p, broken: broken{claim: func(ctx context.Context, t driver.Ticket) (driver.Grant, error) {
			grant, err := whole(p).Claim(ctx, t)
			if err != nil {
				return f(whole(p), t, err)
			}
			return grant, nil
		}}}
	}
}

func claimMutants() []mutant {
	return []mutant{
		{
			name:  "a claim gives a quarter of the time",
			cases: []string{"ClaimGivesTheTimeAskedFor", "ClaimAfterTheWait"},
			wrap:  ticketsAs(func(t *driver.Ticket) { t.TTL /= 4 }),
		},
		{
			name:  "a claim gives more time",
			cases: []string{"ClaimGivesAShortTime"},
			wrap:  ticketsAs(func(t *driver.Ticket) { t.TTL *= 6 }),
		},
		{
			name:  "a claim without a time gives some",
			cases: []string{"ClaimGivesForGood"},
			wrap: ticketsAs(func(t *driver.Ticket) {
				if t.TTL == 0 {
					t.TTL = forever
				}
			}),
		},
		{
			name:  "a claim gives another token",
			cases: []string{"ClaimGivesTheTimeAskedFor", "ClaimAfterTheWait", "ClaimOfAJoinedHold"},
			wrap: func(p driver.Provider) driver.Provider {
				return &faulty{Provider: p, broken: broken{claim: func(ctx context.Context, t driver.Ticket) (driver.Grant, error) {
					grant, err := whole(p).Claim(ctx, t)
					for i := range grant.Holds {
						grant.Holds[i].Token++
					}
					return grant, err
				}}}
			},
		},
		{
			name:  "a claim too early ends the ticket",
			cases: []string{"ClaimTooEarly"},
			wrap: claimErrorAs(func(p full, t driver.Ticket, err error) (driver.Grant, error) {
				_, _ = p.Cancel(context.Background(), t)
				return driver.Grant{}, err
			}),
		},
		{
			name:  "a claim takes what there is",
			cases: []string{"ClaimOfTheUnknown", "ClaimIsRepeated"},
			wrap: claimErrorAs(func(p full, t driver.Ticket, _ error) (driver.Grant, error) {
				return p.Acquire(context.Background(), ask(t.Owner, t.Keys...))
			}),
		},
		{
			name:  "a second claim finds no offer",
			cases: []string{"ClaimIsRepeated"},
			wrap: func(p driver.Provider) driver.Provider {
				claimed := map[string]bool{}
				return &faulty{Provider: p, broken: broken{claim: func(ctx context.Context, t driver.Ticket) (driver.Grant, error) {
					if claimed[t.ID] {
						return driver.Grant{}, driver.ErrNoOffer
					}
					claimed[t.ID] = true
					return whole(p).Claim(ctx, t)
				}}}
			},
		},
		{
			name:  "Cancel only says so",
			cases: []string{"CancelFreesTheOffer", "CancelFreesTheClaimed", "CancelLeavesTheQueue", "CancelRacesTheOffer"},
			wrap: func(p driver.Provider) driver.Provider {
				return &faulty{Provider: p, broken: broken{cancel: func(context.Context, driver.Ticket) (bool, error) { return true, nil }}}
			},
		},
		{
			name: "Cancel always says yes",
			cases: []string{
				"CancelFreesTheOffer", "CancelFreesTheClaimed", "CancelOfNothing", "EnqueueClosesACircle", "EnqueueOfAnEarlierGeneration",
				"TicketIsGivenUp", "TicketIsRevoked",
			},
			wrap: cancelAs(func(full, driver.Ticket) bool { return true }),
		},
		{
			name:  "Cancel frees what the ticket joined",
			cases: []string{"CancelSparesTheJoined", "CancelOfNothing", "CancelSparesTheTakenOver"},
			wrap: cancelAs(func(p full, t driver.Ticket) bool {
				n, _ := p.ReleaseAll(context.Background(), t.Owner)
				return n > 0
			}),
		},
		{
			name:  "the circle of a ticket begins with another",
			cases: []string{"EnqueueClosesACircle"},
			wrap: func(p driver.Provider) driver.Provider {
				return &faulty{Provider: p, broken: broken{enqueue: func(ctx context.Context, t driver.Ticket) (driver.Place, error) {
					place, err := whole(p).Enqueue(ctx, t)
					return place, rotated(err)
				}}}
			},
		},
		{
			name:  "an earlier generation of a ticket waits",
			cases: []string{"EnqueueOfAnEarlierGeneration"},
			wrap: func(p driver.Provider) driver.Provider {
				return &faulty{Provider: p, broken: broken{enqueue: func(ctx context.Context, t driver.Ticket) (driver.Place, error) {
					place, err := whole(p).Enqueue(ctx, t)
					if errors.Is(err, driver.ErrRevoked) {
						err = nil
					}
					return place, err
				}}}
			},
		},
	}
}

// cancelAs says yes also for a reason of its own.
func cancelAs(f func(full, driver.Ticket) bool) func(driver.Provider) driver.Provider {
	return func(p driver.Provider) driver.Provider {
		return &faulty{Provider: p, broken: broken{cancel: func(ctx context.Context, t driver.Ticket) (bool, error) {
			found, err := whole(p).Cancel(ctx, t)
			return f(whole(p), t) || found, err
		}}}
	}
}

func placeMutants() []mutant {
	return []mutant{
		{
			name:  "a ticket that comes again is new",
			cases: []string{"LapsedTicketKeepsItsPlace", "TicketOutlivesItsProcess"},
			wrap:  enqueueAs(func(p full, t *driver.Ticket) { _, _ = p.Cancel(context.Background(), *t) }),
		},
		{
			name:  "a ticket keeps its first generation",
			cases: []string{"TicketIsTakenUp", "OfferIsTakenUp", "ClaimedTicketIsTakenUp"},
			wrap: func(p driver.Provider) driver.Provider {
				first := map[string]driver.Generation{}
				return ticketsAs(func(t *driver.Ticket) {
					if g, ok := first[t.ID]; ok {
						t.Generation = g
					}
					first[t.ID] = t.Generation
				})(p)
			},
		},
		{
			name:  "a ticket's owner is somebody else",
			cases: []string{"TicketPassesWhoWaitsForIt", "TicketJoins"},
			wrap:  enqueueAs(func(_ full, t *driver.Ticket) { t.Owner += "'" }),
		},
		{
			name:  "a ticket stays with its first process",
			cases: []string{"TicketMovesToWhoEnqueues"},
			wrap:  firstProcess(),
		},
		{
			name:  "a ticket is its own process's to claim",
			cases: []string{"TicketIsClaimedElsewhere"},
			wrap: func(p driver.Provider) driver.Provider {
				mine := map[string]bool{}
				return &faulty{Provider: p, broken: broken{
					enqueue: func(ctx context.Context, t driver.Ticket) (driver.Place, error) {
						mine[t.ID] = true
						return whole(p).Enqueue(ctx, t)
					},
					claim: func(ctx context.Context, t driver.Ticket) (driver.Grant, error) {
						if !mine[t.ID] {
							return driver.Grant{}, driver.ErrNoOffer
						}
						return whole(p).Claim(ctx, t)
					},
				}}
			},
		},
	}
}

// firstProcess leaves a ticket alone that is known. It is for one case at a time.
func firstProcess() func(driver.Provider) driver.Provider {
	var mu sync.Mutex
	known := map[string]bool{}
	return func(p driver.Provider) driver.Provider {
		return &faulty{Provider: p, broken: broken{enqueue: func(ctx context.Context, t driver.Ticket) (driver.Place, error) {
			mu.Lock()
			again := known[t.ID]
			known[t.ID] = true
			mu.Unlock()
			if again {
				return driver.Place{}, nil
			}
			return whole(p).Enqueue(ctx, t)
		}}}
	}
}
