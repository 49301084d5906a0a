package lockingtest

import (
	"fmt"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

const whyForced = "stuck since \xff noon"

// force takes a key from its holder, and expects the given answer.
func (r *rig) force(want bool, req driver.ForceRequest) {
	r.Helper()
	if got, err := r.p.inspector().ForceRelease(r.ctx, req); err != nil || got != want {
		r.Errorf("ForceRelease(%+v): %t, %v, want %t", req, got, err, want)
	}
}

func against(h driver.Hold) driver.ForceRequest {
	return driver.ForceRequest{Key: h.Key, Owner: h.Owner, Token: h.Token, Reason: whyForced}
}

func atOnceFrom(h driver.Hold) driver.ForceRequest {
	req := against(h)
	req.Now = true
	return req
}

// wantUnrevoked expects that a hold is as it was.
func (r *rig) wantUnrevoked(h driver.Hold) {
	r.Helper()
	if s := r.inspect(h.Key, 0); !s.Held || s.Revoked || s.Token != h.Token {
		r.Errorf("the state is %+v, want that of %+v", s, h)
	}
	if got := r.extend(forever, h); !got.Held || got.Revoked {
		r.Errorf("the hold is %+v, want it to stand", got)
	}
}

// wantRevoked expects that a hold's owner is told that it was taken by force.
func (r *rig) wantRevoked(h driver.Hold) {
	r.Helper()
	if got := r.extend(forever, h); got.Held || !got.Revoked {
		r.Errorf("the hold on %q is %+v, want it revoked", h.Key, got)
	}
}

func forceCases() []providerCase {
	return []providerCase{
		{
			name: "ForceComparesOwner",
			rule: "ForceRelease from an owner that has not the key answers false, and changes nothing",
			run: func(r *rig) {
				h := r.takeOne(ask("owner", "a"))
				other := h.Hold
				other.Owner = "other"
				r.force(false, against(other))
				r.force(false, atOnceFrom(other))
				r.wantUnrevoked(h.Hold)
			},
		},
		{
			name: "ForceComparesToken",
			rule: "ForceRelease with a token that is not the holder's, or none, answers false, and changes nothing",
			run: func(r *rig) {
				h := r.takeOne(ask("owner", "a"))
				for _, token := range []driver.Token{h.Token - 1, h.Token + 1, 0} {
					older := h.Hold
					older.Token = token
					r.force(false, against(older))
					r.force(false, atOnceFrom(older))
				}
				r.wantUnrevoked(h.Hold)
			},
		},
		{
			name: "ForceOfAFreeKey",
			rule: "ForceRelease of a key that was freed answers false, and the key stays free",
			run: func(r *rig) {
				h := r.takeOne(ask("owner", "a"))
				r.wantFreed(true, h.Hold)
				r.force(false, against(h.Hold))
				r.force(false, atOnceFrom(h.Hold))
				r.wantFree("a")
			},
		},
		{
			name: "ForceTakesOneKey",
			rule: "what else the holder has stays as it is",
			run: func(r *rig) {
				holds := r.take(ask("owner", "a", "b"))
				r.force(true, against(holds[0].Hold))
				r.wantUnrevoked(holds[1].Hold)
				if again := r.takeOne(ask("owner", "b")); !again.Joined {
					r.Errorf("the owner has not joined its other hold: %+v", again)
				}
			},
		},
		{
			name: "ForceTellsTheHolder",
			rule: "who holds a key that was taken by force is told so when it extends it: revoked, and not held",
			run: func(r *rig) {
				h := r.takeOne(ask("owner", "a"))
				r.force(true, against(h.Hold))
				r.wantRevoked(h.Hold)
			},
		},
		{
			name: "ForceIsAnEvent",
			rule: "the process of a holder is told at once that its key was taken by force, by whom it was, and why",
			run: func(r *rig) {
				h := r.takeOne(generation(ask("owner", "a"), 3, 4))
				r.force(true, against(h.Hold))
				r.wantRevocation(r.p, h.Hold)
			},
		},
		{
			name:   "ForceIsAnEventElsewhere",
			rule:   "the event of a key that was taken by force goes to the process that has it, and to no other",
			shared: true,
			run: func(r *rig) {
				other := r.another()
				h := r.takeAt(other, ask("owner", "a"))[0]
				r.force(true, against(h.Hold))
				r.wantRevocation(other, h.Hold)
				if list := r.p.news.list(); len(list) > 0 {
					r.Errorf("the other process was told %+v, want nothing", list)
				}
			},
		},
		{
			name: "ForceNowIsAnEvent",
			rule: "the process of a holder is told also when its key goes on at once",
			run: func(r *rig) {
				h := r.takeOne(ask("owner", "a"))
				r.force(true, atOnceFrom(h.Hold))
				r.wantRevocation(r.p, h.Hold)
			},
		},
		{
			name: "ForceIsInspected",
			rule: "a key that was taken by force is still its holder's, revoked, for the reason that was given",
			run: func(r *rig) {
				h := r.takeOne(ask("owner", "a"))
				r.force(true, against(h.Hold))
				if s := r.inspect("a", 0); !s.Held || s.Owner != "owner" || s.Token != h.Token || !s.Revoked || s.Reason != whyForced {
					r.Errorf("the state is %+v, want the hold revoked for %q", s, whyForced)
				}
			},
		},
		{
			name: "ForceNowHandsOver",
			rule: "with Now the key goes at once to who is next, and the old hold can free and extend nothing",
			run: func(r *rig) {
				h := r.takeOne(ask("owner", "a"))
				c := r.line(ask("waiter", "a"))
				r.force(true, atOnceFrom(h.Hold))
				c.wantGrant()
				if got := r.extend(forever, h.Hold); got.Held {
					r.Errorf("the old hold is %+v, want it lost", got)
				}
				r.wantFreed(false, h.Hold)
				r.wantHeld("waiter", "a")
			},
		},
		{
			name:  "ForceTakesAnOffer",
			rule:  "an offer that was taken by force cannot be claimed, and goes to who is next",
			queue: true,
			run: func(r *rig) {
				t := ticket("t", ask("owner", "a"))
				offer := r.offered(t)[0]
				c := r.line(ask("waiter", "a"))
				r.force(true, atOnceFrom(offer.Hold))
				c.wantGrant()
				r.wantNoOffer(t)
				r.wantHeld("waiter", "a")
			},
		},
	}
}

// wantRevocation expects the event that a hold was taken by force.
func (r *rig) wantRevocation(p *noted, h driver.Hold) {
	r.Helper()
	e := r.wantEvent(p, fmt.Sprintf("the hold on %q was taken by force", h.Key), func(e driver.Event) bool {
		return e.Ticket == "" && e.Revoked.Key == h.Key
	})
	if e.Revoked != h || e.Reason != whyForced {
		r.Errorf("the event is %+v, want the hold %+v and the reason %q", e, h, whyForced)
	}
}

// revokedCases are about what becomes of a key that was taken by force.
func revokedCases() []providerCase {
	return []providerCase{
		{
			name: "RevokedIsKept",
			rule: "a key that was taken by force is kept from others until the holder has released it, and then goes to who is next",
			run: func(r *rig) {
				h := r.takeOne(ask("owner", "a"))
				c := r.line(ask("waiter", "a"))
				r.force(true, against(h.Hold))
				c.wantBlocked()
				r.wantHeld("owner", "a")
				r.wantFreed(true, h.Hold)
				c.wantGrant()
			},
		},
		{
			name: "RevokedLapses",
			rule: "a key that was taken by force goes on when its lease has lapsed, which cannot be extended any more",
			run: func(r *rig) {
				h := r.takeOne(lasting(ask("owner", "a"), 4*moment)) // it is to be taken from its owner before
				c := r.line(ask("waiter", "a"))
				r.force(true, against(h.Hold))
				r.wantRevoked(h.Hold)
				c.wantGrant()
				if early := h.Until.Sub(c.ended); early > 0 {
					r.Errorf("the waiter had the key %s before the lease could have lapsed", early)
				}
			},
		},
		{
			name: "RevokedOwnerDoesNotJoin",
			rule: "the owner of a key that was taken by force gets ErrRevoked when it asks again, in its generation or a later one",
			run: func(r *rig) {
				h := r.takeOne(generation(ask("owner", "a"), 1, 1))
				r.force(true, against(h.Hold))
				r.refuse(generation(ask("owner", "a"), 1, 1), driver.ErrRevoked)
				r.refuse(generation(ask("owner", "a", "b"), 2, 1), driver.ErrRevoked)
				r.wantFree("b")
			},
		},
		{
			name: "RevokedWaiterEnds",
			rule: "an owner that waits for a key beside one which is taken from it by force gets ErrRevoked",
			run: func(r *rig) {
				r.take(ask("holder", "b"))
				h := r.takeOne(ask("owner", "a"))
				c := r.line(ask("owner", "a", "b"))
				r.force(true, against(h.Hold))
				c.wantError(driver.ErrRevoked)
			},
		},
		{
			name: "RevokedAgain",
			rule: "a key that was taken by force can be taken again, at once",
			run: func(r *rig) {
				h := r.takeOne(ask("owner", "a"))
				c := r.line(ask("waiter", "a"))
				r.force(true, against(h.Hold))
				c.wantBlocked()
				r.force(true, atOnceFrom(h.Hold))
				c.wantGrant()
			},
		},
		{
			name: "RevokedAreReleasedTogether",
			rule: "ReleaseAll frees what was taken from its owner by force",
			run: func(r *rig) {
				h := r.takeOne(ask("owner", "a"))
				r.force(true, against(h.Hold))
				r.wantReleasedAll(1, "owner")
				r.wantFree("a")
			},
		},
		{
			name: "AfterForceTheKeyIsFresh",
			rule: "who has a key after it was taken by force has a higher token, and its owner may have it again",
			run: func(r *rig) {
				h := r.takeOne(ask("owner", "a"))
				r.force(true, against(h.Hold))
				r.wantFreed(true, h.Hold)
				last := h.Token
				again := r.takeOne(ask("owner", "a"))
				r.wantRise(&last, again.Token)
				r.wantUnrevoked(again.Hold)
			},
		},
	}
}

func auditCases() []providerCase {
	return []providerCase{
		{
			name: "AuditRecordsForce",
			rule: "of each key that was taken by force there is a record with key, owner, token, reason and time, the newest first",
			run: func(r *rig) {
				first, second := r.takeOne(ask("one", "a")), r.takeOne(ask("two", "b\xff"))
				r.force(true, against(first.Hold))
				r.force(true, atOnceFrom(second.Hold))
				list := r.audit(10)
				r.wantRecords(list, atOnceFrom(second.Hold), against(first.Hold))
				for _, rec := range list {
					if time.Since(rec.At).Abs() > clocksApart {
						r.Errorf("the record says %v, want the time of the call", rec.At)
					}
				}
			},
		},
		{
			name: "AuditIsLimited",
			rule: "at most as many records are told as were asked for, the newest",
			run: func(r *rig) {
				var last driver.Hold
				for i := range 4 {
					last = r.takeOne(ask("owner", fmt.Sprintf("key-%d", i))).Hold
					r.force(true, atOnceFrom(last))
				}
				r.wantRecords(r.audit(1), atOnceFrom(last))
			},
		},
		{
			name: "AuditOfWhatWasRefused",
			rule: "a ForceRelease that changed nothing leaves no record",
			run: func(r *rig) {
				h := r.takeOne(ask("owner", "a"))
				h.Token++
				r.force(false, against(h.Hold))
				r.wantRecords(r.audit(10))
			},
		},
	}
}

func (r *rig) audit(limit int) []driver.AuditRecord {
	r.Helper()
	list, err := r.p.inspector().Audit(r.ctx, limit)
	if err != nil {
		r.Fatalf("Audit(%d): %v", limit, err)
	}
	return list
}

func (r *rig) wantRecords(got []driver.AuditRecord, want ...driver.ForceRequest) {
	r.Helper()
	if len(got) != len(want) {
		r.Fatalf("the records are %+v, want %+v", got, want)
	}
	for i := range want {
		if got[i].ForceRequest != want[i] {
			r.Errorf("record %d is %+v, want %+v", i, got[i].ForceRequest, want[i])
		}
	}
}
