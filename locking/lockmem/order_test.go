package lockmem

import (
	"errors"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// bubble runs a test in a bubble's time, with a provider and the answers of those
// who wait.
func bubble(t *testing.T, test func(t *testing.T, p *Provider, s *served)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		t.Helper()
		test(t, started(t), &served{})
	})
}

// inner is a request in the scope of other owners.
func inner(req driver.Request, enclosing ...string) driver.Request {
	req.Enclosing = enclosing
	return req
}

func compensation(req driver.Request) driver.Request {
	req.Rank = driver.Compensation
	return req
}

func noWait(req driver.Request) driver.Request {
	req.Wait = driver.NoWait
	return req
}

func wantBusy(t *testing.T, p *Provider, req driver.Request, want driver.BusyError) {
	t.Helper()
	_, err := p.Acquire(t.Context(), noWait(req))
	var busy *driver.BusyError
	if !errors.As(err, &busy) || *busy != want {
		t.Errorf("Acquire(%+v): %v, want %+v", req, err, want)
	}
}

func TestFreeKeyIsKeptForWhoWaitsForItAndMore(t *testing.T) {
	bubble(t, func(t *testing.T, p *Provider, s *served) {
		take(t, p, ask("holder", "b"))
		s.wait(t, p, ask("1", "a", "b"))
		s.wait(t, p, ask("2", "a"))
		s.want(t)
		freeOf(t, p, "holder", "b")
		s.want(t, "1")
		freeOf(t, p, "1", "a", "b")
		s.want(t, "1", "2")
	})
}

func TestBusyNamesNobodyWhereAWaiterGoesFirst(t *testing.T) {
	bubble(t, func(t *testing.T, p *Provider, s *served) {
		take(t, p, ask("holder", "b"))
		s.wait(t, p, ask("1", "a", "b"))
		wantBusy(t, p, ask("2", "a"), driver.BusyError{Key: "a"})
	})
}

func TestBusyNamesTheFirstKeyThoughItIsOnlyWaitedFor(t *testing.T) {
	bubble(t, func(t *testing.T, p *Provider, s *served) {
		take(t, p, ask("holder", "b"))
		s.wait(t, p, ask("1", "a", "b"))
		wantBusy(t, p, ask("2", "a", "b"), driver.BusyError{Key: "a"})
	})
}

func TestWhoLeavesTheHeadOfALineLetsTheNextGoOn(t *testing.T) {
	bubble(t, func(t *testing.T, p *Provider, s *served) {
		take(t, p, ask("holder", "b"))
		req := ask("1", "a", "b")
		req.Wait = time.Second
		s.wait(t, p, req)
		s.wait(t, p, ask("2", "a"))
		s.want(t)
		time.Sleep(time.Second)
		s.want(t, "1: "+driver.ErrTimeout.Error(), "2")
	})
}

func TestCompensationGoesFirst(t *testing.T) {
	bubble(t, func(t *testing.T, p *Provider, s *served) {
		take(t, p, ask("holder", "a"))
		take(t, p, ask("rich", "z"))
		s.wait(t, p, ask("plain", "a"))
		s.wait(t, p, ask("rich", "a"))
		s.wait(t, p, compensation(ask("undo", "a")))
		s.wait(t, p, compensation(ask("undo too", "a")))
		for _, next := range []string{"holder", "undo", "undo too", "rich"} {
			freeOf(t, p, next, "a")
		}
		s.want(t, "undo", "undo too", "rich", "plain")
	})
}

func TestOwnerWithinOneThatHoldsSomethingGoesBeforeOthers(t *testing.T) {
	bubble(t, func(t *testing.T, p *Provider, s *served) {
		take(t, p, ask("holder", "a"))
		take(t, p, ask("outer", "z"))
		s.wait(t, p, ask("plain", "a"))
		s.wait(t, p, inner(ask("poor", "a"), "nobody"))
		s.wait(t, p, inner(ask("inner", "a"), "nobody", "outer"))
		for _, next := range []string{"holder", "inner", "plain"} {
			freeOf(t, p, next, "a")
		}
		s.want(t, "inner", "plain", "poor")
	})
}

// In these tests all hold something, so that they rank alike.

func TestOwnerPassesWhoWaitsForWhatItHolds(t *testing.T) {
	bubble(t, func(t *testing.T, p *Provider, s *served) {
		take(t, p, ask("A", "k1"))
		take(t, p, ask("B", "z"))
		s.wait(t, p, ask("B", "k1", "k2"))
		take(t, p, noWait(ask("A", "k2")))
		freeOf(t, p, "A", "k1", "k2")
		s.want(t, "B")
	})
}

func TestNobodyElsePassesThen(t *testing.T) {
	bubble(t, func(t *testing.T, p *Provider, s *served) {
		take(t, p, ask("A", "k1"))
		take(t, p, ask("rich", "y"))
		take(t, p, ask("B", "z"))
		s.wait(t, p, ask("B", "k1", "k2"))
		wantBusy(t, p, ask("C", "k2"), driver.BusyError{Key: "k2"})
		wantBusy(t, p, ask("rich", "k2"), driver.BusyError{Key: "k2"})
		wantBusy(t, p, ask(driver.Anonymous, "k2"), driver.BusyError{Key: "k2"})
	})
}

func TestRequestPassesForWhatAnEnclosingOwnerHolds(t *testing.T) {
	bubble(t, func(t *testing.T, p *Provider, s *served) {
		take(t, p, ask("outer", "k1"))
		take(t, p, ask("B", "z"))
		s.wait(t, p, ask("B", "k1", "k2"))
		take(t, p, noWait(inner(ask("inner", "k2"), "outer")))
	})
}

func TestPassingGoesOverOtherHolders(t *testing.T) {
	bubble(t, func(t *testing.T, p *Provider, s *served) {
		take(t, p, ask("A", "k1"))
		take(t, p, ask("B", "z"))
		take(t, p, ask("C", "k3"))
		s.wait(t, p, ask("C", "k1"))       // C waits for A
		s.wait(t, p, ask("B", "k2", "k3")) // and B for C
		take(t, p, noWait(ask("A", "k2")))
	})
}

func TestPassingGoesOverThoseAhead(t *testing.T) {
	bubble(t, func(t *testing.T, p *Provider, s *served) {
		take(t, p, ask("A", "k1"))
		take(t, p, ask("B", "y"))
		take(t, p, ask("C", "z"))
		s.wait(t, p, ask("B", "k1", "k2")) // B waits for A
		s.wait(t, p, ask("C", "k2", "k3")) // and C behind B
		take(t, p, noWait(ask("A", "k3")))
	})
}

// One that waits already may pass as soon as somebody else begins to wait.
func TestNewWaitLetsAnotherPass(t *testing.T) {
	bubble(t, func(t *testing.T, p *Provider, s *served) {
		take(t, p, ask("A", "q"))
		take(t, p, ask("H", "p"))
		take(t, p, ask("B", "z"))
		s.wait(t, p, ask("B", "k", "p"))
		s.wait(t, p, ask("A", "k"))
		s.want(t) // H may give p back any time
		s.wait(t, p, ask("H", "q"))
		s.want(t, "A")
	})
}

func TestNewWaitBehindAnotherLetsAThirdPass(t *testing.T) {
	bubble(t, func(t *testing.T, p *Provider, s *served) {
		take(t, p, ask("A", "q"))
		take(t, p, ask("H", "p"))
		take(t, p, ask("B", "y"))
		take(t, p, ask("C", "z"))
		take(t, p, ask("other", "n"))
		s.wait(t, p, ask("B", "k", "p"))
		s.wait(t, p, ask("A", "k"))
		s.wait(t, p, ask("C", "m", "q"))
		s.want(t)
		s.wait(t, p, ask("H", "m", "n")) // behind C, which waits for A
		s.want(t, "A")
	})
}

func TestNobodyPassesOverAnAnonymousHolder(t *testing.T) {
	bubble(t, func(t *testing.T, p *Provider, s *served) {
		take(t, p, ask("A", "k1"))
		take(t, p, ask("B", "z"))
		take(t, p, ask(driver.Anonymous, "k3"))
		s.wait(t, p, ask(driver.Anonymous, "k1")) // it is not known to be who has k3
		s.wait(t, p, ask("B", "k2", "k3"))
		wantBusy(t, p, ask("A", "k2"), driver.BusyError{Key: "k2"})
	})
}

// One that waits already may pass as soon as its owner is given a key that others
// wait for.
func TestGrantLetsTheOwnersOtherRequestPass(t *testing.T) {
	bubble(t, func(t *testing.T, p *Provider, s *served) {
		take(t, p, ask("holder", "x"))
		take(t, p, ask("A", "y"))
		take(t, p, ask("B", "z"))
		s.wait(t, p, ask("A", "x"))
		s.wait(t, p, ask("B", "k", "x"))
		s.wait(t, p, ask("A", "k"))
		freeOf(t, p, "holder", "x")
		s.want(t, "A", "A")
	})
}

// Each of an owner's requests that can join does, whichever order they came in.
func TestJoinsFollowFromJoins(t *testing.T) {
	bubble(t, func(t *testing.T, p *Provider, s *served) {
		take(t, p, ask("holder", "a", "c"))
		s.wait(t, p, ask("A", "a"))
		s.wait(t, p, ask("X", "b", "c"))
		s.wait(t, p, ask("A", "b"))
		s.wait(t, p, compensation(ask("A", "a", "b"))) // ahead of X at b
		freeOf(t, p, "holder", "a")
		s.want(t, "A", "A", "A")
	})
}

func TestRevokedKeyEndsARequestThatLacksAnotherOne(t *testing.T) {
	bubble(t, func(t *testing.T, p *Provider, s *served) {
		take(t, p, ask("holder", "a"))
		later := ask("x", "b")
		later.Generation.Epoch = 1
		take(t, p, later)
		s.wait(t, p, ask("x", "a", "b"))
		s.want(t, "x: "+driver.ErrRevoked.Error())
	})
}

func TestOverlappingRequestsAllSucceed(t *testing.T) {
	bubble(t, func(t *testing.T, p *Provider, _ *served) {
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				grant, err := p.Acquire(t.Context(), ask(strconv.Itoa(i), "a", "b", "c"))
				if err != nil {
					t.Errorf("Acquire: %v", err)
					return
				}
				time.Sleep(time.Millisecond)
				back := []int{0, 1, 2}
				if i%2 == 1 {
					back = []int{2, 1, 0}
				}
				for _, at := range back {
					if _, err := p.Release(t.Context(), []driver.Hold{grant.Holds[at].Hold}); err != nil {
						t.Errorf("Release: %v", err)
					}
				}
			})
		}
		wg.Wait()
		wantEmpty(t, p)
	})
}

func TestManyWaitersAreServedInTheirOrder(t *testing.T) {
	bubble(t, func(t *testing.T, p *Provider, _ *served) {
		waiters := make([]*waiter, 10_000)
		hold := take(t, p, ask(driver.Anonymous, "a"))[0].Hold
		for i := range waiters {
			req := ask(driver.Anonymous, "a")
			w, _, err := p.takeOrJoin(&req)
			if err != nil {
				t.Fatal(err)
			}
			waiters[i] = w
		}
		for i, w := range waiters {
			if w.state != waiting {
				t.Fatalf("waiter %d was served out of turn", i)
			}
			if freed, err := p.Release(t.Context(), []driver.Hold{hold}); err != nil || !freed[0] {
				t.Fatalf("Release: %t, %v", freed, err)
			}
			if w.state != ended || w.err != nil {
				t.Fatalf("waiter %d was not served in its turn: %v", i, w.err)
			}
			hold = w.grant.Holds[0].Hold
		}
		freeOf(t, p, driver.Anonymous, "a")
		wantEmpty(t, p)
	})
}
