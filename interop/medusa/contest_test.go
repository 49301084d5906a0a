package medusa_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"sync"
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

// over is when it stood in nobody's way any more.
func (t turn) over() float64 { return cmp.Or(t.Ended, t.GaveUp) }

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
	mostlyFree      bool          // the key is: neither side starves, and both are served often
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
