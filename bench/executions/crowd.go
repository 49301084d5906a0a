package executions

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/lockstep-dev/lockstep/bench/durable"
)

// crowd are callers side by side, each of which has one workflow run after the other.
type crowd struct {
	runner durable.Runner
	wg     sync.WaitGroup

	mu       sync.Mutex
	changed  *sync.Cond
	begun    int // how many workflows were
	done     int // how many have ended
	stopped  bool
	counting bool
	waits    []time.Duration
	err      error
}

func newCrowd(ctx context.Context, runner durable.Runner, callers int) *crowd {
	c := &crowd{runner: runner}
	c.changed = sync.NewCond(&c.mu)
	for range callers {
		c.wg.Go(func() {
			for n := c.number(); n > 0; n = c.number() {
				began := time.Now()
				got, err := runner.Run(ctx, n)
				c.note(time.Since(began), durable.Check(n, got, err))
			}
		})
	}
	return c
}

// number returns the number of the next workflow, zero when there is to be none.
func (c *crowd) number() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return 0
	}
	c.begun++
	return c.begun
}

func (c *crowd) note(took time.Duration, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done++
	if err != nil {
		c.err = errors.Join(c.err, err)
		c.stopped = true
	} else if c.counting {
		c.waits = append(c.waits, took)
	}
	c.changed.Signal()
}

// until waits for so long, and for so many workflows to have ended, or for a failure.
func (c *crowd) until(d time.Duration, done int) {
	time.Sleep(d)
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.done < done && !c.stopped {
		c.changed.Wait()
	}
}

// count begins to note how long each takes, and returns how many have ended before.
func (c *crowd) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counting = true
	return c.done
}

// counted returns how long those have taken that have ended since, and ends the counting.
func (c *crowd) counted() []time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counting = false
	return c.waits
}

// stop waits for the callers to be done, and returns what has failed.
func (c *crowd) stop() error {
	c.mu.Lock()
	c.stopped = true
	c.mu.Unlock()
	c.wg.Wait()
	return c.err
}
