package lockingtest

import (
	"errors"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

func reentryCases() []providerCase {
	return []providerCase{
		{
			name: "OwnerJoins",
			rule: "a named owner that asks again, in the same generation, gets the key at once and is told that it joined",
			run: func(r *rig) {
				r.take(ask("owner", "a"))
				if again := r.takeOne(ask("owner", "a")); !again.Joined {
					r.Errorf("the second hold has not joined: %+v", again)
				}
				r.wantHeld("owner", "a")
			},
		},
		{
			name: "JoinKeepsToken",
			rule: "who joins a hold gets its token",
			run: func(r *rig) {
				first := r.takeOne(generation(ask("owner", "a"), 1, 1))
				again := r.takeOne(generation(ask("owner", "a"), 1, 1))
				if again.Token != first.Token {
					r.Errorf("the token after the join is %d, want %d as before", again.Token, first.Token)
				}
			},
		},
		{
			name: "ReleaseEndsJoinedHolds",
			rule: "the provider keeps no count of joins: one release frees the key",
			run: func(r *rig) {
				r.take(ask("owner", "a"))
				again := r.takeOne(ask("owner", "a"))
				r.wantFreed(true, again.Hold)
				r.wantFree("a")
				r.wantFreed(false, again.Hold)
			},
		},
		{
			name: "ReleasedOwnerTakesAfresh",
			rule: "an owner that takes a key again after a release does not join",
			run: func(r *rig) {
				first := r.takeOne(ask("owner", "a"))
				r.wantFreed(true, first.Hold)
				if again := r.takeOne(ask("owner", "a")); again.Joined {
					r.Errorf("the hold has joined one that was freed: %+v", again)
				}
			},
		},
	}
}

func generationCases() []providerCase {
	return []providerCase{
		{
			name: "LaterGenerationTakesOver",
			rule: "a later generation of the owner gets the key at once, with a higher token, and has not joined",
			run:  laterGenerationTakesOver,
		},
		{
			name: "RevokedHoldFreesNothing",
			rule: "a hold that was taken over can't free the key",
			run: func(r *rig) {
				old := r.takeOne(generation(ask("owner", "a"), 1, 1))
				r.take(generation(ask("owner", "a"), 1, 2))
				r.wantFreed(false, old.Hold)
				r.wantHeld("owner", "a")
			},
		},
		{
			name: "RevokedHoldExtendsNothing",
			rule: "a hold that was taken over can't extend the lock, and is told that it is lost",
			run: func(r *rig) {
				old := r.takeOne(lasting(generation(ask("owner", "a"), 1, 1), moment))
				r.take(generation(ask("owner", "a"), 1, 2))
				if got := r.extend(forever, old.Hold); got.Held {
					r.Errorf("the revoked hold stands: %+v", got)
				}
				r.wantLapse("a")
			},
		},
		{
			name: "EarlierGenerationIsRevoked",
			rule: "an earlier generation of the owner is refused with ErrRevoked, without a wait",
			run: func(r *rig) {
				r.take(generation(ask("owner", "a"), 1, 2))
				r.refuse(generation(ask("owner", "a"), 1, 1), driver.ErrRevoked)
				c := r.start(waiting(ask("owner", "a"), caseBound*r.patience))
				if grant, err := c.wait(); !errors.Is(err, driver.ErrRevoked) {
					r.Errorf("Acquire(%s): %s, want %v", describe(c.req), outcome(grant, err), driver.ErrRevoked)
				}
			},
		},
		{
			name: "EarlierGenerationIsRevokedFirst",
			rule: "an earlier generation is refused with ErrRevoked, without a wait, though another of its keys is busy",
			run: func(r *rig) {
				r.take(ask("holder", "a"))
				r.take(generation(ask("owner", "b"), 1, 2))
				c := r.start(waiting(generation(ask("owner", "a", "b"), 1, 1), caseBound*r.patience))
				c.wantError(driver.ErrRevoked)
			},
		},
		{
			name: "EarlierGenerationChangesNothing",
			rule: "an earlier generation that is refused leaves the hold's token and expiry as they are",
			run: func(r *rig) {
				h := r.takeOne(lasting(generation(ask("owner", "a"), 1, 2), moment))
				r.refuse(lasting(generation(ask("owner", "a"), 1, 1), forever), driver.ErrRevoked)
				if got := r.extend(moment, h.Hold); !got.Held {
					r.Errorf("the hold is lost after the refusal: %+v", got)
				}
				r.wantLapse("a")
			},
		},
		{
			name: "EpochCountsBeforeAttempt",
			rule: "a first attempt in a later epoch is later than any attempt in an earlier one",
			run: func(r *rig) {
				r.take(generation(ask("owner", "a"), 1, 9))
				r.take(generation(ask("owner", "a"), 2, 1))
				r.refuse(generation(ask("owner", "a"), 1, 10), driver.ErrRevoked)
			},
		},
		{
			name: "TakeoverKeepsExpiry",
			rule: "a takeover, like any other request, never makes a lock end sooner",
			run:  takeoverKeepsExpiry,
		},
	}
}

func laterGenerationTakesOver(r *rig) {
	old := r.takeOne(generation(ask("owner", "a"), 1, 1))
	c := r.start(waiting(generation(ask("owner", "a"), 1, 2), caseBound*r.patience))
	h := c.wantGrant()[0]
	if h.Joined || h.Token <= old.Token {
		r.Errorf("after the takeover: joined %t, token %d; want not joined, a token above %d", h.Joined, h.Token, old.Token)
	}
	if want := (driver.Generation{Epoch: 1, Attempt: 2}); h.Generation != want {
		r.Errorf("the generation after the takeover is %v, want %v", h.Generation, want)
	}
	r.wantFreed(true, h.Hold)
	r.wantFree("a")
}

func takeoverKeepsExpiry(r *rig) {
	r.take(lasting(generation(ask("owner", "a"), 1, 1), forever))
	r.take(lasting(generation(ask("owner", "a"), 1, 2), instant))
	r.wantHeldUntil(time.Now().Add(4*instant), "owner", "a")
	r.take(lasting(generation(ask("owner", "b"), 1, 1), 4*moment)) // it is to be taken over before
	r.take(generation(ask("owner", "b"), 1, 2))
	r.wantLapse("b")
}
