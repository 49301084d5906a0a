package lockmem

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

func wait(owner, key, holder string) driver.Wait {
	return driver.Wait{Owner: owner, Key: key, Holder: holder}
}

func wantCircle(t testing.TB, err error, want ...driver.Wait) {
	t.Helper()
	var circle *driver.DeadlockError
	if !errors.As(err, &circle) || !slices.Equal(circle.Cycle, want) {
		t.Errorf("error %v, want the deadlock %v", err, want)
	}
}

// circleOf closes a circle of two: A has a, B has b, A waits for b, and then B asks
// for a with what is changed of its request. It returns what A and B are told.
func circleOf(t *testing.T, p *Provider, first, second func(*driver.Request)) (a, b error) {
	t.Helper()
	take(t, p, ask("A", "a"))
	take(t, p, ask("B", "b"))
	reqA, reqB := ask("A", "b"), ask("B", "a")
	first(&reqA)
	second(&reqB)
	reqB.Wait = time.Second
	w, _, err := p.takeOrJoin(&reqA)
	if err != nil {
		t.Fatalf("Acquire(%+v): %v", reqA, err)
	}
	_, b = p.Acquire(t.Context(), reqB)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, a = p.await(ctx, w)
	if errors.Is(a, context.Canceled) {
		a = nil
	}
	if errors.Is(b, driver.ErrTimeout) {
		b = nil
	}
	return a, b
}

func born(at uint64) func(*driver.Request) { return func(r *driver.Request) { r.Born = at } }
func compensates(r *driver.Request)        { r.Rank = driver.Compensation }
func compensatesBorn(r *driver.Request)    { r.Rank, r.Born = driver.Compensation, 9 }
func asItIs(*driver.Request)               {}
func wantGoesOn(t testing.TB, err error)   { t.Helper(); wantError(t, err, nil) }
func wantError(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
}

func TestDeadlockIsFoundByTheCallThatClosesIt(t *testing.T) {
	bubble(t, func(t *testing.T, p *Provider, s *served) {
		take(t, p, ask("1", "A"))
		take(t, p, ask("2", "B"))
		s.wait(t, p, ask("1", "B"))
		began := time.Now()
		_, err := p.Acquire(t.Context(), ask("2", "A"))
		wantCircle(t, err, wait("2", "A", "1"), wait("1", "B", "2"))
		if took := time.Since(began); took != 0 {
			t.Errorf("the deadlock was found after %s, want at once", took)
		}
		freeOf(t, p, "2", "B")
		s.want(t, "1")
		freeOf(t, p, "1", "A", "B")
		wantEmpty(t, p)
	})
}

func TestDeadlockOfThree(t *testing.T) {
	bubble(t, func(t *testing.T, p *Provider, s *served) {
		for _, owner := range []string{"1", "2", "3"} {
			take(t, p, ask(owner, "k"+owner))
		}
		s.wait(t, p, ask("1", "k2"))
		s.wait(t, p, ask("2", "k3"))
		_, err := p.Acquire(t.Context(), ask("3", "k1"))
		wantCircle(t, err, wait("3", "k1", "1"), wait("1", "k2", "2"), wait("2", "k3", "3"))
	})
}

func TestOfPlainOwnersTheLastIsGivenUp(t *testing.T) {
	bubble(t, func(t *testing.T, p *Provider, _ *served) {
		a, b := circleOf(t, p, asItIs, asItIs)
		wantGoesOn(t, a)
		wantCircle(t, b, wait("B", "a", "A"), wait("A", "b", "B"))
	})
}

func TestOfExecutionsTheYoungestIsGivenUp(t *testing.T) {
	bubble(t, func(t *testing.T, p *Provider, _ *served) {
		a, b := circleOf(t, p, born(8), born(7))
		wantCircle(t, a, wait("A", "b", "B"), wait("B", "a", "A"))
		wantGoesOn(t, b)
	})
}

func TestOfExecutionsBornAtOnceTheLastIsGivenUp(t *testing.T) {
	bubble(t, func(t *testing.T, p *Provider, _ *served) {
		a, b := circleOf(t, p, born(8), born(8))
		wantGoesOn(t, a)
		wantCircle(t, b, wait("B", "a", "A"), wait("A", "b", "B"))
	})
}

func TestPlainOwnerIsGivenUpBeforeAnyExecution(t *testing.T) {
	bubble(t, func(t *testing.T, p *Provider, _ *served) {
		a, b := circleOf(t, p, asItIs, born(1<<62))
		wantCircle(t, a, wait("A", "b", "B"), wait("B", "a", "A"))
		wantGoesOn(t, b)
	})
}

func TestCompensationIsNotGivenUp(t *testing.T) {
	bubble(t, func(t *testing.T, p *Provider, _ *served) {
		a, b := circleOf(t, p, born(1), compensates)
		wantCircle(t, a, wait("A", "b", "B"), wait("B", "a", "A"))
		wantGoesOn(t, b)
	})
}

func TestOfCompensationsTheYoungestIsGivenUp(t *testing.T) {
	bubble(t, func(t *testing.T, p *Provider, _ *served) {
		a, b := circleOf(t, p, compensates, compensatesBorn)
		wantCircle(t, a, wait("A", "b", "B"), wait("B", "a", "A"))
		wantGoesOn(t, b)
	})
}

func TestEnclosingOwnerIsHeldUp(t *testing.T) {
	bubble(t, func(t *testing.T, p *Provider, s *served) {
		take(t, p, ask("outer", "a"))
		take(t, p, ask("B", "b"))
		s.wait(t, p, ask("B", "a"))
		_, err := p.Acquire(t.Context(), inner(ask("inner", "b"), "outer"))
		wantCircle(t, err, wait("inner", "b", "B"), wait("B", "a", "outer"))
	})
}

func TestKeyOfAnEnclosingOwnerIsADeadlock(t *testing.T) {
	bubble(t, func(t *testing.T, p *Provider, _ *served) {
		take(t, p, ask("outer", "a"))
		_, err := p.Acquire(t.Context(), inner(ask("inner", "a"), "outer"))
		wantCircle(t, err, wait("inner", "a", "outer"))
	})
}

func TestAnonymousOwnersAreInNoCircle(t *testing.T) {
	bubble(t, func(t *testing.T, p *Provider, s *served) {
		take(t, p, ask(driver.Anonymous, "a"))
		take(t, p, ask(driver.Anonymous, "b"))
		s.wait(t, p, ask(driver.Anonymous, "b"))
		s.wait(t, p, ask(driver.Anonymous, "a"))
		take(t, p, ask("A", "c"))
		s.wait(t, p, ask(driver.Anonymous, "c"))
		s.wait(t, p, ask("A", "a"))
		s.want(t)
	})
}

// Two circles at once: each has a victim, and the call that closed them goes on to
// wait if it is none of them.
func TestEveryCircleIsBroken(t *testing.T) {
	bubble(t, func(t *testing.T, p *Provider, s *served) {
		take(t, p, ask("A", "a1", "a2"))
		take(t, p, ask("B", "b"))
		take(t, p, ask("C", "c"))
		s.wait(t, p, ask("B", "a1"))
		s.wait(t, p, ask("C", "a2"))
		old := ask("A", "b", "c")
		old.Born = 1
		s.wait(t, p, old)
		freeOf(t, p, "B", "b")
		freeOf(t, p, "C", "c")
		synced(t, s, 3)
		for _, a := range s.answers {
			if a.text == "A" {
				continue
			}
			if a.token != 0 {
				t.Errorf("%q was served, want it to be given up", a.text)
			}
		}
		freeOf(t, p, "A", "a1", "a2", "b", "c")
		wantEmpty(t, p)
	})
}

func TestGrantThatClosesACircleBreaksIt(t *testing.T) {
	bubble(t, func(t *testing.T, p *Provider, s *served) {
		take(t, p, ask("holder", "a"))
		take(t, p, ask("B", "b"))
		s.wait(t, p, compensation(ask("A", "a")))
		s.wait(t, p, ask("A", "b")) // A waits for B
		s.wait(t, p, ask("B", "a")) // and B will for A, once A has a
		s.want(t)
		freeOf(t, p, "holder", "a")
		synced(t, s, 2)
		if got := s.answers; got[0].text != "B: "+(&driver.DeadlockError{Cycle: []driver.Wait{wait("B", "a", "A"), wait("A", "b", "B")}}).Error() || got[1].text != "A" {
			t.Errorf("served %+v, want A, and B given up", got)
		}
	})
}

func TestTakingWhatOthersWaitForBreaksTheCircle(t *testing.T) {
	bubble(t, func(t *testing.T, p *Provider, s *served) {
		take(t, p, ask("A", "z"))
		take(t, p, ask("B", "b"))
		take(t, p, ask("holder", "c"))
		s.wait(t, p, ask("A", "b"))      // A waits for B
		s.wait(t, p, ask("B", "a", "c")) // and B for a, which is free, and c
		_, err := p.Acquire(t.Context(), noWait(compensation(ask("A", "a"))))
		wantGoesOn(t, err)
		synced(t, s, 1)
		if got, want := s.answers[0].text, "B: "+(&driver.DeadlockError{Cycle: []driver.Wait{wait("B", "a", "A"), wait("A", "b", "B")}}).Error(); got != want {
			t.Errorf("told %q, want %q", got, want)
		}
	})
}

// synced waits until so many have their answer; the errors are first then.
func synced(t testing.TB, s *served, many int) {
	t.Helper()
	if got := s.texts(); len(got) != many {
		t.Fatalf("answered: %q, want %d", got, many)
	}
}
