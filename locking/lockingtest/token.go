package lockingtest

import (
	"errors"
	"fmt"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

func tokenCases() []providerCase {
	return []providerCase{
		{
			name: "TokensRiseOverRelease",
			rule: "each new hold on a key has a higher token than the one before, which was released",
			run: func(r *rig) {
				var last driver.Token
				for i := range 20 {
					h := r.takeOne(ask(fmt.Sprintf("owner-%d", i%3), "a"))
					r.wantRise(&last, h.Token)
					r.wantFreed(true, h.Hold)
				}
			},
		},
		{
			name: "TokensRiseOverLapse",
			rule: "the hold after one that lapsed has a higher token",
			run: func(r *rig) {
				var last driver.Token
				for range 3 {
					r.wantRise(&last, r.takeOne(lasting(ask("owner", "a"), instant)).Token)
					r.wantLapse("a")
				}
			},
		},
		{
			name: "TokensRiseOverTakeover",
			rule: "each takeover has a higher token than the hold it revokes",
			run: func(r *rig) {
				var last driver.Token
				for attempt := range uint64(10) {
					r.wantRise(&last, r.takeOne(generation(ask("owner", "a"), 1, attempt)).Token)
				}
			},
		},
		{
			name: "TokensRiseOverReleaseAll",
			rule: "the hold after one that ReleaseAll freed has a higher token",
			run: func(r *rig) {
				var last driver.Token
				for range 5 {
					r.wantRise(&last, r.takeOne(ask("owner", "a")).Token)
					r.wantReleasedAll(1, "owner")
				}
			},
		},
		{
			name: "TokensRiseUnderContention",
			rule: "the tokens of one key rise in the order in which its holders were inside, however many want it",
			run: func(r *rig) {
				r.hammerTokens(r.p)
			},
		},
	}
}

func (r *rig) wantRise(last *driver.Token, next driver.Token) {
	r.Helper()
	if next <= *last {
		r.Errorf("token %d comes after %d, want a higher one", next, *last)
	}
	*last = next
}

var errTokenFell = errors.New("a token is not higher than the one before")

// hammerTokens compares the tokens of all who enter one key.
func (r *rig) hammerTokens(ps ...driver.Provider) {
	r.Helper()
	// A buffered channel of one is the memory of the last token: unlike a plain
	// variable it is no data race when the lock fails to exclude.
	last := make(chan driver.Token, 1)
	last <- 0
	r.hammer(ps, func(int) string { return driver.Anonymous }, func(h driver.Hold) error {
		before := <-last
		last <- h.Token
		if h.Token <= before {
			return fmt.Errorf("%w: %d after %d", errTokenFell, h.Token, before)
		}
		return nil
	})
}
