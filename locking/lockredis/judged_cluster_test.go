package lockredis_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking/driver"
)

// Keys of three slots, one at each node, 16 callers who ask for them in random orders, and
// a node that is killed and started again meanwhile.
func TestOnAClusterWhoseNodeIsRestartedEveryCallerIsServedOrToldWhy(t *testing.T) {
	for name, args := range map[string][]string{
		"with its data":    {"--appendonly", "yes", "--appendfsync", "always"},
		"without its data": nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// Clients are to meet the node that restarts, not a cluster which counts as failed.
			c := redistest.StartCluster(t, 3, 0, append([]string{"--cluster-require-full-coverage", "no"}, args...)...)
			keys := []string{keyOn(c, c.Masters[0], 0), keyOn(c, c.Masters[1], 0), keyOn(c, c.Masters[2], 0)}
			rigs := []*rig{nodeRig(t, c, c.Masters[0]), nodeRig(t, c, c.Masters[0])}
			crowd := newClusterCrowd(keys, len(args) > 0)
			for i := range 16 {
				crowd.callers.Go(func() { crowd.call(rigs[i%2], i) })
			}
			crowd.progress(t, 50)
			for _, node := range []*redistest.Server{c.Masters[1], c.Masters[2]} {
				node.Restart()
				c.Healthy()
				crowd.progress(t, 50)
			}
			close(crowd.stop)
			crowd.callers.Wait()
			t.Logf("%d requests were served, %d were told why not: %q", crowd.served.Load(), len(crowd.told), crowd.reasons())
			for _, err := range crowd.broken {
				t.Error(err)
			}
			redistest.Eventually(t, 10*time.Second, func() string { // what an unanswered call took is given back by a tick
				for _, k := range keys {
					if s, err := rigs[0].Inspect(bg, k, 10); err != nil || s.Held || s.Waiting > 0 {
						return fmt.Sprintf("%q is left: %+v, %v", k, s, err)
					}
				}
				return ""
			})
			rigs[1].free(rigs[1].take("me", 0, slices.Sorted(slices.Values(keys))...))
		})
	}
}

// clusterCrowd is callers who ask for random keys again and again.
type clusterCrowd struct {
	keys    []string
	durable bool // no node forgets: then no two are ever inside, and none loses its lock
	stop    chan struct{}
	callers sync.WaitGroup
	inside  [3]atomic.Int64
	served  atomic.Int64

	mu     sync.Mutex
	told   []error
	broken []error
}

func newClusterCrowd(keys []string, durable bool) *clusterCrowd {
	return &clusterCrowd{keys: keys, durable: durable, stop: make(chan struct{})}
}

// call asks until it is told to stop. A caller gets what it asked for, or an error, within
// the time that it gave.
func (c *clusterCrowd) call(r *rig, number int) {
	rng := rand.New(rand.NewPCG(uint64(number), 7))
	for {
		select {
		case <-c.stop:
			return
		default:
		}
		places := rng.Perm(3)[:1+rng.IntN(3)]
		var keys []string
		for _, i := range places {
			keys = append(keys, c.keys[i])
		}
		slices.Sort(keys)
		began := time.Now()
		g, err := r.Acquire(bg, driver.Request{Keys: keys, Owner: "*", TTL: 20 * time.Second, Wait: 15 * time.Second})
		if took := time.Since(began); took > 20*time.Second {
			c.note(&c.broken, fmt.Errorf("caller %d was answered after %s", number, took))
		}
		if err != nil {
			c.note(&c.told, err)
			continue
		}
		for _, i := range places {
			if n := c.inside[i].Add(1); n != 1 && c.durable {
				c.note(&c.broken, fmt.Errorf("%d are inside %q", n, c.keys[i]))
			}
		}
		time.Sleep(time.Millisecond) // whoever is let in beside this one has the time to come
		c.served.Add(1)
		for _, i := range places {
			c.inside[i].Add(-1)
		}
		c.giveBack(r, g)
	}
}

// giveBack releases until there is an answer: a node may be down just now.
func (c *clusterCrowd) giveBack(r *rig, g driver.Grant) {
	var holds []driver.Hold
	for _, h := range g.Holds {
		holds = append(holds, h.Hold)
	}
	for end, again := time.Now().Add(15*time.Second), false; ; again = true {
		freed, err := r.Release(bg, holds)
		if err == nil {
			// A call that failed at one node has freed what is at the others, and an offer may
			// lapse while its node is down.
			for i, h := range g.Holds {
				if !freed[i] && time.Now().Before(h.Until) && c.durable && !again {
					c.note(&c.broken, fmt.Errorf("a lock was lost on a cluster that forgets nothing: %v of %+v", freed, g.Holds))
				}
			}
			return
		}
		c.note(&c.told, err)
		if time.Now().After(end) {
			c.note(&c.broken, fmt.Errorf("a release gets no answer: %w", err))
			return
		}
	}
}

func (c *clusterCrowd) note(list *[]error, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*list = append(*list, err)
}

// reasons are the kinds of errors that callers were told.
func (c *clusterCrowd) reasons() (kinds []string) {
	for _, err := range c.told {
		kind := fmt.Sprintf("%.60s", err)
		if errors.Is(err, driver.ErrTimeout) {
			kind = "timeout"
		}
		if !slices.Contains(kinds, kind) && len(kinds) < 8 {
			kinds = append(kinds, kind)
		}
	}
	return kinds
}

// progress waits until so many more were served.
func (c *clusterCrowd) progress(t *testing.T, n int64) {
	t.Helper()
	before := c.served.Load()
	redistest.Eventually(t, 40*time.Second, func() string {
		if got := c.served.Load() - before; got < n {
			c.mu.Lock()
			defer c.mu.Unlock()
			return fmt.Sprintf("%d served, told %d: %.300q", got, len(c.told), c.told[max(0, len(c.told)-2):])
		}
		return ""
	})
}
