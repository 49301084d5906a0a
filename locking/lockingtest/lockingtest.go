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
}

// RunProvider runs each case as a parallel subtest of t.
func RunProvider(t *testing.T, subject Subject) {
	t.Helper()
	for _, c := range providerCases() {
		t.Run(c.name, func(t *testing.T) {
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
	run    func(r *rig)
}

func runCase(t testing.TB, subject Subject, c providerCase, patience time.Duration) {
	t.Helper()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the rule: %s", c.rule)
		}
	})
	c.run(newRig(t, subject, patience))
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
		tokenCases(),
		nameCases(),
		lifeCases(),
		sharedCases(),
	)
}
