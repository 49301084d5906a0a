// Package storetest has the promises of a [store.Store], as tests. A store is right
// when it passes:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, storetest.Subject{
//			New: func(testing.TB) store.Store { return mystore.New() },
//		})
//	}
//
// Each case proves one rule. It has the rule in words, and why an engine needs it, by the
// number of the invariant that would fall with it; it prints both when it fails:
//
//	I1  a step runs at least once, and its result is recorded exactly once
//	I2  every write checks epoch and revision, and counts once however often it is sent
//	I3  a write and the record of all that follows from it are made together
//	I6  what has failed can be resumed
//	I8  nothing is ever stuck
//	I9  a key and an input stand for one execution, as long as it is kept
//	I10 an execution runs on a plan that it was begun with, or waits
//	I11 what may have killed its process is known
//
// Each case runs twice over. The second time every call is made two times, as if the
// answer of the first had been lost, and must come to the same.
package storetest

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

// Subject is what is tested.
type Subject struct {
	// New returns an empty store. The suite closes it.
	New func(t testing.TB) store.Store
	// Another opens the data of a store once more, as another process does. The suite
	// closes what it returns. It is nil for a store that is not shared.
	Another func(t testing.TB, s store.Store) store.Store
	// Reopen closes a store, and opens its data again. It is nil for a store that is not
	// durable.
	Reopen func(t testing.TB, s store.Store) store.Store

	// Bubble says that the store does all its waiting with package time and channels:
	// each case runs in a bubble of package synctest, where waiting costs nothing.
	Bubble bool
	// Lease is a lease that the suite waits for the end of. It must be long enough for
	// some calls on a busy machine to be made in it; zero is a second.
	Lease time.Duration
	// Now and Advance are the store's clock, where it can be moved: nil is the time, and
	// waiting for it.
	Now     func() time.Time
	Advance func(d time.Duration)

	patience time.Duration // zero is defaultPatience

	// Except are cases, by name, whose rules the store does not keep, each with the
	// reason why. They are skipped, and print it.
	Except map[string]string
}

// storeCase proves one rule.
type storeCase struct {
	name string
	rule string
	why  string // what falls with it
	// shared and durable are cases for a subject with Another and Reopen.
	shared, durable bool
	tasks           bool // it is for a store that is a store.TaskQueue
	run             func(r *rig)
}

// Run runs each case as a parallel subtest of t.
func Run(t *testing.T, subject Subject) {
	t.Helper()
	cases := storeCases()
	for name := range subject.Except {
		if !slices.ContainsFunc(cases, func(c storeCase) bool { return c.name == name }) {
			t.Errorf("the exception %q is no case", name)
		}
	}
	for _, c := range cases {
		for _, twice := range []bool{false, true} {
			name := c.name
			if twice {
				name += "/twice"
			}
			t.Run(name, func(t *testing.T) {
				if reason, ok := subject.Except[c.name]; ok {
					t.Skip("the store does not keep this rule: " + reason)
				}
				if reason := c.leftOut(subject); reason != "" {
					t.Skip(reason)
				}
				t.Parallel()
				if subject.Bubble {
					synctest.Test(t, func(t *testing.T) { runCase(t, subject, c, twice) })
				} else {
					runCase(t, subject, c, twice)
				}
			})
		}
	}
}

func (c storeCase) leftOut(subject Subject) string {
	switch {
	case c.shared && subject.Another == nil:
		return "the store is not shared: its subject has no Another"
	case c.durable && subject.Reopen == nil:
		return "the store is not durable: its subject has no Reopen"
	}
	return ""
}

func runCase(t testing.TB, subject Subject, c storeCase, twice bool) {
	t.Helper()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the rule: %s\nwhy: %s", c.rule, c.why)
		}
	})
	r := newRig(t, subject, twice)
	if _, ok := r.raw.(store.TaskQueue); c.tasks && !ok {
		t.Skip("the store keeps no tasks: it is no store.TaskQueue")
	}
	c.run(r)
}

// storeCases returns all cases, by theme.
func storeCases() []storeCase {
	return slices.Concat(
		createCases(),
		bytesCases(),
		commitCases(),
		fenceCases(),
		repeatCases(),
		wholeCases(),
		claimCases(),
		whichCases(),
		ownerCases(),
		claimAgainCases(),
		leaseCases(),
		releaseCases(),
		messageCases(),
		listCases(),
		forgetCases(),
		watchCases(),
		contestCases(),
		lifeCases(),
		taskCases(),
	)
}
