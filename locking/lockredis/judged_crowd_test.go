package lockredis_test

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// crowd is many requests for one key, in one process or several.
type crowd struct {
	t *testing.T

	running sync.WaitGroup
	mu      sync.Mutex
	grants  map[string][]driver.Token // by owner
	at      []time.Time               // of each grant
}

// gather has so many wait for "k", each of which gives the key back when it gets it.
// They come in waves, as many at a time as are known to wait before the next ones come.
func gather(waiters, wave int, processes ...*rig) *crowd {
	r := processes[0]
	r.t.Helper()
	c := &crowd{t: r.t, grants: make(map[string][]driver.Token, waiters)}
	for i := range waiters {
		c.running.Go(func() { c.request(processes[i%len(processes)], fmt.Sprintf("waiter-%05d", i)) })
		if (i+1)%wave == 0 {
			r.queued("k", i+1)
		}
	}
	r.queued("k", waiters)
	return c
}

func (c *crowd) request(r *rig, owner string) {
	g, err := r.Acquire(bg, driver.Request{Keys: []string{"k"}, Owner: owner, TTL: time.Minute, Wait: 2 * time.Minute})
	if err != nil {
		c.t.Errorf("%s: %v", owner, err)
		return
	}
	c.note(owner, g)
	r.free(g)
}

func (c *crowd) note(owner string, g driver.Grant) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.grants[owner] = append(c.grants[owner], g.Holds[0].Token)
	c.at = append(c.at, time.Now())
}

// served is how many were.
func (c *crowd) served() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.at)
}

// inOrder fails the test unless each owner was served once, and in the order that is
// given; those of one wave may come in any order.
func (c *crowd) inOrder(order [][]string) {
	c.t.Helper()
	var last driver.Token
	for _, wave := range order {
		before := last
		for _, owner := range wave {
			tokens := c.grants[owner]
			if len(tokens) != 1 {
				c.t.Errorf("%s was served %d times", owner, len(tokens))
				continue
			}
			if tokens[0] <= before {
				c.t.Errorf("%s has token %d, and one ahead of it %d", owner, tokens[0], before)
			}
			last = max(last, tokens[0])
		}
		if c.t.Failed() {
			return
		}
	}
}

// lineUp is the order of the first who wait, of at most so many.
func (r *rig) lineUp(most int) []string {
	r.t.Helper()
	s, err := r.Inspect(bg, "k", most)
	if err != nil {
		r.t.Fatal(err)
	}
	var owners []string
	for _, w := range s.Waiters {
		owners = append(owners, w.Owner)
	}
	return owners
}

// one makes each a wave of its own.
func one(owners []string) [][]string {
	var order [][]string
	for _, o := range owners {
		order = append(order, []string{o})
	}
	return order
}

// connections returns how many connections of a kind the server has, as it names them
// in CLIENT LIST; without a kind all of them.
func (r *rig) connections(kind ...any) int {
	r.t.Helper()
	list, err := r.redis.Do(bg, append([]any{"client", "list"}, kind...)...).Text()
	if err != nil {
		r.t.Fatal(err)
	}
	return strings.Count(list, "\n")
}

func (r *rig) pushConnections() int { return r.connections("type", "pubsub") }

func TestThousandsOfWaitersInOneProcessHaveOneSubscriptionAndAreServedOnceEachInOrder(t *testing.T) {
	r := newRig(t)
	held := r.take("holder", 0, "k")
	const wave = 100
	start, before := time.Now(), runtime.NumGoroutine()
	c := gather(judgedWaiters, wave, r)
	enqueued := time.Since(start)
	channels := r.redis.PubSubChannels(bg, "*").Val()
	if n := r.pushConnections(); n != 1 || len(channels) > 2 {
		t.Errorf("%d push connections, subscribed to %q", n, channels)
	}
	if n := runtime.NumGoroutine() - before - judgedWaiters; n > 50 {
		t.Errorf("%d goroutines beside the %d callers", n, judgedWaiters)
	}
	// The process's pool has at most 20 on two cores; the rest are push, tracking and this test.
	if n, most := r.connections(), 10*runtime.GOMAXPROCS(0)+8; n > most {
		t.Errorf("%d connections, want at most %d", n, most)
	}
	ahead := r.lineUp(1000)
	order := one(ahead)
	for i := len(ahead); i < judgedWaiters; i += wave {
		var owners []string
		for j := range wave {
			owners = append(owners, fmt.Sprintf("waiter-%05d", i+j))
		}
		order = append(order, owners)
	}
	start = time.Now()
	r.free(held)
	c.running.Wait()
	served := time.Since(start)
	t.Logf("%d waiters (10,000 without the race detector): enqueued in %s, served in %s, %.0f hand-offs/s", judgedWaiters,
		enqueued.Round(time.Millisecond), served.Round(time.Millisecond), judgedWaiters/served.Seconds())
	c.inOrder(order)
	r.take("after all", time.Second, "k")
}
