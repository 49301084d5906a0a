package lockingtest

import (
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// offerCases are about grants that ended a wait. Where they are full holds from the
// beginning most of what is promised of an offer holds of them too.
func offerCases() []providerCase {
	return []providerCase{
		{
			name: "OfferBecomesAFullHold",
			rule: "what ended a wait can be extended to the expiry that was asked for, and keeps it",
			run: func(r *rig) {
				h := r.afterWait(lasting(ask("waiter", "a"), forever))
				got := r.extend(forever, h.Hold)
				if !got.Held || time.Until(got.Until) < forever/2 {
					r.Errorf("extended for %s the hold is %+v, want one that ends then", forever, got)
				}
				r.wantKept(h.Hold)
			},
		},
		{
			name: "OfferBecomesAHoldForGood",
			rule: "what ended a wait can be extended to a hold without expiry where none was asked for",
			run: func(r *rig) {
				h := r.afterWait(ask("waiter", "a"))
				if got := r.extend(0, h.Hold); !got.Held || !got.Until.IsZero() {
					r.Errorf("extended without a time the hold is %+v, want one that does not end", got)
				}
				r.wantKept(h.Hold)
			},
		},
		{
			name: "OfferTakesTheTimeItIsGiven",
			rule: "the extension of an offer counts, though the offer itself would have lasted longer",
			run: func(r *rig) {
				h := r.afterWait(lasting(ask("waiter", "a"), forever))
				r.needOffer(h)
				r.extend(moment, h.Hold)
				extended := time.Now()
				if seen := r.wantLapse("a"); seen.held.Sub(extended) > moment+late {
					r.Errorf("the lock was there %s after it was extended, want a life of %s", seen.held.Sub(extended), moment)
				}
			},
		},
		{
			name: "OfferIsReleased",
			rule: "what ended a wait can be released before it was extended, and goes to the next in line then",
			run: func(r *rig) {
				h := r.takeOne(ask("holder", "a"))
				first, second := r.line(ask("first", "a")), r.line(ask("second", "a"))
				r.wantFreed(true, h.Hold)
				offered := first.wantGrant()[0]
				r.wantFreed(true, offered.Hold)
				granted := second.wantGrant()[0]
				if offered.Offer && second.ended.After(offered.Until) {
					r.Errorf("the next in line had the key when the offer had lapsed, %s after it was granted", second.ended.Sub(first.ended))
				}
				r.wantFreed(true, granted.Hold)
				r.wantFree("a")
			},
		},
		{
			name: "ShortWaitedHoldLapsesInTime",
			rule: "what ended a wait lapses in the time that was asked for, where that is short",
			run: func(r *rig) {
				h := r.afterWait(lasting(ask("waiter", "a"), moment))
				granted := time.Now()
				if h.Until.IsZero() || h.Until.After(granted.Add(moment)) {
					r.Errorf("Until is %v, want at most %s from now", h.Until, moment)
				}
				if seen := r.wantLapse("a"); seen.held.Sub(granted) > moment+late {
					r.Errorf("the lock was there %s after it was granted, want a life of %s", seen.held.Sub(granted), moment)
				}
			},
		},
		{
			name: "LapsedOfferGoesOn",
			rule: "an offer that is neither extended nor released lapses, not before its Until, and goes to the next in line",
			run:  lapsedOfferGoesOn,
		},
	}
}

// afterWait expects the request to be granted after a wait.
func (r *rig) afterWait(req driver.Request) driver.Granted {
	r.Helper()
	h := r.takeOne(ask("before", req.Keys...))
	c := r.line(req)
	r.wantFreed(true, h.Hold)
	return c.wantGrant()[0]
}

func (r *rig) needOffer(h driver.Granted) {
	r.Helper()
	if !h.Offer {
		r.Skip("the provider makes no offers to requests that wait for them")
	}
}

// wantKept expects that a hold does not end soon: an extension can't shorten it.
func (r *rig) wantKept(h driver.Hold) {
	r.Helper()
	got := r.extend(instant, h)
	if !got.Held || (!got.Until.IsZero() && time.Until(got.Until) < forever/2) {
		r.Errorf("the hold on %q is now %+v, want it to last", h.Key, got)
	}
}

func lapsedOfferGoesOn(r *rig) {
	h := r.takeOne(ask("holder", "a"))
	first, second := r.line(ask("first", "a")), r.line(ask("second", "a"))
	r.wantFreed(true, h.Hold)
	offered := first.wantGrant()[0]
	r.needOffer(offered)
	wantMoment(r, offered.Until, first.began)
	second.wantGrant()
	if early := offered.Until.Sub(second.ended); early > 0 {
		r.Errorf("the next in line had the key %s before the offer's Until", early)
	}
	if got := r.extend(forever, offered.Hold); got.Held || got.Revoked {
		r.Errorf("the offer that has lapsed is %+v, want it lost", got)
	}
	r.wantHeld("second", "a")
}
