package medusa_test

import (
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
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

var contestTime = flag.Duration("contest", 5*time.Second, "how long the two sides contend for a key")

// turns is what one side saw of a contest. Times are in ms: Medusa's come as JSON.
type turns struct {
	Turns    int       `json:"turns"`
	Overlaps int       `json:"overlaps"` // how often another was inside
	Waits    []float64 `json:"waits"`
	Timeouts int       `json:"timeouts"` // waits that ended without the lock
	Errors   []string  `json:"errors"`
}

func (s *turns) String() string {
	sorted := slices.Sorted(slices.Values(s.Waits))
	if len(sorted) == 0 {
		return fmt.Sprintf("%+v", *s)
	}
	at := func(q float64) float64 { return sorted[int(q*float64(len(sorted)-1))] }
	return fmt.Sprintf("%d turns, waited p50 %.1f ms, p99 %.1f ms, longest %.1f ms, %d timeouts, %d overlaps, errors %q",
		s.Turns, at(0.5), at(0.99), at(1), s.Timeouts, s.Overlaps, s.Errors)
}

func (s *turns) longest() time.Duration {
	if len(s.Waits) == 0 {
		return time.Hour // it has waited in vain
	}
	return time.Duration(slices.Max(s.Waits) * float64(time.Millisecond))
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
func (c contest) run(b *both) (ours, theirs *turns) {
	b.t.Helper()
	const key, witness = "prod_123", "witness"
	b.redis.Del(bg, witness)
	medusa := b.store.send("contend", map[string]any{
		"key": key, "witness": witness, "self": "medusa", "forMs": contestTime.Milliseconds(),
		"insideMs": c.inside.Milliseconds(), "outsideMs": c.outside.Milliseconds(), "wait": c.wait.Seconds(),
	})
	ours, theirs = &turns{}, &turns{}
	var all sync.WaitGroup
	var mu sync.Mutex
	end := time.Now().Add(*contestTime)
	for i := range c.callers {
		self := fmt.Sprint("ours ", i)
		all.Go(func() {
			for time.Now().Before(end) {
				asked := time.Now()
				began := asked
				overlaps := 0
				err := b.locks.Execute(bg, locking.Keys(key), func(ctx context.Context) error {
					began = time.Now()
					if !b.redis.SetNX(ctx, witness, self, 0).Val() {
						overlaps++
					}
					pass(c.inside)
					if b.redis.GetDel(ctx, witness).Val() != self {
						overlaps++
					}
					return ctx.Err()
				}, locking.Wait(c.wait))
				mu.Lock()
				switch {
				case err == nil:
					ours.Turns++
				case errors.Is(err, locking.ErrTimeout):
					ours.Timeouts++
					began = time.Now()
				default:
					ours.Errors = append(ours.Errors, err.Error())
				}
				ours.Overlaps += overlaps
				ours.Waits = append(ours.Waits, began.Sub(asked).Seconds()*1000)
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
	b.t.Logf("for %s, each inside %s and outside %s", *contestTime, c.inside, c.outside)
	b.t.Logf("ours (%d callers): %s", c.callers, ours)
	b.t.Logf("Medusa (1 caller): %s", theirs)
	return ours, theirs
}

// pass lets time pass that somebody spends on work.
func pass(d time.Duration) {
	if d > 0 {
		<-time.After(d)
	}
}

// exclusive checks that never two were inside, and that nothing went wrong.
func (c contest) exclusive(b *both) (ours, theirs *turns) {
	b.t.Helper()
	ours, theirs = c.run(b)
	if n := ours.Overlaps + theirs.Overlaps; n > 0 {
		b.t.Errorf("two were inside %d times", n)
	}
	for _, s := range []*turns{ours, theirs} {
		if len(s.Errors) > 0 {
			b.t.Errorf("errors: %q", s.Errors)
		}
	}
	return ours, theirs
}

func TestNeverTwoAreInsideAndNeitherSideStarves(t *testing.T) {
	ours, theirs := contest{callers: 1, inside: 5 * time.Millisecond, outside: 5 * time.Millisecond, wait: 5 * time.Second}.exclusive(startBoth(t))
	if d := ours.longest(); d > ourTick {
		t.Errorf("we waited for %s, a tick is %s", d, ourTick)
	}
	if d := theirs.longest(); d > storeRetry {
		t.Errorf("Medusa waited for %s; it polls at least every %s", d, storeRetry)
	}
}

func TestTheWitnessSeesTwoWhoDoNotExcludeEachOther(t *testing.T) {
	b := startBoth(t)
	b.locks = startService(t, lockredis.Config{RedisURL: b.server.URL(), Namespace: "elsewhere:"})
	before := *contestTime
	*contestTime = time.Second
	defer func() { *contestTime = before }()
	ours, theirs := contest{callers: 1, inside: 5 * time.Millisecond, wait: 5 * time.Second}.run(b)
	if ours.Overlaps+theirs.Overlaps == 0 {
		t.Error("they share no lock, and the witness saw nothing")
	}
}

func TestExplore(t *testing.T) {
	for _, c := range []contest{
		{1, 5 * time.Millisecond, 0, 5 * time.Second},
		{1, 5 * time.Millisecond, 1 * time.Millisecond, 5 * time.Second},
		{1, 5 * time.Millisecond, 20 * time.Millisecond, 5 * time.Second},
		{2, 5 * time.Millisecond, 5 * time.Millisecond, 5 * time.Second},
		{4, 5 * time.Millisecond, 5 * time.Millisecond, 5 * time.Second},
		{4, 5 * time.Millisecond, 50 * time.Millisecond, 5 * time.Second},
		{8, 5 * time.Millisecond, 0, 5 * time.Second},
	} {
		t.Run(fmt.Sprint(c), func(t *testing.T) { c.exclusive(startBoth(t)) })
	}
}
