package lockredis_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/internal/lockhistory"
	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

// faults are protocols that are broken in one place.
var faults = map[string][]lockredis.Fault{
	"a release does not compare the token": {{
		File: "release.lua",
		Old:  "elseif current == token then",
		New:  "elseif had == owner then",
	}},
	"a release does not compare the owner": {{
		File: "release.lua",
		Old:  "return had == owner and 1 or 0, tickets",
		New:  "return 1, tickets",
	}, {
		File: "release.lua",
		Old:  "local own, tickets = compare(lock, KEYS[6], value, value and call('HGET', KEYS[4], lock), owner, ARGV[4])",
		New:  "local own, tickets = compare(lock, KEYS[6], value, value and call('HGET', KEYS[4], lock), owner, ARGV[4])\n  owner = value or owner",
	}},
	"a hand-over goes to the last in line": {{
		File: "release.lua",
		Old:  "local first = call('ZPOPMIN', queue)",
		New:  "local first = call('ZPOPMAX', queue)",
	}},
	"a hand-over goes to several at once": {{
		File: "release.lua",
		Old:  "return 'done'",
		New:  "hand_over(lock, queue)\n        return 'done'",
	}},
	"tokens do not rise": {{
		File: "plain.lua",
		Old:  "if last and (#last ~= 16 or last >= token) then",
		New:  "if last then\n    return last\n  end\n  if false then",
	}},
	"an extend revives a lapsed hold that another has by now": {{
		File: "extend.lua",
		Old:  "if not r or r.owner ~= owner or r.token ~= token then",
		New: `if r and r.owner ~= owner then
    r = { owner = owner, epoch = 0, attempt = 0, token = token, request = 'revived.1', process = 'revived' }
    r.expires = wanted
    keep(lock, r)
  end
  if not r or r.owner ~= owner or r.token ~= token then`,
	}},
	"a cancel frees what another one has": {{
		File: "cancel.lua",
		Old:  "local r = holder(lock) == owner and record(lock)",
		New:  "local r = holder(lock) and record(lock)",
	}, {
		File: "cancel.lua",
		Old:  "if r and of(r, id) and not later(r)",
		New:  "if r and not later(r)",
	}, {
		File: "cancel.lua",
		Old:  "if #others == 0 then",
		New:  "if true then",
	}},
	"a takeover keeps the token": {{
		File: "queue.lua",
		Old:  "token = mint(), expires = expires,",
		New:  "token = type(own) == 'table' and own.token or mint(), expires = expires,",
	}},
	"an earlier generation takes over from a later one": {{
		File: "queue.lua",
		Old:  "if r and (r.revoked or w.epoch < r.epoch or (w.epoch == r.epoch and w.attempt < r.attempt)) then",
		New:  "if r and r.revoked then",
	}},
	"what was taken by force goes on at once": {{
		File: "force.lua",
		Old:  "if at_once then",
		New:  "if true then",
	}},
	"a lock lapses before its time": {{
		File: "acquire.lua",
		Old:  "expires = format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) + ttl)",
		New:  "expires = format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) + math.floor(ttl / 3))",
	}},
	"who asks for a free key goes before those that wait for it": {{
		File: "acquire.lua",
		Old:  "if values and not values[1] and call('EXISTS', queue) == 0 then",
		New:  "if values and not values[1] then",
	}},
}

// foundWithin is how long a history may need to find a fault.
const foundWithin = time.Minute

func TestHistoriesFindABrokenProtocolWithinAMinute(t *testing.T) {
	for name, edits := range faults {
		t.Run(name, func(t *testing.T) {
			lockredis.Plant(t, edits...)
			server := redistest.Start(t)
			all := providers(t, 2, lockredis.Config{RedisURL: server.URL()})
			s, began, operations := seed(t), time.Now(), 0
			ctx, cancel := context.WithTimeout(t.Context(), foundWithin)
			defer cancel()
			for n := uint64(0); ctx.Err() == nil; n++ {
				h, err := briefly(ctx, s+n, 1000, all)
				if err != nil {
					t.Log(err)
					continue
				}
				operations += h.Total()
				if v := (lockhistory.Judge{Bound: foundWithin}).Check(h); len(v.Faults) > 0 {
					searched := strings.Count(strings.Join(v.Faults, "\n"), lockhistory.Unexplained)
					t.Logf("found after %s and %d operations, %d times, %d of them by the search; first: %.400s",
						time.Since(began).Round(time.Millisecond), operations, len(v.Faults), searched, v.Faults[0])
					return
				}
			}
			t.Errorf("not found within %s, in %d operations", foundWithin, operations)
		})
	}
}

// Else the test above would show nothing.
func TestHistoriesFindNothingInTheWholeProtocol(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	all := providers(t, 2, lockredis.Config{RedisURL: server.URL()})
	s := seed(t)
	for range 5 {
		h, err := recordAgain(t, func(t *testing.T) (lockhistory.History, error) {
			s++
			return briefly(t.Context(), s, 2000, all)
		})
		if err != nil {
			t.Skipf("skipped: %v", err)
		}
		judge(t, h, false)
	}
}

// briefly records a short history, of keys that none before it had, with so many operations
// of each process.
func briefly(ctx context.Context, seed uint64, ops int64, all []*lockredis.Provider) (lockhistory.History, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second) // a broken lock may be held for ever
	defer cancel()
	w := lockhistory.Workload{
		Seed: seed, Prefix: fmt.Sprint(seed, "-"), Ops: ops, Workers: 16, Keys: 6, Era: 500,
		Wait: 2 * time.Second, Full: 2500 * time.Millisecond, Forever: 20,
	}
	return together(runHistory(ctx, w, all)...)
}
