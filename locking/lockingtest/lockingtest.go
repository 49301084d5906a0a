// Package lockingtest has the rules that every lock provider must keep, as tests.
// A provider is right when it passes:
//
//	func TestProvider(t *testing.T) {
//		lockingtest.RunProvider(t, lockingtest.Subject{
//			New: func(testing.TB) driver.Provider { return mylocks.New() },
//		})
//	}
//
// Each case proves one rule. It has the rule in words, and prints them when it
// fails.
package lockingtest

import (
	"slices"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// Subject is what is tested.
type Subject struct {
	// New returns a provider that is not started; the suite starts and closes it.
	// Providers made for different t share no locks.
	New func(t testing.TB) driver.Provider
	// Shared says that providers made for the same t share their locks, as those
	// of several processes do. It adds the cases that need two of them.
	Shared bool
	// Left tells what the provider keeps for t in its storage that nothing
	// explains any more: a line for each lock, record or ticket. The suite asks
	// when a case has given everything back and its providers are closed, and
	// wants to hear of nothing. It may be nil.
	Left func(t testing.TB) []string
	// Except are cases, by name, whose rules the provider does not keep, each with the
	// reason why. They are skipped, and print it.
	Except map[string]string
}

// RunProvider runs each case as a parallel subtest of t.
func RunProvider(t *testing.T, subject Subject) {
	t.Helper()
	cases := providerCases()
	for name := range subject.Except {
		if !slices.ContainsFunc(cases, func(c providerCase) bool { return c.name == name }) {
			t.Errorf("the exception %q is no case", name)
		}
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if reason, ok := subject.Except[c.name]; ok {
				t.Skip("the provider does not keep this rule: " + reason)
			}
			if c.shared && !subject.Shared {
				t.Skip("the provider's locks are not shared")
			}
			t.Parallel()
			runCase(t, subject, c, defaultPatience)
		})
	}
}

// defaultPatience bounds what should take no time worth mentioning. It is long
// because the machine may be busy, not because a provider may be slow.
const defaultPatience = 10 * time.Second

// providerCase proves one rule.
type providerCase struct {
	name   string
	rule   string
	shared bool // it needs a second provider with the same locks
	queue  bool // it needs a [driver.Queuer]
	look   bool // it needs a [driver.Inspector]
	run    func(r *rig)
}

func runCase(t testing.TB, subject Subject, c providerCase, patience time.Duration) {
	t.Helper()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the rule: %s", c.rule)
		}
	})
	r := newRig(t, subject, patience)
	if _, ok := r.p.Provider.(driver.Queuer); c.queue && !ok {
		t.Skip("the provider has no tickets: it is no driver.Queuer")
	}
	if _, ok := r.p.Provider.(driver.Inspector); c.look && !ok {
		t.Skip("the provider cannot be looked into: it is no driver.Inspector")
	}
	c.run(r)
}

// providerCases returns all cases, by theme.
func providerCases() []providerCase {
	return slices.Concat(
		exclusionCases(),
		manyKeysCases(),
		reentryCases(),
		generationCases(),
		expiryCases(),
		extendCases(),
		releaseCases(),
		releaseAllCases(),
		waitingCases(),
		leavingCases(),
		orderCases(),
		rankCases(),
		passingCases(),
		deadlockCases(),
		offerCases(),
		ticketCases(),
		inspectCases(),
		tokenCases(),
		nameCases(),
		lifeCases(),
		sharedCases(),
	)
}
