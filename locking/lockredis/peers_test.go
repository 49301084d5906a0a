package lockredis_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/internal/rediskit"
	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

// another is one more process at the rig's server.
func (r *rig) another() *rig {
	r.t.Helper()
	return r.at(configOf(r))
}

// at is one more process, configured in its own way.
func (r *rig) at(cfg lockredis.Config) *rig {
	r.t.Helper()
	p, _, err := start(r.t, cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	return &rig{p, r.t, r.server, r.redis}
}

// outcome is how a request ended.
type outcome struct {
	grant driver.Grant
	err   error
	at    time.Time
}

// ask sends a request in the background. It ends with the provider at the latest.
func (r *rig) ask(req driver.Request) <-chan outcome {
	got := make(chan outcome, 1)
	go func() {
		g, err := r.Acquire(bg, req)
		got <- outcome{g, err, time.Now()}
	}()
	return got
}

// asked is how a request ended that was to end within the bound.
func asked(t *testing.T, got <-chan outcome, bound time.Duration, what string) outcome {
	t.Helper()
	select {
	case o := <-got:
		return o
	case <-time.After(bound):
		t.Fatalf("%s: no answer within %s", what, bound)
		return outcome{}
	}
}

// granted is what a request got within the bound.
func granted(t *testing.T, got <-chan outcome, bound time.Duration, what string) driver.Grant {
	t.Helper()
	o := asked(t, got, bound, what)
	if o.err != nil {
		t.Fatalf("%s: %v", what, o.err)
	}
	return o.grant
}

// free gives back what was granted.
func (r *rig) free(g driver.Grant) {
	r.t.Helper()
	holds := make([]driver.Hold, len(g.Holds))
	for i, h := range g.Holds {
		holds[i] = h.Hold
	}
	freed, err := r.Release(bg, holds)
	for i := range freed {
		if !freed[i] {
			r.t.Errorf("%+v was gone before", holds[i])
		}
	}
	if err != nil {
		r.t.Error(err)
	}
}

// inLine waits until so many stand in the queue of a key of the default namespace,
// those included that are passed over.
func (r *rig) inLine(key string, n int64) {
	r.t.Helper()
	redistest.Eventually(r.t, 10*time.Second, func() string {
		if saw, err := r.redis.ZCard(bg, queueName(key)).Result(); err != nil || saw != n {
			return fmt.Sprintf("%d wait for %q, not %d (%v)", saw, key, n, err)
		}
		return ""
	})
}

// queueName is where those stand who wait for a key, on a server that is no cluster.
func queueName(key string) string {
	lock := lockredis.DefaultNamespace + key
	return fmt.Sprintf("~lockstep:{%s}:q:%s", rediskit.Tag(rediskit.Slot(lock)), lock)
}

// hubName is a key that all locks of the default namespace share, on a server that
// is no cluster.
func hubName(name string) string { return fmt.Sprintf("~lockstep:{%s}:%s", rediskit.Tag(0), name) }

// takenForDead forgets that any process lives.
func (r *rig) takenForDead() {
	r.t.Helper()
	names, err := r.redis.Keys(bg, hubName("p:*")).Result()
	if err == nil && len(names) > 0 {
		err = r.redis.Del(bg, names...).Err()
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// never watches for a while that something does not come about.
func never(t *testing.T, while time.Duration, check func() string) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(while); ; {
		if saw := check(); saw != "" {
			t.Fatal(saw)
		}
		select {
		case <-end:
			return
		case <-tick.C:
		}
	}
}
