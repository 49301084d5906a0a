package runctx_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lockstep-dev/lockstep/internal/runctx"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeHold is a hold without a provider.
type fakeHold struct {
	record runctx.HoldRecord
	gone   bool
}

func (h *fakeHold) Record() runctx.HoldRecord          { return h.record }
func (h *fakeHold) Alive() bool                        { return !h.gone }
func (h *fakeHold) Free(context.Context) (bool, error) { return !h.gone, nil }
func (h *fakeHold) Abandon()                           { h.gone = true }
func (h *fakeHold) Final() bool                        { return false }
func (h *fakeHold) Watch(func())                       {}

func id(key string) runctx.LockID { return runctx.LockID{Provider: "p", Key: key} }

// hold is one that the scope took.
func hold(s *runctx.Scope, key string) *fakeHold {
	return &fakeHold{record: runctx.HoldRecord{LockID: id(key), Owner: s.Owner()}}
}

func kept(t *testing.T, s *runctx.Scope, key string) *fakeHold {
	t.Helper()
	h := hold(s, key)
	if err := s.Keep(h); err != nil {
		t.Fatal(err)
	}
	return h
}

func root() *runctx.Scope { return runctx.NewRoot("store", "run", 3, 30*time.Second) }

func TestAScopeNamesTheOwnersAroundItAndWithinIt(t *testing.T) {
	r := root()
	kept(t, r, "left")
	g := r.Guard("outer", 1)
	kept(t, g, "o")
	inner := g.Sequence("branch").Guard("inner", 1)
	kept(t, inner, "i")
	kept(t, inner.Sequence("branch"), "x")
	beside := r.Guard("beside", 1)
	kept(t, beside, "b")
	if got := inner.Enclosing(); !slices.Equal(got, []string{g.Owner(), r.Owner()}) {
		t.Errorf("around it: %q", got)
	}
	if got := g.Inside(); !slices.Equal(got, []string{inner.Owner(), "lockstep:store:run:branch"}) {
		t.Errorf("within it: %q", got)
	}
}

func TestScopesOfOneExecutionHaveTheOwnersOfTheDesign(t *testing.T) {
	r := root()
	a, b := r.Attempt("step", 7), r.Attempt("other", 1)
	if a.Owner() != "lockstep:store:run:step" || a.Owner() == b.Owner() || a.Lease() != 30*time.Second {
		t.Error(a.Owner(), b.Owner(), a.Lease())
	}
	if epoch, attempt := a.Generation(); epoch != 3 || attempt != 7 {
		t.Error(epoch, attempt)
	}
	if a.Child("x").Owner() == a.Child("y").Owner() || a.Owner() != r.Attempt("step", 8).Owner() {
		t.Error("children must differ, attempts of a step must not")
	}
}

func TestOwnersDoNotRunTogetherWhateverTheNamesHold(t *testing.T) {
	seen := map[string]string{}
	note := func(what string, s *runctx.Scope) {
		if other, taken := seen[s.Owner()]; taken {
			t.Errorf("%s and %s are both %q", what, other, s.Owner())
		}
		seen[s.Owner()] = what
		if !strings.HasPrefix(s.Owner(), runctx.OwnerPrefix) {
			t.Error(s.Owner())
		}
	}
	names := []string{"", "a", "b", "a:b", "a/b", "a%3Ab", "%", ":", "/", "a%2Fb"}
	for _, st := range names {
		for _, run := range names {
			for _, step := range names {
				s := runctx.NewRoot(st, run, 1, 0).Attempt(step, 1)
				note(fmt.Sprintf("%q %q %q", st, run, step), s)
				for _, child := range names {
					note(fmt.Sprintf("%q %q %q %q", st, run, step, child), s.Child(child))
				}
			}
		}
	}
}

func TestLaterStepSharesWhatAnEarlierOneLeft(t *testing.T) {
	r := root()
	a := r.Attempt("a", 1)
	h := kept(t, a, "k")
	a.End()
	if got, ok := r.Attempt("b", 1).Shared(id("k")); !ok || got != h {
		t.Error("not shared")
	}
}

func TestLaterAttemptOfTheSameStepDoesNotShareButTakesOver(t *testing.T) {
	r := root()
	a := r.Attempt("a", 1)
	kept(t, a, "k")
	a.End()
	again := r.Attempt("a", 2)
	if _, ok := again.Shared(id("k")); ok {
		t.Error("it joined the hold of the attempt before")
	}
	newer := kept(t, again, "k")
	again.End()
	if got := r.ReleasableAll(); len(got) != 1 || got[0] != newer {
		t.Error("the older hold is kept beside the newer one")
	}
}

func TestLostHoldIsNotShared(t *testing.T) {
	r := root()
	a := r.Attempt("a", 1)
	kept(t, a, "k").gone = true
	a.End()
	if _, ok := r.Attempt("b", 1).Shared(id("k")); ok {
		t.Error("a dead hold was shared")
	}
	if len(r.Records()) != 0 {
		t.Error("a dead hold is recorded")
	}
}

func TestSiblingsDoNotShare(t *testing.T) {
	a := root().Attempt("a", 1)
	one, two := a.Child("one"), a.Child("two")
	kept(t, one, "k")
	if _, ok := two.Shared(id("k")); ok {
		t.Error("a sibling's hold was shared")
	}
	if _, ok := two.Releasable(id("k")); ok {
		t.Error("a sibling's hold can be released")
	}
}

func TestChildSharesWhatItsStepKeeps(t *testing.T) {
	a := root().Attempt("a", 1)
	h := kept(t, a, "k")
	if got, ok := a.Child("one").Shared(id("k")); !ok || got != h {
		t.Error("not shared")
	}
}

func TestSameKeyAtAnotherProviderIsAnotherLock(t *testing.T) {
	r := root()
	a := r.Attempt("a", 1)
	kept(t, a, "k")
	a.End()
	if _, ok := r.Attempt("b", 1).Shared(runctx.LockID{Provider: "q", Key: "k"}); ok {
		t.Error("shared across providers")
	}
}

func TestEndedAttemptKeepsNothingAnyMore(t *testing.T) {
	r := root()
	a := r.Attempt("a", 1)
	child := a.Child("c")
	a.End()
	for _, s := range []*runctx.Scope{a, child, a.Child("late")} {
		if err := s.Keep(hold(s, "k")); !errors.Is(err, runctx.ErrScopeEnded) || !s.Ended() {
			t.Error(err)
		}
	}
	if len(r.ReleasableAll()) != 0 {
		t.Error("something was kept")
	}
}

func TestEndHandsAllHoldsOfTheAttemptAndItsChildrenToTheSequence(t *testing.T) {
	r := root()
	a := r.Attempt("a", 1)
	kept(t, a, "k")
	kept(t, a.Child("c"), "l")
	a.End()
	if len(r.Records()) != 2 {
		t.Error(r.Records())
	}
}

func TestSurrenderReturnsWhatTheAttemptTookAndLeavesTheRest(t *testing.T) {
	r := root()
	a := r.Attempt("a", 1)
	kept(t, a, "k")
	a.End()
	b := r.Attempt("b", 1)
	mine := kept(t, b, "l")
	if got := b.Surrender(); len(got) != 1 || got[0] != mine {
		t.Error(got)
	}
	if got := r.Records(); len(got) != 1 || got[0].Key != "k" {
		t.Error(got)
	}
	if got := r.Surrender(); len(got) != 1 || got[0].Record().Key != "k" {
		t.Error(got)
	}
}

func TestSurrenderOfTheRootEndsAttemptsInFlight(t *testing.T) {
	r := root()
	a := r.Attempt("a", 1)
	kept(t, a, "k")
	if got := r.Surrender(); len(got) != 1 || !a.Ended() {
		t.Error(got)
	}
}

func TestReleasableIsOnesOwnAndWhatTheSequenceHasFromBefore(t *testing.T) {
	r := root()
	a := r.Attempt("a", 1)
	old := kept(t, a, "k")
	a.End()
	b := r.Attempt("b", 1)
	own := kept(t, b, "l")
	if h, ok := b.Releasable(id("k")); !ok || h != old {
		t.Error("not what the sequence has")
	}
	if h, ok := b.Releasable(id("l")); !ok || h != own {
		t.Error("not its own")
	}
	if len(b.ReleasableAll()) != 2 {
		t.Error(b.ReleasableAll())
	}
	b.Forget(old)
	if _, ok := b.Releasable(id("k")); ok || len(r.Records()) != 0 {
		t.Error("forgotten, and kept")
	}
}

func TestForgetOfAnOlderHoldLeavesTheNewerOne(t *testing.T) {
	a := root().Attempt("a", 1)
	older := kept(t, a, "k")
	newer := kept(t, a, "k")
	a.Forget(older)
	if h, ok := a.Releasable(id("k")); !ok || h != newer {
		t.Error("the newer hold was forgotten")
	}
}

func TestContextCarriesScopeAndAttempt(t *testing.T) {
	ctx := context.Background()
	if runctx.ScopeFrom(ctx) != nil || runctx.AttemptFrom(ctx) != nil {
		t.Error("an empty context has something")
	}
	s, a := root(), &runctx.Attempt{}
	ctx = runctx.WithAttempt(runctx.WithScope(ctx, s), a)
	if runctx.ScopeFrom(ctx) != s || runctx.AttemptFrom(ctx) != a {
		t.Error("lost")
	}
}

func TestNothingIsKeptTwiceOrLostWhenAllHappensAtOnce(t *testing.T) {
	for range 200 {
		r := root()
		a := r.Attempt("a", 1)
		var wg sync.WaitGroup
		var mu sync.Mutex
		accepted := 0
		for i := range 8 {
			wg.Go(func() {
				c := a.Child(fmt.Sprint(i))
				if c.Keep(hold(c, fmt.Sprint("k", i))) == nil {
					mu.Lock()
					accepted++
					mu.Unlock()
				}
			})
		}
		wg.Go(a.End)
		wg.Wait()
		if got := len(r.ReleasableAll()); got != accepted {
			t.Fatalf("%d accepted, %d kept", accepted, got)
		}
	}
}
