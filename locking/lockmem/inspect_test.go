package lockmem

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

func TestInspectTellsOfTheHolderAndTheFirstWaiters(t *testing.T) {
	listened(t, func(t *testing.T, p *Provider, _ *told) {
		since := time.Now()
		req := lasting(time.Hour, ask("holder", "a"))
		req.Generation.Epoch = 3
		h := take(t, p, req)[0]
		time.Sleep(time.Second)
		enqueue(t, p, ticket("T", ask("x", "a", "b")))
		enqueue(t, p, ticket("U", compensation(ask("y", "a"))))
		enqueue(t, p, ticket("V", ask("z", "a")))
		time.Sleep(time.Minute)
		got, err := p.Inspect(t.Context(), "a", 2)
		want := driver.State{
			Key: "a", Held: true, Owner: "holder", Generation: req.Generation, Token: h.Token,
			Expires: true, TTL: time.Hour - time.Minute - time.Second, Since: since, Waiting: 3,
			Waiters: []driver.Waiter{
				{Owner: "y", Keys: []string{"a"}, Rank: driver.Compensation, Ticket: "U", Waited: time.Minute},
				{Owner: "x", Keys: []string{"a", "b"}, Ticket: "T", Waited: time.Minute},
			},
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("Inspect: %+v, %v, want %+v", got, err, want)
		}
		got, err = p.Inspect(t.Context(), "b", 9)
		if err != nil || got.Held || got.Waiting != 1 || len(got.Waiters) != 1 {
			t.Errorf("Inspect of a free key: %+v, %v, want its one waiter", got, err)
		}
		if got, err = p.Inspect(t.Context(), "c", 9); err != nil || !reflect.DeepEqual(got, driver.State{Key: "c"}) {
			t.Errorf("Inspect of a key nobody wants: %+v, %v", got, err)
		}
	})
}

func TestInspectTellsOfAnOffer(t *testing.T) {
	listened(t, func(t *testing.T, p *Provider, _ *told) {
		offer(t, p, ticket("T", ask("x", "a")))
		if s, err := p.Inspect(t.Context(), "a", 9); err != nil || !s.Offer || s.Owner != "x" || s.TTL != offerTime || s.Waiting != 0 {
			t.Errorf("Inspect: %+v, %v, want an offer to x", s, err)
		}
	})
}

// pages lists everything, and calls between the pages.
func pages(t *testing.T, p *Provider, limit int, between func()) (keys []string) {
	t.Helper()
	req := driver.ListRequest{Limit: limit}
	for {
		page, err := p.List(t.Context(), req)
		if err != nil {
			t.Fatalf("List(%+v): %v", req, err)
		}
		for _, s := range page.Locks {
			keys = append(keys, s.Key)
		}
		if page.Next == "" {
			return keys
		}
		req.Cursor = page.Next
		between()
	}
}

func TestListHasEachLockOnce(t *testing.T) {
	listened(t, func(t *testing.T, p *Provider, _ *told) {
		want := []string{""} // a key may hold any bytes, or none
		for i := range 20 {
			want = append(want, fmt.Sprintf("k%02d", i))
		}
		for _, key := range want {
			take(t, p, ask("x", key))
		}
		enqueue(t, p, ticket("T", ask("y", "k00", "waited for")))
		for _, limit := range []int{1, 7, 21, 22, 0} {
			if got := pages(t, p, limit, func() {}); !slices.Equal(got, want) {
				t.Errorf("pages of %d: %q, want %q", limit, got, want)
			}
		}
	})
}

func TestListHasALockThatIsHeldAllTheTime(t *testing.T) {
	listened(t, func(t *testing.T, p *Provider, _ *told) {
		stays := []string{"k01", "k25", "k48"}
		for i := range 50 {
			take(t, p, ask("x", fmt.Sprintf("k%02d", i)))
		}
		n := 0
		got := pages(t, p, 5, func() {
			// Locks that were listed go, the one at the cursor among them; others come.
			for i := 5 * n; i < 5*n+5; i++ {
				if key := fmt.Sprintf("k%02d", i); !slices.Contains(stays, key) {
					freeOf(t, p, "x", key)
				}
			}
			take(t, p, ask("x", "a"+strconv.Itoa(n)))
			n++
		})
		for _, key := range stays {
			if !slices.Contains(got, key) {
				t.Errorf("%q is on no page: %q", key, got)
			}
		}
	})
}

func TestListRefusesAnotherProvidersCursor(t *testing.T) {
	listened(t, func(t *testing.T, p *Provider, _ *told) {
		if page, err := p.List(t.Context(), driver.ListRequest{Cursor: "0"}); err == nil {
			t.Errorf("List: %+v, want an error", page)
		}
	})
}

func force(t *testing.T, p *Provider, h driver.Hold, reason string, now bool) {
	t.Helper()
	if done, err := p.ForceRelease(t.Context(), driver.ForceRequest{Key: h.Key, Owner: h.Owner, Token: h.Token, Reason: reason, Now: now}); err != nil || !done {
		t.Fatalf("ForceRelease(%+v): %t, %v", h, done, err)
	}
}

func TestForceReleaseKeepsTheKeyUntilItsHolderGivesItBack(t *testing.T) {
	listened(t, func(t *testing.T, p *Provider, s *told) {
		h := take(t, p, lasting(time.Hour, ask("x", "a")))[0].Hold
		enqueue(t, p, ticket("T", ask("y", "a")))
		force(t, p, h, "it hangs", false)
		s.want(t, "a of x is revoked: it hangs")
		if got, err := p.Extend(t.Context(), time.Hour, []driver.Hold{h}); err != nil || got[0] != (driver.Extension{Revoked: true}) {
			t.Errorf("Extend: %+v, %v, want it revoked", got, err)
		}
		if st, err := p.Inspect(t.Context(), "a", 0); err != nil || !st.Revoked || st.Reason != "it hangs" || st.Owner != "x" {
			t.Errorf("Inspect: %+v, %v, want it revoked", st, err)
		}
		freeOf(t, p, "x", "a")
		s.want(t, "T")
	})
}

func TestForceReleaseLetsTheKeyGoOnWhenItLapses(t *testing.T) {
	listened(t, func(t *testing.T, p *Provider, s *told) {
		h := take(t, p, lasting(time.Minute, ask("x", "a")))[0].Hold
		enqueue(t, p, ticket("T", ask("y", "a")))
		force(t, p, h, "", false)
		time.Sleep(time.Minute - 1)
		s.want(t, "a of x is revoked: ")
		time.Sleep(time.Nanosecond)
		s.want(t, "T")
	})
}

func TestForceReleaseRefusesItsHoldersOtherRequests(t *testing.T) {
	listened(t, func(t *testing.T, p *Provider, s *told) {
		w := &served{}
		take(t, p, ask("holder", "b"))
		h := take(t, p, ask("x", "a"))[0].Hold
		w.wait(t, p, ask("x", "a", "b"))
		w.wait(t, p, ask("x", "b"))
		force(t, p, h, "", false)
		w.want(t, "x: "+driver.ErrRevoked.Error())
		later := noWait(ask("x", "a"))
		later.Generation.Epoch = 9
		_, err := p.Acquire(t.Context(), later)
		wantError(t, err, driver.ErrRevoked)
		freeOf(t, p, "x", "a")
		take(t, p, later)
	})
}

func TestForceReleaseNowLetsTheKeyGoOnAtOnce(t *testing.T) {
	listened(t, func(t *testing.T, p *Provider, s *told) {
		h := take(t, p, ask("x", "a"))[0].Hold
		enqueue(t, p, ticket("T", ask("y", "a")))
		force(t, p, h, "slowly", false)
		s.want(t, "a of x is revoked: slowly")
		force(t, p, h, "at once", true)
		s.want(t, "a of x is revoked: at once", "T")
		if got, err := p.Extend(t.Context(), 0, []driver.Hold{h}); err != nil || got[0] != (driver.Extension{}) {
			t.Errorf("Extend: %+v, %v, want it lost", got, err)
		}
	})
}

func TestForceReleaseComparesOwnerAndToken(t *testing.T) {
	listened(t, func(t *testing.T, p *Provider, s *told) {
		h := take(t, p, ask("x", "a"))[0].Hold
		for _, req := range []driver.ForceRequest{
			{Key: "a", Owner: "y", Token: h.Token},
			{Key: "a", Owner: "x", Token: h.Token + 1},
			{Key: "a", Owner: "x"},
			{Key: "b", Owner: "x", Token: h.Token},
		} {
			if done, err := p.ForceRelease(t.Context(), req); err != nil || done {
				t.Errorf("ForceRelease(%+v): %t, %v, want false", req, done, err)
			}
		}
		s.want(t)
		if list, err := p.Audit(t.Context(), 9); err != nil || len(list) > 0 {
			t.Errorf("Audit: %+v, %v, want nothing", list, err)
		}
	})
}

func TestForceReleaseOfAnOfferEndsTheTicket(t *testing.T) {
	listened(t, func(t *testing.T, p *Provider, s *told) {
		for _, now := range []bool{false, true} {
			tk := ticket("T", ask("x", "a", "b"))
			h := offer(t, p, tk)[0].Hold
			force(t, p, h, "", now)
			s.want(t, "a of x is revoked: ", "T: "+driver.ErrRevoked.Error())
			wantHolder(t, p, "b", "")
			wantNoOffer(t, p, tk, driver.ErrNoOffer)
			time.Sleep(offerTime)
			wantEmpty(t, p)
			s.want(t)
		}
	})
}

// A ticket that was claimed gives back by Cancel what was taken from it by force.
func TestCancelGivesBackWhatWasTakenByForce(t *testing.T) {
	listened(t, func(t *testing.T, p *Provider, s *told) {
		tk := ticket("T", ask("x", "a"))
		offer(t, p, tk)
		force(t, p, claim(t, p, tk)[0].Hold, "", false)
		wantNoOffer(t, p, tk, driver.ErrRevoked)
		wantHolder(t, p, "a", "x")
		cancelled(t, p, tk, true)
		wantHolder(t, p, "a", "")
	})
}

func TestAuditKeepsTheNewestThousand(t *testing.T) {
	listened(t, func(t *testing.T, p *Provider, _ *told) {
		const many = 1005
		for i := range many {
			force(t, p, take(t, p, ask("x", "a"))[0].Hold, strconv.Itoa(i), true)
			time.Sleep(time.Second)
		}
		list, err := p.Audit(t.Context(), 5000)
		if err != nil || len(list) != 1000 {
			t.Fatalf("Audit: %d records, %v, want 1000", len(list), err)
		}
		for i, r := range list {
			if want := strconv.Itoa(many - 1 - i); r.Reason != want || !r.At.Equal(time.Now().Add(-time.Duration(i+1)*time.Second)) || !r.Now || r.Owner != "x" {
				t.Fatalf("record %d: %+v, want the one of reason %s", i, r, want)
			}
		}
		if list, err = p.Audit(t.Context(), 2); err != nil || len(list) != 2 || list[0].Reason != strconv.Itoa(many-1) {
			t.Errorf("Audit of 2: %+v, %v", list, err)
		}
		if list, err = p.Audit(t.Context(), -1); err != nil || len(list) != 0 {
			t.Errorf("Audit of none: %+v, %v", list, err)
		}
	})
}
