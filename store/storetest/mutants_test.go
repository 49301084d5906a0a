package storetest

import (
	"context"
	"slices"
	"testing"

	"go.uber.org/goleak"

	"github.com/lockstep-dev/lockstep/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// mutant is a store that is broken in one way.
type mutant struct {
	name string
	// cases are those that must notice.
	cases []string
	wrap  func(store.Store) store.Store
	// subject breaks the subject, where it is not the store.
	subject func(s *Subject)
	// twice says that it is noticed only when each call is made two times.
	twice bool
}

func mutants() []mutant {
	return slices.Concat(
		createMutants(), bytesMutants(), commitMutants(), fenceMutants(), repeatMutants(), wholeMutants(), twiceMutants(),
		claimMutants(), whichMutants(), ownerMutants(), leaseMutants(), releaseMutants(),
		messageMutants(), listMutants(), forgetMutants(), watchMutants(), contestMutants(), lifeMutants(), taskMutants(),
	)
}

func sound(s store.Store) store.Store { return s }

// TestMutantsAreNoticed breaks a good store in one way after the other, and expects the
// cases to fail that are there for it.
func TestMutantsAreNoticed(t *testing.T) {
	byName := map[string]storeCase{}
	for _, c := range storeCases() {
		byName[c.name] = c
	}
	for _, m := range mutants() {
		subject := inMemory(sound)
		if m.wrap != nil {
			subject = inMemory(m.wrap)
		}
		if m.subject != nil {
			m.subject(&subject)
		}
		for _, name := range m.cases {
			c, ok := byName[name]
			if !ok {
				t.Errorf("there is no case %q", name)
				continue
			}
			rec := record(t, subject, c, m.twice)
			if !rec.Failed() || rec.skipped {
				t.Errorf("%q has not failed with a store where %s; its rule: %s", name, m.name, c.rule)
			}
			t.Logf("%s, when %s:\n\t%s", name, m.name, rec.text())
		}
	}
}

// TestEveryCaseHasAMutant shows that no case passes whatever the store does.
func TestEveryCaseHasAMutant(t *testing.T) {
	noticed := map[string]bool{}
	for _, m := range mutants() {
		for _, name := range m.cases {
			noticed[name] = noticed[name] || !m.twice
		}
	}
	seen := map[string]bool{}
	for _, c := range storeCases() {
		if !noticed[c.name] {
			t.Errorf("no mutant shows that the case %q can fail", c.name)
		}
		if seen[c.name] || c.rule == "" || c.why == "" {
			t.Errorf("the case %q is there twice, or without a rule or a reason", c.name)
		}
		seen[c.name] = true
	}
}

// TestASoundStoreFailsNoCase is what the mutants are compared with.
func TestASoundStoreFailsNoCase(t *testing.T) {
	subject := inMemory(sound)
	for _, c := range storeCases() {
		for _, twice := range []bool{false, true} {
			if rec := record(t, subject, c, twice); rec.Failed() || rec.skipped {
				t.Errorf("%s, twice: %t:\n\t%s", c.name, twice, rec.text())
			}
		}
	}
}

// twiceMutants answer a call that is repeated by something else.
func twiceMutants() []mutant {
	ctx := context.Background()
	return []mutant{
		{
			name: "a repeated create finds what the first has made", cases: []string{"CreatedIsKeptAsItWas", "DueIsClaimed"}, twice: true,
			wrap: onCreate(newRun()),
		},
		{
			name: "a repeated write is another", cases: []string{"WriteReplacesHeadAndItsCells", "ConsumedIsGone"}, twice: true,
			wrap: onWrite(newWriteID()),
		},
		{
			name: "a repeated claim is another", cases: []string{"DueIsClaimed", "LapsedIsClaimed", "NeverTwoOwners"}, twice: true,
			wrap: onClaim(newClaimID()),
		},
		{
			name: "a repeated delivery is another", cases: []string{"DeliveredIsInTheInboxInOrder"}, twice: true,
			wrap: deliverAgain,
		},
		{
			name: "a repeated release is an error", cases: []string{"ReleasedIsClaimedAtOnce"}, twice: true,
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, release: func(_ context.Context, i store.Instance, held []store.Held) error {
					for _, h := range held {
						if x, err := s.Load(ctx, h.Key); err != nil || x.Owner != i {
							return store.ErrFenced
						}
					}
					return s.Release(ctx, i, held)
				}}
			},
		},
		{
			name: "a repeated end is an error", cases: []string{"EndReleasesAtOnce"}, twice: true,
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, end: func(_ context.Context, i store.Instance) error {
					if _, err := s.Claim(ctx, store.Claim{Instance: i}); err != nil {
						return err
					}
					return s.End(ctx, i)
				}}
			},
		},
		{
			name: "a repeated forget is an error", cases: []string{"ForgetDeletesTheFinished"}, twice: true,
			wrap: func(s store.Store) store.Store {
				return &faulty{Store: s, forget: func(_ context.Context, key store.Key, run string) error {
					if _, err := s.Load(ctx, key); err != nil {
						return err
					}
					return s.Forget(ctx, key, run)
				}}
			},
		},
	}
}
