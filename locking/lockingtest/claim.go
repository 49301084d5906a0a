package lockingtest

import "time"

func claimCases() []providerCase {
	return []providerCase{
		{
			name: "ClaimGivesTheTimeAskedFor",
			rule: "a claim makes an offer a full hold, with the TTL that the ticket asked for",
			run: func(r *rig) {
				t := ticket("t", lasting(ask("owner", "a"), forever))
				offer := r.offered(t)[0]
				h := r.claim(t)[0]
				if h.Hold != offer.Hold || h.Offer || time.Until(h.Until) < forever/2 {
					r.Errorf("claimed was %+v, want the full hold of %+v for %s", h, offer.Hold, forever)
				}
				r.wantKept(h.Hold)
			},
		},
		{
			name: "ClaimGivesForGood",
			rule: "a claim makes an offer a hold without expiry where the ticket asked for none",
			run: func(r *rig) {
				t := ticket("t", ask("owner", "a"))
				r.offered(t)
				h := r.claim(t)[0]
				if h.Offer || !h.Until.IsZero() {
					r.Errorf("claimed was %+v, want a full hold without an end", h)
				}
				r.wantKept(h.Hold)
			},
		},
		{
			name: "ClaimGivesAShortTime",
			rule: "a claim gives the TTL that the ticket asked for, though its offer would have lasted longer",
			run: func(r *rig) {
				t := ticket("t", lasting(ask("owner", "a"), moment))
				r.offered(t)
				r.claim(t)
				claimed := time.Now()
				if seen := r.wantLapse("a"); seen.held.Sub(claimed) > moment+late {
					r.Errorf("the lock was there %s after it was claimed, want a life of %s", seen.held.Sub(claimed), moment)
				}
			},
		},
		{
			name: "ClaimAfterTheWait",
			rule: "a ticket that has waited is claimed like one that found its keys free",
			run: func(r *rig) {
				h := r.takeOne(ask("holder", "a"))
				t := ticket("t", lasting(ask("owner", "a", "b"), forever))
				r.park(t)
				r.wantFreed(true, h.Hold)
				offers := r.told(t)
				for i, h := range r.claim(t) {
					if h.Hold != offers[i].Hold || h.Offer {
						r.Errorf("claimed was %+v, want the full hold of %+v", h, offers[i].Hold)
					}
					r.wantKept(h.Hold)
				}
			},
		},
		{
			name: "ClaimTooEarly",
			rule: "a claim of a ticket that waits gets ErrNoOffer, and it waits as before",
			run: func(r *rig) {
				h := r.takeOne(ask("holder", "a"))
				t := ticket("t", ask("owner", "a"))
				r.park(t)
				r.wantNoOffer(t)
				r.wantFreed(true, h.Hold)
				r.told(t)
				r.claim(t)
			},
		},
		{
			name: "ClaimOfTheUnknown",
			rule: "a claim of a ticket that was never enqueued gets ErrNoOffer, whatever its owner holds",
			run: func(r *rig) {
				r.take(ask("owner", "a"))
				r.wantNoOffer(ticket("t", ask("owner", "a")))
				r.wantNoOffer(ticket("t", ask("owner", "b")))
				r.wantFree("b")
			},
		},
		{
			name: "ClaimIsRepeated",
			rule: "a claim that is repeated is answered alike while the hold stands, and with ErrNoOffer afterwards",
			run: func(r *rig) {
				t := ticket("t", lasting(ask("owner", "a", "b"), forever))
				r.offered(t)
				before, after := r.claim(t), r.claim(t)
				for i := range after {
					if after[i].Hold != before[i].Hold || after[i].Offer {
						r.Errorf("hold %d of the second claim is %+v, want %+v as before", i, after[i], before[i])
					}
				}
				r.free(before[0].Hold, before[1].Hold)
				r.wantNoOffer(t)
			},
		},
		{
			name: "ClaimOfAJoinedHold",
			rule: "a claim of a ticket that joined its owner's hold leaves that one's token and expiry",
			run: func(r *rig) {
				before := r.takeOne(ask("owner", "a"))
				t := ticket("t", lasting(ask("owner", "a", "b"), forever))
				r.offered(t)
				h := r.claim(t)[0]
				if h.Token != before.Token || !h.Until.IsZero() {
					r.Errorf("claimed was %+v, want token %d and no end as before", h, before.Token)
				}
			},
		},
	}
}

func cancelCases() []providerCase {
	return []providerCase{
		{
			name: "CancelFreesTheOffer",
			rule: "Cancel frees what was offered to a ticket, for the next in line, and then has nothing to end",
			run: func(r *rig) {
				t := ticket("t", ask("owner", "a", "b"))
				r.offered(t)
				c := r.line(ask("waiter", "a"))
				r.wantCancel(true, t)
				c.wantGrant()
				r.wantFree("b")
				r.wantCancel(false, t)
			},
		},
		{
			name: "CancelFreesTheClaimed",
			rule: "Cancel frees what was claimed with a ticket, for the next in line, and then has nothing to end",
			run: func(r *rig) {
				t := ticket("t", ask("owner", "a", "b"))
				r.offered(t)
				r.claim(t)
				c := r.line(ask("waiter", "a"))
				r.wantCancel(true, t)
				c.wantGrant()
				r.wantFree("b")
				r.wantCancel(false, t)
			},
		},
		{
			name: "CancelLeavesTheQueue",
			rule: "Cancel takes a ticket that waits out of its queues at once",
			run: func(r *rig) {
				h := r.takeOne(ask("holder", "b"))
				t := ticket("t", ask("owner", "a", "b"))
				r.park(t)
				c := r.line(ask("waiter", "a"))
				r.wantCancel(true, t)
				c.wantGrant()
				r.wantFreed(true, h.Hold)
				r.wantFree("b")
				r.wantUntold(t)
			},
		},
		{
			name: "CancelRacesTheOffer",
			rule: "whichever of a release and the Cancel of the next ticket is first, nothing is left of the ticket",
			run: func(r *rig) {
				for i := range races / 2 {
					h := r.takeOne(ask("holder", "a"))
					t := ticket("t", ask("owner", "a", "b"))
					r.park(t)
					released := make(chan struct{})
					go func() {
						defer close(released)
						yield(i)
						r.wantFreed(true, h.Hold)
					}()
					r.wantCancel(true, t)
					<-released
					r.wantFree("a", "b")
				}
			},
		},
		{
			name: "CancelOfNothing",
			rule: "Cancel of an unknown ticket, or one whose hold was released, answers false",
			run: func(r *rig) {
				unknown, known := ticket("unknown", ask("owner", "a")), ticket("known", ask("owner", "a"))
				r.offered(known)
				r.wantFreed(true, r.claim(known)[0].Hold)
				r.wantCancel(false, known)
				r.take(ask("owner", "a"))
				r.wantCancel(false, unknown)
				r.wantCancel(false, known)
				r.wantHeld("owner", "a")
			},
		},
		{
			name: "CancelSparesTheJoined",
			rule: "Cancel does not free what the ticket's owner had before it",
			run: func(r *rig) {
				r.take(ask("owner", "a"))
				t := ticket("t", ask("owner", "a", "b"))
				r.offered(t)
				r.claim(t)
				r.wantCancel(true, t)
				r.wantHeld("owner", "a")
				r.wantFree("b")
			},
		},
		{
			name: "CancelSparesTheTakenOver",
			rule: "Cancel does not free what a later generation of the owner has taken over from the ticket",
			run: func(r *rig) {
				t := ticket("t", generation(ask("owner", "a"), 1, 1))
				r.offered(t)
				r.claim(t)
				r.take(generation(ask("owner", "a"), 1, 2))
				r.wantCancel(false, t)
				r.wantHeld("owner", "a")
			},
		},
	}
}
