package lockingtest

import (
	"cmp"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// mutant is a provider that is broken in one way.
type mutant struct {
	name string
	// cases are those that must notice.
	cases []string
	wrap  func(driver.Provider) driver.Provider
}

func mutants() []mutant {
	return slices.Concat(
		exclusionMutants(), manyKeysMutants(), ownerMutants(), expiryMutants(), extendMutants(),
		releaseMutants(), waitingMutants(), leavingMutants(), tokenMutants(), nameMutants(), lifeMutants(),
		orderMutants(), rankMutants(), deadlockMutants(), offerMutants(),
		ticketMutants(), claimMutants(), placeMutants(), inspectMutants(), forceMutants(),
	)
}

// mutantPatience is short: it is spent on nearly every mutant.
const mutantPatience = 1200 * time.Millisecond

// slow are the cases that have to wait for longer: an offer, or a process, ends.
var slow = map[string]time.Duration{
	"LapsedOfferGoesOn": 4 * time.Second, "LapsedTicketKeepsItsPlace": 4 * time.Second, "TicketOutlivesItsProcess": 4 * time.Second,
}

// atOnce is how many mutants run at a time. They spend theirs waiting for what
// never comes.
const atOnce = 24

// TestMutantsAreNoticed breaks a good provider in one way after the other, and
// expects the cases to fail that are there for it.
func TestMutantsAreNoticed(t *testing.T) {
	t.Parallel()
	byName := map[string]providerCase{}
	for _, c := range providerCases() {
		byName[c.name] = c
	}
	turn := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	for _, m := range mutants() {
		for _, name := range m.cases {
			c, ok := byName[name]
			if !ok {
				t.Errorf("there is no case %q", name)
				continue
			}
			turn <- struct{}{}
			wg.Go(func() {
				defer func() { <-turn }()
				rec := record(t, sharedMemory(m.wrap), c, cmp.Or(slow[name], mutantPatience))
				if !rec.Failed() {
					t.Errorf("%q has not failed with a provider where %s; its rule: %s", name, m.name, c.rule)
				}
				t.Logf("%s, when %s:\n\t%s", name, m.name, rec.text())
			})
		}
	}
	wg.Wait()
}

// TestEveryCaseHasAMutant shows that no case passes whatever the provider does.
func TestEveryCaseHasAMutant(t *testing.T) {
	t.Parallel()
	noticed := map[string]bool{}
	for _, m := range mutants() {
		for _, name := range m.cases {
			noticed[name] = true
		}
	}
	seen := map[string]bool{}
	for _, c := range providerCases() {
		if !noticed[c.name] {
			t.Errorf("no mutant shows that the case %q can fail", c.name)
		}
		if seen[c.name] || c.rule == "" {
			t.Errorf("the case %q is there twice, or without a rule", c.name)
		}
		seen[c.name] = true
	}
}
