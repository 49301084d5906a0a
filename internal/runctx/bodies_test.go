package runctx_test

import "testing"

func TestLockOfABodyLeftBehindIsOccupiedUntilTheBodyReturns(t *testing.T) {
	r := root()
	a := r.Attempt("a", 1)
	h := kept(t, a, "k")
	if r.Occupied(h) {
		t.Error("before it was left behind")
	}
	a.LeaveBehind()
	a.End()
	if !r.Occupied(h) {
		t.Error("not while it runs")
	}
	a.Returned()
	if r.Occupied(h) {
		t.Error("after it has returned")
	}
}

func TestBodyThatHasReturnedIsNotLeftBehind(t *testing.T) {
	r := root()
	a := r.Attempt("a", 1)
	h := kept(t, a, "k")
	a.Returned()
	a.LeaveBehind()
	if r.Occupied(h) {
		t.Error("occupied")
	}
}

func TestLockThatABodyLeftBehindHasOnlyInAChildScopeIsOccupied(t *testing.T) {
	r := root()
	a := r.Attempt("a", 1)
	h := kept(t, a.Child("c").Child("d"), "k")
	a.LeaveBehind()
	if !r.Occupied(h) {
		t.Error("not occupied")
	}
}

func TestLockThatABodyLeftBehindSharesIsOccupied(t *testing.T) {
	r := root()
	a := r.Attempt("a", 1)
	h := kept(t, a, "k")
	a.End()
	b := r.Attempt("b", 1)
	b.Child("c").Shared(id("k"))
	b.LeaveBehind()
	if !r.Occupied(h) {
		t.Error("not occupied")
	}
}

func TestLockThatALaterAttemptHasTakenOverFromABodyLeftBehindIsOccupied(t *testing.T) {
	r := root()
	a := r.Attempt("a", 1)
	kept(t, a, "k")
	a.LeaveBehind()
	a.End()
	if newer := kept(t, r.Attempt("a", 2), "k"); !r.Occupied(newer) {
		t.Error("not occupied")
	}
}

func TestLockThatABodyReleasedBeforeItWasLeftBehindIsNotOccupied(t *testing.T) {
	r := root()
	a := r.Attempt("a", 1)
	a.Forget(kept(t, a, "k"))
	a.LeaveBehind()
	if r.Occupied(kept(t, r.Attempt("b", 1), "k")) {
		t.Error("occupied")
	}
}

func TestLockThatAStepHasReleasedIsNotOccupiedWhenItIsTakenAnew(t *testing.T) {
	r := root()
	a := r.Attempt("a", 1)
	h := kept(t, a, "k")
	a.LeaveBehind()
	a.End()
	b := r.Attempt("b", 1)
	b.Forget(h)
	if r.Occupied(kept(t, b, "k")) {
		t.Error("occupied")
	}
}

func TestLocksThatABodyLeftBehindDoesNotHaveAreNotOccupied(t *testing.T) {
	r := root()
	a := r.Attempt("a", 1)
	other := kept(t, a, "l")
	a.End()
	b := r.Attempt("b", 1)
	kept(t, b, "k")
	b.LeaveBehind()
	if r.Occupied(other) {
		t.Error("occupied")
	}
	b.End()
	if b.Shared(id("l")); r.Occupied(other) {
		t.Error("occupied by what an ended attempt asked for")
	}
}
