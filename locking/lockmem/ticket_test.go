package lockmem

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// told collects events. What is told holds until it is asked for.
type told struct {
	mu     sync.Mutex
	events []driver.Event
}

func (s *told) notify(e driver.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, e)
}

// next returns what was told since the last time.
func (s *told) next() []driver.Event {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	events := s.events
	s.events = nil
	return events
}

// want compares the events since the last time: the ids of tickets that are offered
// something, with an error if there is one.
func (s *told) want(t testing.TB, want ...string) {
	t.Helper()
	var got []string
	for _, e := range s.next() {
		switch {
		case e.Ticket == "":
			got = append(got, fmt.Sprintf("%s of %s is revoked: %s", e.Revoked.Key, e.Revoked.Owner, e.Reason))
		case e.Err != nil:
			got = append(got, e.Ticket+": "+e.Err.Error())
		default:
			got = append(got, e.Ticket)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("told: %q, want %q", got, want)
	}
}

// listened is as bubble, with the events.
func listened(t *testing.T, test func(t *testing.T, p *Provider, s *told)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		t.Helper()
		s := &told{}
		p := New(Config{})
		if err := p.Start(t.Context(), driver.Env{Notify: s.notify}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.Close(context.Background()) }) // it never fails
		test(t, p, s)
	})
}

func ticket(id string, req driver.Request) driver.Ticket { return driver.Ticket{ID: id, Request: req} }

func of(generation uint64, tk driver.Ticket) driver.Ticket {
	tk.Generation.Epoch = generation
	return tk
}

// enqueue expects the ticket to wait.
func enqueue(t testing.TB, p *Provider, tk driver.Ticket) {
	t.Helper()
	if place, err := p.Enqueue(t.Context(), tk); err != nil || place.Offered {
		t.Fatalf("Enqueue(%q): %+v, %v, want it to wait", tk.ID, place, err)
	}
}

// offer expects the ticket to be offered its keys at once.
func offer(t testing.TB, p *Provider, tk driver.Ticket) []driver.Granted {
	t.Helper()
	place, err := p.Enqueue(t.Context(), tk)
	if err != nil || !place.Offered {
		t.Fatalf("Enqueue(%q): %+v, %v, want an offer", tk.ID, place, err)
	}
	return place.Grant.Holds
}

func claim(t testing.TB, p *Provider, tk driver.Ticket) []driver.Granted {
	t.Helper()
	grant, err := p.Claim(t.Context(), tk)
	if err != nil {
		t.Fatalf("Claim(%q): %v", tk.ID, err)
	}
	return grant.Holds
}

func wantNoOffer(t testing.TB, p *Provider, tk driver.Ticket, want error) {
	t.Helper()
	grant, err := p.Claim(t.Context(), tk)
	if err == nil {
		t.Errorf("Claim(%q): %+v, want %v", tk.ID, grant, want)
		return
	}
	wantError(t, err, want)
}

func cancelled(t testing.TB, p *Provider, tk driver.Ticket, want bool) {
	t.Helper()
	if got, err := p.Cancel(t.Context(), tk); err != nil || got != want {
		t.Errorf("Cancel(%q): %t, %v, want %t", tk.ID, got, err, want)
	}
}

func wantHolder(t testing.TB, p *Provider, key, want string) {
	t.Helper()
	if s, err := p.Inspect(t.Context(), key, 0); err != nil || s.Owner != want {
		t.Errorf("%q is held by %q, %v, want %q", key, s.Owner, err, want)
	}
}

func TestOfferAtOnceIsNoEvent(t *testing.T) {
	listened(t, func(t *testing.T, p *Provider, s *told) {
		h := offer(t, p, ticket("T", ask("x", "a")))[0]
		if !h.Offer || !h.Until.Equal(time.Now().Add(offerTime)) {
			t.Errorf("offered %+v, want an offer for %s", h, offerTime)
		}
		s.want(t)
	})
}

func TestLaterOfferIsAnEvent(t *testing.T) {
	listened(t, func(t *testing.T, p *Provider, s *told) {
		take(t, p, ask("holder", "a"))
		enqueue(t, p, ticket("T", ask("x", "a", "b")))
		s.want(t)
		freeOf(t, p, "holder", "a")
		events := s.next()
		if len(events) != 1 || events[0].Ticket != "T" || len(events[0].Grant.Holds) != 2 || !events[0].Grant.Holds[1].Offer {
			t.Errorf("told %+v, want one offer of two keys to T", events)
		}
	})
}

func TestOfferLastsNoLongerThanTheLockWould(t *testing.T) {
	listened(t, func(t *testing.T, p *Provider, s *told) {
		h := offer(t, p, ticket("T", lasting(time.Second, ask("x", "a"))))[0]
		if !h.Offer || !h.Until.Equal(time.Now().Add(time.Second)) {
			t.Errorf("offered %+v, want an offer for a second", h)
		}
	})
}

func TestLapsedOfferGoesToTheNextAndComesBack(t *testing.T) {
	listened(t, func(t *testing.T, p *Provider, s *told) {
		take(t, p, ask("holder", "a"))
		for _, id := range []string{"1", "2", "3"} {
			enqueue(t, p, ticket(id, ask("owner of "+id, "a")))
		}
		freeOf(t, p, "holder", "a")
		s.want(t, "1")
		time.Sleep(offerTime - 1)
		s.want(t)
		time.Sleep(time.Nanosecond)
		s.want(t, "2")
		claim(t, p, ticket("2", ask("owner of 2", "a")))
		freeOf(t, p, "owner of 2", "a")
		s.want(t, "1") // which has kept its place before 3
	})
}

// A ticket that was served at once has its place from when it came.
func TestOfferAtOnceKeepsItsPlaceWhenItLapses(t *testing.T) {
	listened(t, func(t *testing.T, p *Provider, s *told) {
		offer(t, p, ticket("1", ask("x", "a")))
		for _, id := range []string{"2", "3"} {
			enqueue(t, p, ticket(id, ask("owner of "+id, "a")))
		}
		time.Sleep(offerTime)
		s.want(t, "2")
		time.Sleep(offerTime)
		s.want(t, "1")
	})
}

func TestLapsedOfferComesBackAtOnceWhereNobodyElseWaits(t *testing.T) {
	listened(t, func(t *testing.T, p *Provider, s *told) {
		offer(t, p, ticket("T", ask("x", "a")))
		time.Sleep(offerTime)
		s.want(t, "T")
	})
}

func TestClaimMakesAFullHold(t *testing.T) {
	listened(t, func(t *testing.T, p *Provider, s *told) {
		tk := ticket("T", lasting(time.Hour, ask("x", "a")))
		offered := offer(t, p, tk)[0]
		time.Sleep(time.Second)
		h := claim(t, p, tk)[0]
		if h.Offer || h.Joined || h.Token != offered.Token || !h.Until.Equal(time.Now().Add(time.Hour)) {
			t.Errorf("claimed %+v, want the hold %+v for an hour", h, offered)
		}
		time.Sleep(time.Hour - 1)
		wantHolder(t, p, "a", "x")
		s.want(t)
	})
}

func TestClaimIsRepeatedWhileTheHoldStands(t *testing.T) {
	listened(t, func(t *testing.T, p *Provider, _ *told) {
		take(t, p, ask("x", "b"))
		tk := ticket("T", ask("x", "a", "b"))
		offer(t, p, tk)
		first := claim(t, p, tk)
		if again := claim(t, p, tk); !slices.Equal(again, first) || first[0].Joined || !first[1].Joined {
			t.Errorf("claimed %+v, then %+v, want the same, with b joined", first, again)
		}
		freeOf(t, p, "x", "a")
		wantNoOffer(t, p, tk, driver.ErrNoOffer)
		freeOf(t, p, "x", "b")
		wantEmpty(t, p)
	})
}

func TestNothingToClaim(t *testing.T) {
	listened(t, func(t *testing.T, p *Provider, _ *told) {
		take(t, p, ask("holder", "a"))
		tk := ticket("T", ask("x", "a"))
		wantNoOffer(t, p, tk, driver.ErrNoOffer)
		enqueue(t, p, tk)
		wantNoOffer(t, p, tk, driver.ErrNoOffer)
		wantNoOffer(t, p, ticket("U", ask("holder", "a")), driver.ErrNoOffer)
	})
}

func TestEnqueueIsAnsweredAsTheTicketStands(t *testing.T) {
	listened(t, func(t *testing.T, p *Provider, s *told) {
		take(t, p, ask("holder", "a"))
		tk := ticket("T", ask("x", "a"))
		enqueue(t, p, tk)
		enqueue(t, p, ticket("U", ask("y", "a")))
		enqueue(t, p, tk)
		freeOf(t, p, "holder", "a")
		s.want(t, "T")
		if first, again := offer(t, p, tk), offer(t, p, tk); !slices.Equal(first, again) || !first[0].Offer {
			t.Errorf("offered %+v, then %+v", first, again)
		}
		claim(t, p, tk)
		if h := offer(t, p, tk)[0]; h.Offer {
			t.Errorf("after the claim the ticket is answered %+v, want a full hold", h)
		}
	})
}

func TestLaterGenerationOfATicketTakesItOver(t *testing.T) {
	listened(t, func(t *testing.T, p *Provider, s *told) {
		tk := ticket("T", ask("x", "a"))
		old := offer(t, p, tk)[0]
		h := offer(t, p, of(1, tk))[0]
		if h.Token <= old.Token || h.Generation.Epoch != 1 || !h.Offer {
			t.Errorf("offered %+v after %+v, want a new token for the later generation", h, old)
		}
		wantNoOffer(t, p, tk, driver.ErrRevoked)
		_, err := p.Enqueue(t.Context(), tk)
		wantError(t, err, driver.ErrRevoked)
		cancelled(t, p, tk, false)
		if got := claim(t, p, of(1, tk)); got[0].Token != h.Token {
			t.Errorf("claimed %+v, want %+v", got, h)
		}
		s.want(t)
	})
}

func TestLaterGenerationOfATicketKeepsItsPlace(t *testing.T) {
	listened(t, func(t *testing.T, p *Provider, s *told) {
		take(t, p, ask("holder", "a"))
		enqueue(t, p, ticket("1", ask("x", "a")))
		enqueue(t, p, ticket("2", ask("y", "a")))
		enqueue(t, p, of(1, ticket("1", ask("x", "a"))))
		freeOf(t, p, "holder", "a")
		events := s.next()
		if len(events) != 1 || events[0].Ticket != "1" || events[0].Grant.Holds[0].Generation.Epoch != 1 {
			t.Errorf("told %+v, want an offer to 1 in its later generation", events)
		}
	})
}

func TestCancelEndsATicketInAnyState(t *testing.T) {
	listened(t, func(t *testing.T, p *Provider, s *told) {
		tk, next := ticket("T", ask("x", "a", "b")), ticket("U", ask("y", "b"))
		cancelled(t, p, tk, false)

		take(t, p, ask("holder", "a"))
		enqueue(t, p, tk)
		enqueue(t, p, next)
		cancelled(t, p, tk, true) // it waits
		s.want(t, "U")
		cancelled(t, p, next, true) // it has an offer
		freeOf(t, p, "holder", "a")

		offer(t, p, tk)
		claim(t, p, tk)
		enqueue(t, p, next)
		cancelled(t, p, tk, true) // it was claimed
		s.want(t, "U")
		cancelled(t, p, tk, false)
		cancelled(t, p, next, true)
		wantEmpty(t, p)
	})
}

func TestCancelLeavesWhatTheOwnerHadBefore(t *testing.T) {
	listened(t, func(t *testing.T, p *Provider, _ *told) {
		take(t, p, ask("x", "a"))
		tk := ticket("T", ask("x", "a", "b"))
		offer(t, p, tk)
		cancelled(t, p, tk, true)
		wantHolder(t, p, "a", "x")
		wantHolder(t, p, "b", "")
	})
}

func TestTicketThatIsRefusedLaterIsToldWhy(t *testing.T) {
	listened(t, func(t *testing.T, p *Provider, s *told) {
		take(t, p, ask("holder", "a"))
		take(t, p, ask("x", "b"))
		enqueue(t, p, ticket("T", ask("x", "a", "b")))
		later := ask("x", "b")
		later.Generation.Epoch = 1
		take(t, p, later)
		s.want(t, "T: "+driver.ErrRevoked.Error())

		enqueue(t, p, ticket("U", ask("x", "a")))
		old := ticket("V", ask("holder", "b"))
		old.Born = 1
		enqueue(t, p, old)
		events := s.next()
		if len(events) != 1 || events[0].Ticket != "U" {
			t.Fatalf("told %+v, want U to be given up", events)
		}
		wantCircle(t, events[0].Err, wait("x", "a", "holder"), wait("holder", "b", "x"))
	})
}

func TestTicketThatIsRefusedAtOnceIsGone(t *testing.T) {
	listened(t, func(t *testing.T, p *Provider, s *told) {
		take(t, p, of(1, ticket("", ask("x", "a"))).Request)
		_, err := p.Enqueue(t.Context(), ticket("T", ask("x", "a")))
		wantError(t, err, driver.ErrRevoked)
		take(t, p, ask("y", "b"))
		enqueue(t, p, ticket("U", ask("y", "a")))
		_, err = p.Enqueue(t.Context(), of(1, ticket("V", ask("x", "b"))))
		wantCircle(t, err, wait("x", "b", "y"), wait("y", "a", "x"))
		for _, id := range []string{"T", "V"} {
			cancelled(t, p, of(1, ticket(id, ask("x", "b"))), false)
		}
		s.want(t)
	})
}

// A ticket whose offer has lapsed may close a circle when it is in line again.
func TestTicketThatComesBackMayBeGivenUp(t *testing.T) {
	listened(t, func(t *testing.T, p *Provider, s *told) {
		take(t, p, ask("x", "b"))
		offer(t, p, ticket("T", ask("x", "a")))
		old := ticket("U", ask("y", "a"))
		old.Born = 1
		enqueue(t, p, old)
		w := &served{}
		w.wait(t, p, inner(ask("y's other", "b"), "y"))
		time.Sleep(offerTime)
		events := s.next()
		if len(events) != 1 || events[0].Ticket != "U" {
			t.Fatalf("told %+v, want an offer to U", events)
		}
		synced(t, w, 1)
		if got := w.texts()[0]; !strings.Contains(got, "deadlock") {
			t.Errorf("told %q, want the deadlock that T has closed: x waits for a, which y holds", got)
		}
	})
}

func TestOneTicketAndOneCallStandInOneQueue(t *testing.T) {
	listened(t, func(t *testing.T, p *Provider, s *told) {
		w := &served{}
		take(t, p, ask("holder", "a"))
		enqueue(t, p, ticket("1", ask("x", "a")))
		w.wait(t, p, ask("2", "a"))
		enqueue(t, p, ticket("3", ask("y", "a")))
		freeOf(t, p, "holder", "a")
		s.want(t, "1")
		w.want(t)
		freeOf(t, p, "x", "a")
		w.want(t, "2")
		s.want(t)
		freeOf(t, p, "2", "a")
		s.want(t, "3")
	})
}

func TestTicketDoesNotKeepTheCallersLists(t *testing.T) {
	listened(t, func(t *testing.T, p *Provider, _ *told) {
		take(t, p, ask("holder", "a"))
		tk := ticket("T", ask("x", "a", "b"))
		enqueue(t, p, tk)
		tk.Keys[0], tk.Keys[1] = "c", "d"
		if st, err := p.Inspect(t.Context(), "a", 1); err != nil || !slices.Equal(st.Waiters[0].Keys, []string{"a", "b"}) {
			t.Errorf("Inspect: %+v, %v, want a waiter for a and b", st, err)
		}
	})
}

func TestEventsWaitForEachOtherButNobodyForThem(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := New(Config{})
		goOn, told := make(chan struct{}), make(chan string, 9)
		err := p.Start(t.Context(), driver.Env{Notify: func(e driver.Event) {
			told <- e.Ticket
			<-goOn
		}})
		if err != nil {
			t.Fatal(err)
		}
		take(t, p, ask("holder", "a", "b"))
		enqueue(t, p, ticket("T", ask("x", "a")))
		enqueue(t, p, ticket("U", ask("y", "b")))
		freeOf(t, p, "holder", "a")
		synctest.Wait()
		freeOf(t, p, "holder", "b")
		synctest.Wait()
		if len(told) != 1 {
			t.Errorf("%d events at once, want one", len(told))
		}
		closed := make(chan error, 1)
		go func() { closed <- p.Close(context.Background()) }()
		synctest.Wait()
		select {
		case err := <-closed:
			t.Errorf("Close has returned %v while an event was told", err)
		default:
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		wantError(t, p.Close(ctx), context.Canceled)
		close(goOn)
		wantGoesOn(t, <-closed)
		if len(told) != 1 {
			t.Errorf("%d events, want none after Close", len(told))
		}
	})
}

func TestClosedProviderAnswersNothing(t *testing.T) {
	t.Parallel()
	p := New(Config{})
	tk := ticket("T", ask("x", "a"))
	_, err := p.Enqueue(t.Context(), tk)
	wantError(t, err, driver.ErrClosed)
	_, err = p.Claim(t.Context(), tk)
	wantError(t, err, driver.ErrClosed)
	_, err = p.Cancel(t.Context(), tk)
	wantError(t, err, driver.ErrClosed)
	_, err = p.Inspect(t.Context(), "a", 1)
	wantError(t, err, driver.ErrClosed)
	_, err = p.List(t.Context(), driver.ListRequest{})
	wantError(t, err, driver.ErrClosed)
	_, err = p.ForceRelease(t.Context(), driver.ForceRequest{})
	wantError(t, err, driver.ErrClosed)
	_, err = p.Audit(t.Context(), 1)
	wantError(t, err, driver.ErrClosed)
}
