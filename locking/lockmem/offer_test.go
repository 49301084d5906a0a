package lockmem

import (
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

func TestExtendedOfferIsClaimed(t *testing.T) {
	listened(t, func(t *testing.T, p *Provider, _ *told) {
		tk := ticket("T", ask("x", "a"))
		h := offer(t, p, tk)[0]
		if got, err := p.Extend(t.Context(), time.Second, []driver.Hold{h.Hold}); err != nil || !got[0].Until.Equal(time.Now().Add(time.Second)) {
			t.Errorf("Extend of an offer: %+v, %v, want the time that was asked for", got, err)
		}
		if got := claim(t, p, tk)[0]; got.Offer || got.Token != h.Token {
			t.Errorf("claimed %+v, want the full hold %+v", got, h)
		}
	})
}

func TestExtendedOfferLapsesForGood(t *testing.T) {
	listened(t, func(t *testing.T, p *Provider, s *told) {
		h := offer(t, p, ticket("T", ask("x", "a")))[0]
		if _, err := p.Extend(t.Context(), time.Second, []driver.Hold{h.Hold}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		s.want(t)
		wantEmpty(t, p)
	})
}

func TestOfferThatIsGivenBackWasTheTicketsTurn(t *testing.T) {
	listened(t, func(t *testing.T, p *Provider, s *told) {
		offer(t, p, ticket("T", ask("x", "a")))
		freeOf(t, p, "x", "a")
		s.want(t)
		wantEmpty(t, p)
	})
}

// An offer that lacks a key, since its owner gave away what it had, is none.
func TestTicketThatLosesAJoinedKeyIsInLineAgain(t *testing.T) {
	listened(t, func(t *testing.T, p *Provider, s *told) {
		take(t, p, ask("x", "a"))
		tk := ticket("T", ask("x", "a", "b"))
		offer(t, p, tk)
		enqueue(t, p, ticket("U", ask("y", "a")))
		freeOf(t, p, "x", "a")
		s.want(t, "U")
		wantNoOffer(t, p, tk, driver.ErrNoOffer)
		wantHolder(t, p, "b", "")
		freeOf(t, p, "y", "a")
		s.want(t, "T")
	})
}

func TestAcquireMakesTheOfferItJoinsAFullHold(t *testing.T) {
	listened(t, func(t *testing.T, p *Provider, _ *told) {
		tk := ticket("T", ask("x", "a"))
		offered := offer(t, p, tk)[0]
		if h := take(t, p, ask("x", "a"))[0]; h.Offer || !h.Joined || h.Token != offered.Token || !h.Until.IsZero() {
			t.Errorf("granted %+v, want the full hold %+v", h, offered)
		}
		time.Sleep(offerTime)
		if h := claim(t, p, tk)[0]; h.Token != offered.Token {
			t.Errorf("claimed %+v, want %+v", h, offered)
		}
	})
}

func TestLaterGenerationRevokesATicketThatHasAnOffer(t *testing.T) {
	listened(t, func(t *testing.T, p *Provider, s *told) {
		tk := ticket("T", ask("x", "a", "b"))
		offer(t, p, tk)
		later := ask("x", "a")
		later.Generation.Epoch = 1
		take(t, p, later)
		s.want(t, "T: "+driver.ErrRevoked.Error())
		wantNoOffer(t, p, tk, driver.ErrNoOffer)
		wantHolder(t, p, "b", "")
		freeOf(t, p, "x", "a")
		wantEmpty(t, p)
	})
}
