package lockingtest

import "time"

const (
	instant = 40 * time.Millisecond  // is over before anything else is looked at
	moment  = 400 * time.Millisecond // leaves time for a few calls
	forever = time.Hour

	// early is by how much a server's clock, which counts milliseconds, may end a
	// lock too soon.
	early = 5 * time.Millisecond
	// late is after how much time a lock that should have lapsed is overdue.
	late = moment
)

func expiryCases() []providerCase {
	return []providerCase{
		{
			name: "LapsesInTime",
			rule: "a lock lapses by itself when its TTL is over, to the millisecond: not before, and not in whole seconds",
			run:  lapsesInTime,
		},
		{
			name: "LapseWakesWaiter",
			rule: "who waits for a lock gets it when it lapses",
			run:  lapseWakesWaiter,
		},
		{
			name: "LapsedOwnerTakesAfresh",
			rule: "an owner whose lock has lapsed does not join it",
			run: func(r *rig) {
				r.take(lasting(ask("owner", "a"), instant))
				r.wantLapse("a")
				if again := r.takeOne(ask("owner", "a")); again.Joined || !again.Until.IsZero() {
					r.Errorf("after the lapse: joined %t, until %v; want a fresh hold without expiry", again.Joined, again.Until)
				}
			},
		},
		{
			name: "JoinWithoutTTLKeepsExpiry",
			rule: "who joins without a TTL leaves the expiry as it is",
			run:  joinWithoutTTLKeepsExpiry,
		},
		{
			name: "JoinWithLongerTTLExtends",
			rule: "who joins with a TTL that ends later extends the lock",
			run: func(r *rig) {
				r.take(lasting(ask("owner", "a"), moment))
				end := time.Now().Add(moment)
				again := r.takeOne(lasting(ask("owner", "a"), forever))
				if again.Until.Before(end.Add(forever / 2)) {
					r.Errorf("the joined hold says it may end in %s, want about %s", time.Until(again.Until), forever)
				}
				r.wantHeldUntil(end.Add(early), "owner", "a")
			},
		},
		{
			name: "JoinWithShorterTTLChangesNothing",
			rule: "who joins with a TTL that ends sooner does not shorten the lock",
			run: func(r *rig) {
				r.take(lasting(ask("owner", "a"), forever))
				again := r.takeOne(lasting(ask("owner", "a"), instant))
				if time.Until(again.Until) < forever/2 {
					r.Errorf("the joined hold says it may end in %s, want about %s", time.Until(again.Until), forever)
				}
				r.wantHeldUntil(time.Now().Add(4*instant), "owner", "a")
			},
		},
		{
			name: "NoExpiryStays",
			rule: "a hold without expiry stays without, also when its owner joins with a TTL",
			run: func(r *rig) {
				r.take(ask("owner", "a"))
				if again := r.takeOne(lasting(ask("owner", "a"), instant)); !again.Until.IsZero() {
					r.Errorf("the joined hold says it may end in %s, want no end", time.Until(again.Until))
				}
				r.wantHeldUntil(time.Now().Add(4*instant), "owner", "a")
			},
		},
		{
			name: "UntilIsZeroWithoutExpiry",
			rule: "Until is zero for a hold that does not expire",
			run: func(r *rig) {
				if h := r.takeOne(ask("owner", "a")); !h.Until.IsZero() {
					r.Errorf("Until is %v, want zero", h.Until)
				}
			},
		},
		{
			name: "UntilComesBeforeTheEnd",
			rule: "Until, on the monotonic clock, is a moment at which the lock has surely not lapsed",
			run:  untilComesBeforeTheEnd,
		},
	}
}

func lapsesInTime(r *rig) {
	sent := time.Now()
	r.take(lasting(ask("owner", "a"), moment))
	granted := time.Now()
	seen := r.wantLapse("a")
	if life := seen.free.Sub(sent); life < moment-early {
		r.Errorf("the lock was gone %s after it was asked for, want a life of %s", life, moment)
	}
	if life := seen.held.Sub(granted); life > moment+late {
		r.Errorf("the lock was there %s after it was granted, want a life of %s", life, moment)
	}
}

func lapseWakesWaiter(r *rig) {
	r.take(lasting(ask("holder", "a"), moment))
	c := r.start(waiting(ask("waiter", "a"), caseBound*r.patience))
	c.wantBlocked()
	c.wantGrant()
	if took := c.ended.Sub(c.began); took > moment+r.patience/2 {
		r.Errorf("the waiter had the lock after %s, want it when it lapsed, after %s", took, moment)
	}
}

func joinWithoutTTLKeepsExpiry(r *rig) {
	first := r.takeOne(lasting(ask("owner", "a"), moment))
	again := r.takeOne(ask("owner", "a"))
	if again.Until.IsZero() || again.Until.Sub(first.Until).Abs() > moment/2 {
		r.Errorf("the joined hold's Until is %v, want about %v as before", again.Until, first.Until)
	}
	r.wantLapse("a")
}

func untilComesBeforeTheEnd(r *rig) {
	sent := time.Now()
	h := r.takeOne(lasting(ask("owner", "a"), moment))
	wantMoment(r, h.Until, sent)
	extension := r.extend(2*moment, h.Hold)
	wantMoment(r, extension.Until, sent)
	if seen := r.wantLapse("a"); seen.free.Before(extension.Until) {
		r.Errorf("the lock was gone %s before Until", extension.Until.Sub(seen.free))
	}
}

// wantMoment expects a moment on the monotonic clock, in the future of another.
func wantMoment(r *rig, until, sent time.Time) {
	r.Helper()
	if until.Round(0) == until { //nolint:staticcheck // == sees the monotonic clock, Equal does not
		r.Errorf("Until is %v, want a moment on the monotonic clock", until)
	}
	if !until.After(sent) {
		r.Errorf("Until is %s before the lock was asked for", sent.Sub(until))
	}
}
