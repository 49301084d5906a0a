package lockingtest

import (
	"fmt"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// sharedCases are about two providers with the same locks, as two processes have
// them.
func sharedCases() []providerCase {
	cases := []providerCase{
		{
			name: "ProvidersExclude",
			rule: "what was taken at one provider is held at the other, and its owner joins there",
			run: func(r *rig) {
				other := r.another()
				h := r.takeOne(ask("owner", "a"))
				if got := r.probe(other, "a"); got != "owner" {
					r.Errorf("at the other provider the holder is %q, want %q", got, "owner")
				}
				again := r.takeAt(other, ask("owner", "a"))[0]
				if !again.Joined || again.Token != h.Token {
					r.Errorf("at the other provider: joined %t, token %d; want joined, %d", again.Joined, again.Token, h.Token)
				}
			},
		},
		{
			name: "ProvidersExcludeUnderContention",
			rule: "of many callers at two providers at most one is inside at any moment",
			run: func(r *rig) {
				ps := []driver.Provider{r.p, r.another()}
				r.hammer(ps, func(worker int) string { return fmt.Sprintf("owner-%d", worker) }, nil)
			},
		},
		{
			name: "ProvidersShareTokens",
			rule: "the tokens of one key rise over all providers",
			run: func(r *rig) {
				r.hammerTokens(r.p, r.another())
			},
		},
		{
			name: "ReleaseElsewhere",
			rule: "a hold is freed, and a waiter served, through any provider",
			run: func(r *rig) {
				other := r.another()
				h := r.takeOne(ask("holder", "a"))
				c := r.startAt(other, waiting(ask("waiter", "a"), caseBound*r.patience))
				c.wantBlocked()
				r.wantFreed(true, h.Hold)
				got := c.wantGrant()[0]
				r.wantFreed(true, got.Hold)
				r.wantFree("a")
			},
		},
		{
			name: "ReleaseAllElsewhere",
			rule: "ReleaseAll frees what its owner took at any provider",
			run: func(r *rig) {
				r.takeAt(r.another(), ask("owner", "a", "b"))
				r.take(ask("owner", "c"))
				r.wantReleasedAll(3, "owner")
				r.wantFree("a", "b", "c")
			},
		},
		{
			name: "TakeoverElsewhere",
			rule: "a takeover at one provider revokes a hold of the other",
			run: func(r *rig) {
				h := r.takeOne(generation(ask("owner", "a"), 1, 1))
				r.takeAt(r.another(), generation(ask("owner", "a"), 2, 1))
				r.wantFreed(false, h.Hold)
				r.wantHeld("owner", "a")
			},
		},
		{
			name: "CloseFreesNothing",
			rule: "Close frees no lock: who knows its owner may free it at another provider",
			run: func(r *rig) {
				leaver := r.another()
				h := r.takeAt(leaver, ask("owner", "a"))[0]
				r.closeIt(leaver)
				r.wantHeld("owner", "a")
				r.wantFreed(true, h.Hold)
			},
		},
		{
			name: "TokensRiseOverRestart",
			rule: "a provider that starts later gives out higher tokens than one that was closed before",
			run: func(r *rig) {
				leaver := r.another()
				h := r.takeAt(leaver, ask("owner", "a"))[0]
				r.freeAt(leaver, h.Hold)
				r.closeIt(leaver)
				last := h.Token
				r.wantRise(&last, r.takeAt(r.another(), ask("owner", "a"))[0].Token)
			},
		},
	}
	for i := range cases {
		cases[i].shared = true
	}
	return cases
}
