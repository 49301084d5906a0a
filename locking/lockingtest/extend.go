package lockingtest

import (
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

func extendCases() []providerCase {
	return []providerCase{
		{
			name: "ExtendMakesLonger",
			rule: "an extended lock lapses when its new TTL, counted from then, is over",
			run: func(r *rig) {
				h := r.takeOne(lasting(ask("owner", "a"), moment))
				sent := time.Now()
				if got := r.extend(2*moment, h.Hold); !got.Held {
					r.Fatalf("the hold is lost: %+v", got)
				}
				if life := r.wantLapse("a").free.Sub(sent); life < 2*moment-early {
					r.Errorf("the lock was gone %s after it was extended, want a life of %s", life, 2*moment)
				}
			},
		},
		{
			name: "ExtendNeverShortens",
			rule: "extending by less than is left changes nothing",
			run: func(r *rig) {
				h := r.takeOne(lasting(ask("owner", "a"), forever))
				if got := r.extend(instant, h.Hold); !got.Held || time.Until(got.Until) < forever/2 {
					r.Errorf("the extension is %+v, want one that stands for about %s", got, forever)
				}
				r.wantHeldUntil(time.Now().Add(4*instant), "owner", "a")
			},
		},
		{
			name: "ExtendAddsNoExpiry",
			rule: "extending a hold without expiry gives it none",
			run: func(r *rig) {
				h := r.takeOne(ask("owner", "a"))
				if got := r.extend(instant, h.Hold); !got.Held || !got.Until.IsZero() {
					r.Errorf("the extension is %+v, want one that stands, without end", got)
				}
				r.wantHeldUntil(time.Now().Add(4*instant), "owner", "a")
			},
		},
		{
			name: "ExtendTakesTheExpiryAway",
			rule: "an extension without a time makes a lock stay for good",
			run: func(r *rig) {
				h := r.takeOne(lasting(ask("owner", "a"), moment))
				if got := r.extend(0, h.Hold); !got.Held || !got.Until.IsZero() {
					r.Errorf("extended without a time the hold is %+v, want one that does not end", got)
				}
				if got := r.extend(instant, h.Hold); !got.Held || !got.Until.IsZero() {
					r.Errorf("the hold is now %+v, want one that does not end", got)
				}
			},
		},
		{
			name: "ExtendComparesHolds",
			rule: "only who has the key's owner and token extends its lock; another is told that his is lost",
			run:  extendComparesHolds,
		},
		{
			name: "ExtendRevivesNothing",
			rule: "a lock that has lapsed is not extended, also when nobody has taken it since",
			run: func(r *rig) {
				h := r.takeOne(lasting(ask("owner", "a"), instant))
				r.wantLapse("a")
				if got := r.extend(forever, h.Hold); got.Held {
					r.Errorf("the lapsed hold stands: %+v", got)
				}
				r.wantFree("a")
			},
		},
		{
			name: "ExtendAnswersInOrder",
			rule: "Extend answers for each hold in turn; one that is lost is an answer, too, and does not keep the others from being extended",
			run:  extendAnswersInOrder,
		},
	}
}

func extendComparesHolds(r *rig) {
	h := r.takeOne(lasting(ask("owner", "a"), moment)).Hold
	wrongOwner, wrongToken := h, h
	wrongOwner.Owner = "other"
	wrongToken.Token--
	for _, wrong := range []driver.Hold{wrongOwner, wrongToken} {
		if got := r.extend(forever, wrong); got.Held {
			r.Errorf("Extend of %+v stands, but the lock is %+v", wrong, h)
		}
	}
	r.wantLapse("a")
}

func extendAnswersInOrder(r *rig) {
	const long = 4 * moment // over slots of a cluster it takes several calls, one after the other
	taken := r.take(lasting(ask("owner", "a", "c", "d"), long))
	end := time.Now().Add(long)
	lost := driver.Hold{Key: "b", Owner: "owner", Token: taken[0].Token}
	got, err := r.p.Extend(r.ctx, forever, []driver.Hold{taken[0].Hold, lost, taken[1].Hold, taken[2].Hold})
	if err != nil || len(got) != 4 {
		r.Fatalf("Extend of four holds: %+v, %v", got, err)
	}
	for i, want := range []bool{true, false, true, true} {
		if got[i].Held != want || got[i].Err != nil {
			r.Errorf("answer %d is %t, %v, want %t", i, got[i].Held, got[i].Err, want)
		}
	}
	r.wantHeldUntil(end.Add(early), "owner", "a")
	r.wantHeld("owner", "c", "d")
	r.wantFree("b")
}
