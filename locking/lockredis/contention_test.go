package lockredis_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// contend has callers of three processes take a key in turn, each so many times,
// until all are done, and disturbs them all the while. It answers each caller's tokens.
//
// A grant that is lost, or made to nobody, costs the others 2 s, and what nobody states
// again 3 s: nobody is to wait for that. How long all turns take is the machine's affair.
func contend(t *testing.T, r *rig, callers, turns int, inside func(caller int, h driver.Hold), disturb func()) [][]driver.Token {
	t.Helper()
	processes := []*rig{r, r.another(), r.another()}
	tokens := make([][]driver.Token, callers)
	var served atomic.Int64
	var all sync.WaitGroup
	for c := range callers {
		p, owner := processes[c%len(processes)], "*"
		if c%2 == 1 {
			owner = fmt.Sprint("caller ", c)
		}
		all.Go(func() {
			for range turns {
				g, err := p.Acquire(bg, driver.Request{Keys: []string{"k"}, Owner: owner, TTL: time.Minute, Wait: time.Minute})
				if err != nil {
					t.Errorf("caller %d: %v", c, err)
					return
				}
				h := g.Holds[0].Hold
				tokens[c] = append(tokens[c], h.Token)
				served.Add(1)
				inside(c, h)
				if _, err := p.Release(bg, []driver.Hold{h}); err != nil {
					t.Errorf("caller %d: %v", c, err)
					return
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	const often, patience = 20 * time.Millisecond, 1500 * time.Millisecond
	tick := time.NewTicker(often) // there is none for the time that the machine does not run this
	defer tick.Stop()
	for before, quiet := int64(0), time.Duration(0); ; quiet += often {
		select {
		case <-done:
			return tokens
		case <-tick.C:
			disturb()
		}
		if n := served.Load(); n != before {
			before, quiet = n, 0
		} else if quiet > patience {
			t.Fatalf("after %d of %d turns nobody was served for %s; %d wait: %+v", n, callers*turns, quiet, r.state("k").Waiting, r.state("k"))
		}
	}
}

func TestScriptsThatAreForgottenInTheMidstOfContentionBreakNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var holders atomic.Int64
	var newest atomic.Uint64
	flushes := 0
	contend(t, r, 12, 60, func(c int, h driver.Hold) {
		if n := holders.Add(1); n != 1 {
			t.Errorf("caller %d is one of %d holders", c, n)
		}
		if last := newest.Swap(uint64(h.Token)); last >= uint64(h.Token) {
			t.Errorf("caller %d has token %d after %d", c, h.Token, last)
		}
		holders.Add(-1)
	}, func() {
		flushes++
		if err := r.redis.ScriptFlush(bg).Err(); err != nil {
			t.Error(err)
		}
	})
	if flushes < 3 {
		t.Errorf("%d flushes are no test", flushes)
	}
}

// The server forgets who has the lock, who waits, and the last token.
func TestAFlushInTheMidstOfContentionLeavesNobodyWaitingAndTokensRise(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	flushes := 0
	tokens := contend(t, r, 12, 100, func(int, driver.Hold) {}, func() {
		if flushes < 3 && r.redis.ZCard(bg, queueName("k")).Val() > 5 {
			flushes++
			if err := r.redis.FlushAll(bg).Err(); err != nil {
				t.Error(err)
			}
		}
	})
	seen := map[driver.Token]int{}
	for c, own := range tokens {
		for i, token := range own {
			if i > 0 && token <= own[i-1] {
				t.Errorf("caller %d has token %d after %d", c, token, own[i-1])
			}
			if other, twice := seen[token]; twice {
				t.Errorf("callers %d and %d both have token %d", other, c, token)
			}
			seen[token] = c
		}
	}
	if flushes < 2 {
		t.Errorf("%d flushes are no test", flushes)
	}
}
