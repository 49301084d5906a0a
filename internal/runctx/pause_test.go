package runctx_test

import (
	"testing"

	"github.com/lockstep-dev/lockstep/internal/runctx"
)

// wantKeys tells which keys the holds are of.
func wantKeys(t *testing.T, what string, list []runctx.Hold, keys ...string) {
	t.Helper()
	found := map[string]bool{}
	for _, h := range list {
		found[h.Record().Key] = true
	}
	missing := false
	for _, k := range keys {
		missing = missing || !found[k]
	}
	if missing || len(list) != len(keys) {
		t.Errorf("%s: %v, want %q", what, found, keys)
	}
}

func TestPauseReturnsWhatAllAttemptsOfTheStepTookAndItsChildren(t *testing.T) {
	r := root()
	one := r.Attempt("a", 1)
	kept(t, one, "k")
	kept(t, one.Child("c"), "l")
	one.End()
	two := r.Attempt("a", 2)
	kept(t, two, "m")
	wantKeys(t, "given back", two.Pause(1), "k", "l", "m")
	wantKeys(t, "left", r.ReleasableAll())
	if !two.Ended() {
		t.Error("the attempt goes on")
	}
}

func TestPauseLeavesWhatOtherStepsTook(t *testing.T) {
	r := root()
	for _, step := range []string{"b", "a/b", "aa"} {
		s := r.Attempt(step, 5)
		kept(t, s, step)
		s.End()
	}
	a := r.Attempt("a", 1)
	kept(t, a, "k")
	wantKeys(t, "given back", a.Pause(1), "k")
	wantKeys(t, "left", r.ReleasableAll(), "b", "a/b", "aa")
}

func TestPauseLeavesWhatTheSequenceHadBefore(t *testing.T) {
	r := root()
	invoke := r.Attempt("a", 1)
	kept(t, invoke, "k")
	kept(t, invoke, "l")
	invoke.End()
	compensate := r.Attempt("a", 2)
	kept(t, compensate, "m")
	wantKeys(t, "given back", compensate.Pause(2), "m")
	wantKeys(t, "left", r.ReleasableAll(), "k", "l")
}

func TestPauseLeavesWhatAnAttemptTookOverFromTheSequence(t *testing.T) {
	r := root()
	invoke := r.Attempt("a", 1)
	kept(t, invoke, "k")
	invoke.End()
	one := r.Attempt("a", 2)
	kept(t, one, "k")
	kept(t, one, "k") // asked again, and joined
	one.End()
	two := r.Attempt("a", 3)
	newest := kept(t, two, "k")
	wantKeys(t, "given back", two.Pause(2))
	if got := r.ReleasableAll(); len(got) != 1 || got[0] != newest {
		t.Error(got)
	}
}

func TestPauseReturnsWhatAnAttemptReleasedAndTookAgain(t *testing.T) {
	r := root()
	invoke := r.Attempt("a", 1)
	h := kept(t, invoke, "k")
	invoke.End()
	compensate := r.Attempt("a", 2)
	compensate.Forget(h)
	kept(t, compensate, "k")
	wantKeys(t, "given back", compensate.Pause(2), "k")
}
