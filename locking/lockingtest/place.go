package lockingtest

import (
	"slices"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// placeCases are about a ticket's place among others.
func placeCases() []providerCase {
	return []providerCase{
		{
			name: "TicketsAndCallsAreOneQueue",
			rule: "tickets and calls that block are served in the order in which they came",
			run: func(r *rig) {
				h := r.takeOne(ask("holder", "a"))
				one, three := ticket("one", ask("one", "a")), ticket("three", ask("three", "a"))
				r.park(one)
				two := r.line(ask("two", "a"))
				r.park(three)
				r.wantFreed(true, h.Hold)
				r.told(one)
				two.wantBlocked()
				r.wantFreed(true, r.claim(one)[0].Hold)
				two.wantGrant()
				r.wantUntold(three)
				two.giveBack()
				r.told(three)
			},
		},
		{
			name: "TicketsHaveRanks",
			rule: "a ticket that compensates goes before forward calls and tickets that came earlier",
			run: func(r *rig) {
				h := r.takeOne(ask("holder", "a"))
				forward, undo := ticket("forward", ask("forward", "a")), ticket("undo", compensating(ask("undo", "a")))
				r.park(forward)
				c := r.line(ask("call", "a"))
				r.park(undo)
				r.wantFreed(true, h.Hold)
				r.told(undo)
				r.wantUntold(forward)
				c.wantBlocked()
			},
		},
		{
			name: "TicketWaitsForAll",
			rule: "a ticket for several keys is not overtaken at one of them that is free",
			run: func(r *rig) {
				h := r.takeOne(ask("holder", "b"))
				t := ticket("t", ask("owner", "a", "b"))
				r.park(t)
				c := r.line(ask("waiter", "a"))
				r.wantFreed(true, h.Hold)
				r.told(t)
				c.wantBlocked()
			},
		},
		{
			name: "TicketPassesWhoWaitsForIt",
			rule: "a ticket passes one ahead that waits for what the ticket's owner holds",
			run: func(r *rig) {
				r.take(ask("holder", "k1"))
				r.line(compensating(ask("waiter", "k1", "k2")))
				r.offered(ticket("t", ask("holder", "k2")))
			},
		},
		{
			name: "LapsedTicketKeepsItsPlace",
			rule: "an offer that nobody claims lapses and the next in line is served, though the ticket asks first; it still stands before those that came after it",
			run:  lapsedTicketKeepsItsPlace,
		},
		{
			name:   "TicketMovesToWhoEnqueues",
			rule:   "a ticket that another process enqueues keeps its place, and its events go there",
			shared: true,
			run: func(r *rig) {
				other := r.another()
				h := r.takeOne(ask("holder", "a"))
				t, behind := ticket("t", ask("owner", "a")), ticket("behind", ask("behind", "a"))
				r.park(t)
				r.parkAt(other, behind)
				r.parkAt(other, t)
				r.wantFreed(true, h.Hold)
				r.toldAt(other, t)
				r.wantUntold(t)
			},
		},
		{
			name:   "TicketOutlivesItsProcess",
			rule:   "a ticket whose process has ended is passed over, and told of as set aside; it is back at its old place when another one enqueues it",
			shared: true,
			run:    ticketOutlivesItsProcess,
		},
		{
			name:   "TicketIsClaimedElsewhere",
			rule:   "what was offered to a ticket can be claimed and cancelled at any provider",
			shared: true,
			run: func(r *rig) {
				leaver := r.another()
				t, u := ticket("t", ask("owner", "a")), ticket("u", ask("owner", "b"))
				for _, each := range []driver.Ticket{t, u} {
					if place, err := leaver.Enqueue(r.ctx, each); err != nil || !place.Offered {
						r.Fatalf("Enqueue: %v, %+v, want an offer", err, place)
					}
				}
				r.closeIt(leaver)
				r.wantFreed(true, r.claim(t)[0].Hold)
				r.wantCancel(true, u)
				r.wantFree("a", "b")
			},
		},
		{
			name:   "CloseLeavesTheQueue",
			rule:   "a call that Close has ended stands in no queue",
			shared: true,
			run: func(r *rig) {
				leaver := r.another()
				r.take(ask("holder", "b"))
				gone := r.lineAt(leaver, ask("gone", "a", "b"))
				c := r.line(ask("waiter", "a"))
				r.closeIt(leaver)
				gone.wantError(driver.ErrClosed)
				c.wantGrant()
				if c.ended.Sub(gone.ended) > r.patience/2 {
					r.Errorf("the one behind had the key %s after Close", c.ended.Sub(gone.ended))
				}
			},
		},
	}
}

func lapsedTicketKeepsItsPlace(r *rig) {
	h := r.takeOne(ask("holder", "a"))
	t, last := ticket("t", ask("owner", "a")), ticket("last", ask("last", "a"))
	r.park(t)
	next := r.line(ask("next", "a"))
	r.park(last)
	r.wantFreed(true, h.Hold)
	offer := r.told(t)[0]
	if !offer.Offer || offer.Until.IsZero() {
		r.Fatalf("the ticket was given %+v, want an offer that ends", offer)
	}
	r.askUntilLapsed(t, offer)
	granted := next.wantGrant()[0]
	if early := offer.Until.Sub(next.ended); early > 0 {
		r.Errorf("the next in line had the key %s before the offer's Until", early)
	}
	r.wantNoOffer(t)
	r.park(t)
	r.wantFreed(true, granted.Hold)
	r.wantEvent(r.p, "another offer to the ticket", func(e driver.Event) bool {
		return e.Ticket == "t" && len(e.Grant.Holds) == 1 && e.Grant.Holds[0].Token > granted.Token
	})
	r.wantUntold(last)
	r.claim(t)
}

// askUntilLapsed enqueues a ticket again and again until its offer has lapsed.
func (r *rig) askUntilLapsed(t driver.Ticket, offer driver.Granted) {
	r.Helper()
	for asked := time.Now(); ; {
		place, err := r.p.Enqueue(r.ctx, t)
		switch {
		case err != nil:
			r.Fatalf("Enqueue(%.40q) of a ticket with an offer: %v", t.ID, err)
		case !place.Offered:
			return
		case len(place.Grant.Holds) != 1 || place.Grant.Holds[0].Token != offer.Token:
			r.Fatalf("the ticket is offered %+v after its offer %+v has lapsed, though others wait", place.Grant.Holds, offer.Hold)
		case time.Since(asked) > r.patience:
			r.Fatalf("after %s the offer %+v has not lapsed", time.Since(asked), offer)
		}
	}
}

func ticketOutlivesItsProcess(r *rig) {
	leaver := r.another()
	h := r.takeOne(ask("holder", "a"))
	t, last := ticket("t", ask("owner", "a")), ticket("last", ask("last", "a"))
	r.parkAt(leaver, t)
	next := r.line(ask("next", "a"))
	r.park(last)
	r.closeIt(leaver)
	r.wantFreed(true, h.Hold)
	granted := next.wantGrant()[0]
	r.wantAside(t)
	r.park(t)
	r.wantFreed(true, granted.Hold)
	r.told(t)
	r.wantUntold(last)
}

// wantAside expects that a ticket is told of as one that is passed over, where the
// provider can be looked into.
func (r *rig) wantAside(t driver.Ticket) {
	r.Helper()
	if r.p.inspector() == nil {
		return
	}
	s := r.inspect(t.Keys[0], 10)
	aside := slices.ContainsFunc(s.Waiters, func(w driver.Waiter) bool { return w.Ticket == t.ID && w.Aside })
	if !aside || s.Waiting != len(s.Waiters) {
		r.Errorf("the state is %+v, want the ticket %.40q among the waiters, and set aside", s, t.ID)
	}
}
