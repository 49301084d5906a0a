package lockingtest

import (
	"errors"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// ticketEndCases are about tickets that end without a claim.
func ticketEndCases() []providerCase {
	return []providerCase{
		{
			name: "EnqueueClosesACircle",
			rule: "Enqueue returns a DeadlockError when the ticket closes a circle and is given up; the ticket is then gone",
			run: func(r *rig) {
				r.take(ask("left", "a"))
				r.take(ask("right", "b"))
				c := r.line(ask("left", "b"))
				t := ticket("t", ask("right", "a"))
				_, err := r.p.Enqueue(r.ctx, t)
				r.wantCircle(err, driver.Wait{Owner: "right", Key: "a", Holder: "left"}, driver.Wait{Owner: "left", Key: "b", Holder: "right"})
				r.wantCancel(false, t)
				c.wantBlocked()
			},
		},
		{
			name: "TicketIsGivenUp",
			rule: "a ticket that is the victim of a deadlock which another one closes ends with an event that says so",
			run: func(r *rig) {
				r.take(ask("young", "a"))
				r.take(ask("old", "b"))
				t := ticket("t", born(ask("young", "b"), 2000))
				r.park(t)
				c := r.start(waiting(born(ask("old", "a"), 1000), caseBound*r.patience))
				r.ended(t, driver.ErrDeadlock)
				r.wantFreed(true, driver.Hold{Key: "a", Owner: "young"})
				c.wantGrant()
			},
		},
		{
			name: "EnqueueOfAnEarlierGeneration",
			rule: "Enqueue returns ErrRevoked when a later generation of the owner has a key; the ticket is then gone",
			run: func(r *rig) {
				r.take(generation(ask("owner", "a"), 1, 2))
				t := ticket("t", generation(ask("owner", "a", "b"), 1, 1))
				if place, err := r.p.Enqueue(r.ctx, t); !errors.Is(err, driver.ErrRevoked) {
					r.Errorf("Enqueue: %v, %+v, want %v", err, place, driver.ErrRevoked)
				}
				r.wantCancel(false, t)
				r.wantFree("b")
			},
		},
		{
			name: "TicketIsRevoked",
			rule: "a ticket that waits in an earlier generation ends with an event when a later one of its owner is granted its key",
			run: func(r *rig) {
				r.take(generation(ask("owner", "a"), 1, 1))
				r.take(ask("holder", "b"))
				t := ticket("t", generation(ask("owner", "a", "b"), 1, 1))
				r.park(t)
				r.take(generation(ask("owner", "a"), 1, 2))
				r.ended(t, driver.ErrRevoked)
			},
		},
	}
}

// takeUpCases are about a process that goes on with a ticket of another one, in a
// later generation.
func takeUpCases() []providerCase {
	return []providerCase{
		{
			name: "TicketIsTakenUp",
			rule: "a ticket that is enqueued in a higher generation keeps its place, and is offered its keys in that one",
			run: func(r *rig) {
				h := r.takeOne(ask("holder", "a"))
				t := ticket("t", generation(ask("owner", "a"), 1, 1))
				behind := ticket("behind", ask("behind", "a"))
				r.park(t)
				r.park(behind)
				t.Generation = driver.Generation{Epoch: 2, Attempt: 1}
				r.park(t)
				r.wantFreed(true, h.Hold)
				if got := r.told(t)[0]; got.Generation != t.Generation {
					r.Errorf("offered was generation %v, want %v", got.Generation, t.Generation)
				}
				if got := r.claim(t)[0]; got.Generation != t.Generation {
					r.Errorf("claimed was generation %v, want %v", got.Generation, t.Generation)
				}
				r.wantUntold(behind)
			},
		},
		{
			name: "OfferIsTakenUp",
			rule: "a ticket with an offer that is enqueued in a higher generation is offered its keys in that one, and the earlier one has them no more",
			run: func(r *rig) {
				t := ticket("t", generation(ask("owner", "a"), 1, 1))
				r.offered(t)
				t.Generation = driver.Generation{Epoch: 2, Attempt: 1}
				r.offered(t)
				r.refuse(generation(ask("owner", "a"), 1, 1), driver.ErrRevoked)
				if got := r.claim(t)[0]; got.Generation != t.Generation {
					r.Errorf("claimed was generation %v, want %v", got.Generation, t.Generation)
				}
				r.refuse(generation(ask("owner", "a"), 1, 1), driver.ErrRevoked)
			},
		},
		{
			name: "ClaimedTicketIsTakenUp",
			rule: "a ticket that was claimed and is enqueued in a higher generation takes its own hold over",
			run: func(r *rig) {
				t := ticket("t", generation(ask("owner", "a"), 1, 1))
				r.offered(t)
				old := r.claim(t)[0]
				t.Generation = driver.Generation{Epoch: 2, Attempt: 1}
				r.offered(t)
				h := r.claim(t)[0]
				last := old.Token
				r.wantRise(&last, h.Token)
				r.wantFreed(false, old.Hold)
				r.wantKept(h.Hold)
			},
		},
		{
			name:   "ForceFollowsTheTicket",
			rule:   "what a process has claimed with a ticket of another one is its own: it is told when the key is taken by force",
			shared: true,
			look:   true,
			run: func(r *rig) {
				other := r.another()
				t := ticket("t", ask("owner", "a"))
				if place, err := other.Enqueue(r.ctx, t); err != nil || !place.Offered {
					r.Fatalf("Enqueue: %v, %+v, want an offer", err, place)
				}
				r.offered(t)
				h := r.claim(t)[0]
				r.force(true, against(h.Hold))
				r.wantRevocation(r.p, h.Hold)
			},
		},
	}
}
