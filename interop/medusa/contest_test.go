package medusa_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/locking"
)

var contestTime = flag.Duration("contest", 5*time.Second, "how long the two sides contend for a key")

// turn is one request for the key. Times are in ms since 1970; zero is never.
type turn struct {
	Asked  float64 `json:"asked"`
	Began  float64 `json:"began"`
	Ended  float64 `json:"ended"`
	GaveUp float64 `json:"gaveUp"`
}

// until is when its wait was over.
func (t turn) until() float64 { return cmp.Or(t.Began, t.GaveUp) }

// seen is what one side saw of a contest.
type seen struct {
	Turns    []turn   `json:"turns"`
	Overlaps int      `json:"overlaps"` // how often another was inside
	Errors   []string `json:"errors"`
}

// served says how often the side was inside.
func (s *seen) served() (n int) {
	for _, t := range s.Turns {
		if t.Began > 0 {
			n++
		}
	}
	return n
}

// contest is how two sides contend.
type contest struct {
	callers         int // of ours; Medusa has one
	inside, outside time.Duration
	wait            time.Duration // how long one call waits
}

// run has both sides contend for a key. Whoever is inside puts a witness of its own into
// Redis, and takes it away again: that it was there already, or is another's in the end,
// shows that two were inside.
func (c contest) run(b *both, during time.Duration) (ours, theirs *seen) {
	b.t.Helper()
	const key, witness = "prod_123", "witness"
	medusa := b.store.send("contend", map[string]any{
		"key": key, "witness": witness, "self": "medusa", "forMs": during.Milliseconds(),
		"insideMs": c.inside.Milliseconds(), "outsideMs": c.outside.Milliseconds(), "wait": c.wait.Seconds(),
	})
	ours, theirs = &seen{}, &seen{}
	var all sync.WaitGroup
	var mu sync.Mutex
	end := time.Now().Add(during)
	for i := range c.callers {
		self := fmt.Sprint("ours ", i)
		all.Go(func() {
			for time.Now().Before(end) {
				t, overlaps, err := c.turn(b, key, witness, self)
				mu.Lock()
				ours.Turns = append(ours.Turns, t)
				ours.Overlaps += overlaps
				if err != nil {
					ours.Errors = append(ours.Errors, err.Error())
				}
				mu.Unlock()
				pass(c.outside)
			}
		})
	}
	all.Wait()
	select {
	case <-medusa.done:
	case <-time.After(patience + c.wait):
		b.t.Fatalf("Medusa has not ended; it said: %s", b.store.words())
	}
	if medusa.err != nil {
		b.t.Fatal(medusa.err)
	}
	if err := json.Unmarshal(medusa.result, theirs); err != nil {
		b.t.Fatal(err)
	}
	return ours, theirs
}

// turn is one of our requests, and what comes of it.
func (c contest) turn(b *both, key, witness, self string) (t turn, overlaps int, err error) {
	t.Asked = millis()
	err = b.locks.Execute(bg, locking.Keys(key), func(ctx context.Context) error {
		t.Began = millis()
		if !b.redis.SetNX(ctx, witness, self, 0).Val() {
			overlaps++
		}
		pass(c.inside)
		if b.redis.GetDel(ctx, witness).Val() != self {
			overlaps++
		}
		t.Ended = millis()
		return ctx.Err()
	}, locking.Wait(c.wait))
	if err != nil {
		t.GaveUp = millis()
	}
	if errors.Is(err, locking.ErrTimeout) && t.Began == 0 {
		err = nil
	}
	return t, overlaps, err
}

func millis() float64 { return float64(time.Now().UnixMicro()) / 1000 }

// pass lets time pass that somebody spends on work.
func pass(d time.Duration) {
	if d > 0 {
		<-time.After(d)
	}
}

// idle is the longest time for which somebody of one side waited while nobody had the
// key. Others are the other side.
func (s *seen) idle(others *seen) time.Duration {
	var holds []turn
	for _, t := range append(slices.Clone(s.Turns), others.Turns...) {
		if t.Began > 0 {
			holds = append(holds, t)
		}
	}
	slices.SortFunc(holds, func(a, b turn) int { return cmp.Compare(a.Began, b.Began) })
	longest := 0.0
	for _, t := range s.Turns {
		from := t.Asked
		first, _ := slices.BinarySearchFunc(holds, from, func(h turn, at float64) int { return cmp.Compare(h.Ended, at) })
		for _, h := range holds[first:] {
			if h.Began >= t.until() {
				break
			}
			longest = max(longest, h.Began-from)
			from = max(from, h.Ended)
		}
		longest = max(longest, t.until()-from)
	}
	return time.Duration(longest * float64(time.Millisecond))
}

// report prints what a side saw.
func (s *seen) report(t *testing.T, name string, others *seen) {
	t.Helper()
	var waits []float64
	for _, turn := range s.Turns {
		waits = append(waits, turn.until()-turn.Asked)
	}
	if len(waits) == 0 {
		t.Errorf("%s never asked", name)
		return
	}
	slices.Sort(waits)
	at := func(q float64) float64 { return waits[int(q*float64(len(waits)-1))] }
	t.Logf("%s: served %d of %d times; waited p50 %.1f ms, p99 %.1f ms, longest %.1f ms; longest while nobody had the key %.1f ms",
		name, s.served(), len(waits), at(0.5), at(0.99), at(1), s.idle(others).Seconds()*1000)
}

// judged checks that never two were inside, that nothing went wrong, and that nobody
// waited for a free key longer than its provider's interval, three times that at the most.
func (c contest) judged(b *both, during time.Duration) (ours, theirs *seen) {
	b.t.Helper()
	ours, theirs = c.run(b, during)
	b.t.Logf("for %s, each inside %s and outside %s", during, c.inside, c.outside)
	ours.report(b.t, fmt.Sprintf("ours (%d callers)", c.callers), theirs)
	theirs.report(b.t, "Medusa (1 caller)", ours)
	if n := ours.Overlaps + theirs.Overlaps; n > 0 {
		b.t.Errorf("two were inside %d times", n)
	}
	if list := slices.Concat(ours.Errors, theirs.Errors); len(list) > 0 {
		b.t.Errorf("errors: %q", list)
	}
	if d := ours.idle(theirs); d > 3*ourTick {
		b.t.Errorf("we waited for %s while nobody had the key; a tick is %s", d, ourTick)
	}
	if d := theirs.idle(ours); d > 3*storeRetry {
		b.t.Errorf("Medusa waited for %s while nobody had the key; it polls at least every %s", d, storeRetry)
	}
	return ours, theirs
}
