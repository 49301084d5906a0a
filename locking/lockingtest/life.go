package lockingtest

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

func lifeCases() []providerCase {
	return []providerCase{
		{
			name: "NotBeforeStart",
			rule: "before Start every call gets ErrClosed",
			run: func(r *rig) {
				p := r.subject.New(r.TB)
				r.wantClosed(p)
				r.Cleanup(func() { _ = p.Close(r.ctx) })
			},
		},
		{
			name: "NotAfterClose",
			rule: "after Close every call gets ErrClosed",
			run: func(r *rig) {
				p := r.another()
				r.closeIt(p)
				r.wantClosed(p)
			},
		},
		{
			name: "CloseEndsWaits",
			rule: "Close ends the calls that wait, with ErrClosed",
			run: func(r *rig) {
				p := r.another()
				r.takeAt(p, ask("holder", "a"))
				c := r.startAt(p, waiting(ask("waiter", "a"), caseBound*r.patience))
				c.wantBlocked()
				r.closeIt(p)
				if grant, err := c.wait(); !errors.Is(err, driver.ErrClosed) {
					r.Errorf("Acquire(%s): %s, want %v", describe(c.req), outcome(grant, err), driver.ErrClosed)
				}
			},
		},
		{
			name: "DescribesItself",
			rule: "Describe names a time to wait, and always answers alike",
			run: func(r *rig) {
				info := r.p.Describe()
				if info.DefaultWait <= 0 {
					r.Errorf("DefaultWait is %s, want more than zero", info.DefaultWait)
				}
				if again := r.p.Describe(); again != info {
					r.Errorf("Describe answers %+v, and before %+v", again, info)
				}
			},
		},
		{
			name: "LeavesArgumentsAlone",
			rule: "a provider neither changes nor keeps the slices it is given",
			run:  leavesArgumentsAlone,
		},
		{
			name: "NoHoldsNoAnswers",
			rule: "Extend and Release of no holds have no answers, and no error",
			run: func(r *rig) {
				freed, err := r.p.Release(r.ctx, nil)
				if err != nil || len(freed) != 0 {
					r.Errorf("Release of nothing: %v, %v", freed, err)
				}
				extended, err := r.p.Extend(r.ctx, forever, nil)
				if err != nil || len(extended) != 0 {
					r.Errorf("Extend of nothing: %v, %v", extended, err)
				}
			},
		},
	}
}

func (r *rig) closeIt(p driver.Provider) {
	r.Helper()
	if err := p.Close(r.ctx); err != nil {
		r.Fatalf("Close: %v", err)
	}
}

// wantClosed expects that no call is served.
func (r *rig) wantClosed(p driver.Provider) {
	r.Helper()
	holds := []driver.Hold{{Key: "a", Owner: "owner", Token: 1}}
	want := func(what string, err error) {
		r.Helper()
		if !errors.Is(err, driver.ErrClosed) {
			r.Errorf("%s: %v, want %v", what, err, driver.ErrClosed)
		}
	}
	_, err := p.Acquire(r.ctx, ask("owner", "a"))
	want("Acquire", err)
	_, err = p.Acquire(r.ctx, waiting(ask("owner", "a"), r.patience))
	want("Acquire that waits", err)
	_, err = p.Extend(r.ctx, forever, holds)
	want("Extend", err)
	_, err = p.Release(r.ctx, holds)
	want("Release", err)
	_, err = p.ReleaseAll(r.ctx, "owner")
	want("ReleaseAll", err)
}

func leavesArgumentsAlone(r *rig) {
	keys := []string{"a", "b", "c"}
	granted := r.take(ask("owner", keys...))
	wantSame(r, "Acquire's keys", keys, []string{"a", "b", "c"})
	fill(keys, "x")
	r.wantHeld("owner", "a", "b", "c")
	r.wantFree("x")

	holds := []driver.Hold{granted[2].Hold, granted[0].Hold, {Key: "d", Owner: "owner"}}
	before := slices.Clone(holds)
	if _, err := r.p.Extend(r.ctx, forever, holds); err != nil {
		r.Fatalf("Extend: %v", err)
	}
	wantSame(r, "Extend's holds", holds, before)
	r.free(holds...)
	wantSame(r, "Release's holds", holds, before)
	fill(holds, driver.Hold{Key: "b", Owner: "owner"})
	fill(granted, driver.Granted{})
	r.wantHeld("owner", "b")
	r.wantFree("a", "c", "d")
}

func wantSame[T comparable](t testing.TB, what string, got, want []T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s are now %s, want them as they were: %s", what, fmt.Sprint(got), fmt.Sprint(want))
	}
}

func fill[T any](s []T, v T) {
	for i := range s {
		s[i] = v
	}
}
