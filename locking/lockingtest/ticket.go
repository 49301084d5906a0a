package lockingtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// Enqueue notes the ticket.
func (n *noted) Enqueue(ctx context.Context, t driver.Ticket) (driver.Place, error) {
	n.ledger.ticket(t)
	place, err := n.queuer().Enqueue(ctx, t)
	n.ledger.grant(place.Grant)
	return place, err
}

// Claim notes what is granted.
func (n *noted) Claim(ctx context.Context, t driver.Ticket) (driver.Grant, error) {
	grant, err := n.queuer().Claim(ctx, t)
	n.ledger.grant(grant)
	return grant, err
}

// Cancel passes the call on.
func (n *noted) Cancel(ctx context.Context, t driver.Ticket) (bool, error) {
	return n.queuer().Cancel(ctx, t)
}

func ticket(id string, req driver.Request) driver.Ticket {
	req.Wait = 0
	return driver.Ticket{ID: id, Request: req}
}

// park expects a ticket to wait.
func (r *rig) park(t driver.Ticket) { r.Helper(); r.parkAt(r.p, t) }

func (r *rig) parkAt(p *noted, t driver.Ticket) {
	r.Helper()
	place, err := p.Enqueue(r.ctx, t)
	if err != nil || place.Offered {
		r.Fatalf("Enqueue(%.40q, %s): %v, %+v, want it to wait", t.ID, describe(t.Request), err, place)
	}
}

// offered expects a ticket to be offered its keys at once.
func (r *rig) offered(t driver.Ticket) []driver.Granted {
	r.Helper()
	place, err := r.p.Enqueue(r.ctx, t)
	if err != nil || !place.Offered || len(place.Grant.Holds) != len(t.Keys) {
		r.Fatalf("Enqueue(%.40q, %s): %v, %+v, want an offer of its keys", t.ID, describe(t.Request), err, place)
	}
	return place.Grant.Holds
}

// told expects the event that a ticket is offered its keys.
func (r *rig) told(t driver.Ticket) []driver.Granted { r.Helper(); return r.toldAt(r.p, t) }

func (r *rig) toldAt(p *noted, t driver.Ticket) []driver.Granted {
	r.Helper()
	e := r.wantEvent(p, fmt.Sprintf("an offer to the ticket %.40q", t.ID), func(e driver.Event) bool {
		return e.Ticket == t.ID && e.Err == nil
	})
	if len(e.Grant.Holds) != len(t.Keys) {
		r.Fatalf("the event is %+v, want an offer of %q", e, t.Keys)
	}
	return e.Grant.Holds
}

// wantUntold expects that no event has come for a ticket by now, and for a while.
func (r *rig) wantUntold(t driver.Ticket) {
	r.Helper()
	for until := time.Now().Add(blockedFor); ; time.Sleep(pollInterval) {
		if e, ok := r.p.news.find(func(e driver.Event) bool { return e.Ticket == t.ID }); ok {
			r.Fatalf("there is an event for the ticket %.40q: %+v, want none", t.ID, e)
		}
		if time.Now().After(until) {
			return
		}
	}
}

// ended expects the event that a ticket has ended for a reason.
func (r *rig) ended(t driver.Ticket, reason error) {
	r.Helper()
	r.wantEvent(r.p, fmt.Sprintf("the end of the ticket %.40q with %v", t.ID, reason), func(e driver.Event) bool {
		return e.Ticket == t.ID && errors.Is(e.Err, reason)
	})
	r.wantCancel(false, t)
}

func (r *rig) claim(t driver.Ticket) []driver.Granted {
	r.Helper()
	grant, err := r.p.Claim(r.ctx, t)
	if err != nil || len(grant.Holds) != len(t.Keys) {
		r.Fatalf("Claim(%.40q, %s): %s, want a grant", t.ID, describe(t.Request), outcome(grant, err))
	}
	return grant.Holds
}

func (r *rig) wantNoOffer(t driver.Ticket) {
	r.Helper()
	if grant, err := r.p.Claim(r.ctx, t); !errors.Is(err, driver.ErrNoOffer) {
		r.Errorf("Claim(%.40q): %s, want %v", t.ID, outcome(grant, err), driver.ErrNoOffer)
	}
}

func (r *rig) wantCancel(want bool, t driver.Ticket) {
	r.Helper()
	if got, err := r.p.Cancel(r.ctx, t); err != nil || got != want {
		r.Errorf("Cancel(%.40q): %t, %v, want %t", t.ID, got, err, want)
	}
}

func ticketCases() []providerCase {
	cases := slices.Concat(enqueueCases(), claimCases(), cancelCases(), placeCases(), ticketEndCases(), takeUpCases())
	for i := range cases {
		cases[i].queue = true
	}
	return cases
}

func enqueueCases() []providerCase {
	return []providerCase{
		{
			name: "FreeKeysAreOffered",
			rule: "a ticket for free keys is answered with an offer: a hold for each key in its order, which excludes others",
			run:  freeKeysAreOffered,
		},
		{
			name: "TicketWaits",
			rule: "a ticket for a busy key waits, and its process is told of the grant after the release, not before",
			run: func(r *rig) {
				h := r.takeOne(ask("holder", "a"))
				t := ticket("t", generation(ask("owner", "a", "b"), 1, 2))
				r.park(t)
				r.wantUntold(t)
				r.wantFreed(true, h.Hold)
				for i, h := range r.told(t) {
					if want := (driver.Hold{Key: t.Keys[i], Owner: "owner", Generation: t.Generation, Token: h.Token}); h.Hold != want || h.Token == 0 {
						r.Errorf("hold %d is %+v, want %+v with a token", i, h.Hold, want)
					}
				}
				r.wantHeld("owner", "a", "b")
			},
		},
		{
			name: "TicketWaitsAtWhatAWaiterIsFirst",
			rule: "a ticket for a free key that another waits for is no offer",
			run: func(r *rig) {
				r.take(ask("holder", "b"))
				r.line(ask("waiter", "a", "b"))
				r.park(ticket("t", ask("owner", "a")))
			},
		},
		{
			name: "TicketIgnoresItsWait",
			rule: "a ticket waits until it is cancelled, however short its request wants to wait",
			run: func(r *rig) {
				h := r.takeOne(ask("holder", "a"))
				none, short := ticket("none", ask("none", "a")), ticket("short", ask("short", "a"))
				none.Wait, short.Wait = driver.NoWait, time.Millisecond
				r.park(none)
				r.park(short)
				r.wantUntold(short)
				r.wantFreed(true, h.Hold)
				r.told(none)
				r.wantCancel(true, none)
				r.told(short)
			},
		},
		{
			name: "EnqueueKeepsThePlace",
			rule: "a ticket that is enqueued again keeps its place",
			run: func(r *rig) {
				h := r.takeOne(ask("holder", "a"))
				first, second := ticket("first", ask("first", "a")), ticket("second", ask("second", "a"))
				r.park(first)
				r.park(second)
				r.park(first)
				r.wantFreed(true, h.Hold)
				r.told(first)
				r.wantUntold(second)
			},
		},
		{
			name: "EnqueueRepeatsTheOffer",
			rule: "a ticket that has an offer is answered with it when it is enqueued again",
			run: func(r *rig) {
				t := ticket("t", ask("owner", "a", "b"))
				before, after := r.offered(t), r.offered(t)
				for i := range after {
					if after[i].Hold != before[i].Hold {
						r.Errorf("hold %d is %+v, want %+v as before", i, after[i].Hold, before[i].Hold)
					}
				}
			},
		},
		{
			name: "TicketJoins",
			rule: "a ticket joins what its owner holds, and is offered the rest",
			run: func(r *rig) {
				before := r.takeOne(ask("owner", "a"))
				holds := r.offered(ticket("t", ask("owner", "a", "b")))
				if !holds[0].Joined || holds[0].Token != before.Token || holds[1].Joined {
					r.Errorf("the offer is %+v, want the first joined with token %d, the second not", holds, before.Token)
				}
			},
		},
		{
			name: "AnyBytesMakeATicket",
			rule: "a ticket's id may hold any bytes, and two that differ at all are two tickets",
			run:  anyBytesMakeATicket,
		},
		{
			name: "EventsComeOneByOne",
			rule: "events come one after the other",
			run:  eventsComeOneByOne,
		},
		{
			name: "NoTicketsAfterClose",
			rule: "before Start and after Close calls about tickets get ErrClosed",
			run: func(r *rig) {
				p := r.another()
				r.closeIt(p)
				r.wantNoTickets(p.queuer())
				fresh, _ := r.subject.New(r.TB).(driver.Queuer)
				r.Cleanup(func() { _ = fresh.Close(r.ctx) })
				r.wantNoTickets(fresh)
			},
		},
	}
}

func freeKeysAreOffered(r *rig) {
	t := ticket("t", generation(ask("owner", "a", "b"), 3, 4))
	for i, h := range r.offered(t) {
		want := driver.Hold{Key: t.Keys[i], Owner: "owner", Generation: t.Generation, Token: h.Token}
		if h.Hold != want || h.Token == 0 || h.Joined || !h.Offer || h.Until.IsZero() {
			r.Errorf("hold %d is %+v, want an offer of %+v with a token and an end", i, h, want)
		}
	}
	r.wantHeld("owner", "a", "b")
}

func anyBytesMakeATicket(r *rig) {
	h := r.takeOne(ask("holder", "a"))
	var tickets []driver.Ticket
	for i, id := range oddNames() {
		tickets = append(tickets, ticket(id, ask(fmt.Sprintf("owner-%d", i), "a")))
		r.park(tickets[i])
	}
	r.wantFreed(true, h.Hold)
	for i, t := range tickets {
		if got := r.told(t)[0]; got.Owner != fmt.Sprintf("owner-%d", i) {
			r.Errorf("the ticket %q was offered %+v, want owner-%d", t.ID, got.Hold, i)
		}
		r.wantFreed(true, r.claim(t)[0].Hold)
	}
	r.wantFree("a")
}

func eventsComeOneByOne(r *rig) {
	const n = 12
	keys := make([]string, n)
	tickets := make([]driver.Ticket, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("key-%02d", i)
		tickets[i] = ticket(keys[i], ask("owner-"+keys[i], keys[i]))
	}
	r.take(ask("holder", keys...))
	for _, t := range tickets {
		r.park(t)
	}
	r.wantReleasedAll(n, "holder")
	for _, t := range tickets {
		r.told(t)
	}
	r.p.news.mu.Lock()
	defer r.p.news.mu.Unlock()
	if r.p.news.overlap {
		r.Errorf("Notify was called while it had not returned from the call before")
	}
}

func (r *rig) wantNoTickets(q driver.Queuer) {
	r.Helper()
	t := ticket("t", ask("owner", "a"))
	_, enqueue := q.Enqueue(r.ctx, t)
	_, claim := q.Claim(r.ctx, t)
	_, cancel := q.Cancel(r.ctx, t)
	for what, err := range map[string]error{"Enqueue": enqueue, "Claim": claim, "Cancel": cancel} {
		if !errors.Is(err, driver.ErrClosed) {
			r.Errorf("%s: %v, want %v", what, err, driver.ErrClosed)
		}
	}
}
