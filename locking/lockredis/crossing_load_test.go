package lockredis_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

func TestOwnersThatTakeTheirLocksInOneOrderAreNeverGivenUp(t *testing.T) {
	t.Parallel()
	c := newCrossings(t)
	processes := []*rig{c.process(nil), c.process(nil)}
	const owners, rounds, work = 24, 20, 5 * time.Millisecond
	k := c.keys(3)
	pairs := [][2]string{{k[0], k[1]}, {k[1], k[2]}, {k[0], k[2]}}
	done := make(chan error, owners)
	for i := range owners {
		r, owner := processes[i%2], fmt.Sprint("o", i)
		go func() {
			for n := range rounds {
				if err := r.both(owner, pairs[(i+n)%3], work); err != nil {
					done <- fmt.Errorf("%s, round %d: %w", owner, n, err)
					return
				}
			}
			done <- nil
		}()
	}
	most := 0
	for left := owners; left > 0; {
		select {
		case err := <-done:
			if left--; err != nil {
				t.Error(err)
			}
		case <-time.After(20 * time.Millisecond):
			var all []string
			for i := range owners {
				all = append(all, fmt.Sprint("o", i))
			}
			most = max(most, len(c.publishedFor(all...)))
		}
	}
	t.Logf("%d waits were published at once", most)
	if most < 2 {
		t.Error("nothing was to be looked at")
	}
}

// both takes two keys, one after the other, and has them for a while.
func (r *rig) both(owner string, keys [2]string, work time.Duration) error {
	var holds []driver.Hold
	for _, key := range keys {
		g, err := r.Acquire(bg, driver.Request{Keys: []string{key}, Owner: owner, TTL: time.Minute, Wait: time.Minute})
		if err != nil {
			return err
		}
		holds = append(holds, g.Holds[0].Hold)
	}
	<-time.After(work)
	_, err := r.Release(bg, holds)
	return err
}
