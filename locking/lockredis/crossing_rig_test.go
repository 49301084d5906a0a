package lockredis_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockstep-dev/lockstep/internal/rediskit"
	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

// crossings is a cluster of three servers for circles over its slots.
type crossings struct {
	t       *testing.T
	servers []*redistest.Server
	made    *atomic.Int64 // how many keys and namespaces there are
	pace    *pace
	ns      string
}

func newCrossings(t *testing.T) *crossings {
	t.Helper()
	servers := redistest.StartCluster(t, 3, 0).Masters
	return (&crossings{t: t, servers: servers, made: new(atomic.Int64), pace: startPace(t, servers)}).in(t)
}

// in is the cluster for a test within a test, whose owners are its own.
func (c *crossings) in(t *testing.T) *crossings {
	return &crossings{t, c.servers, c.made, c.pace, fmt.Sprintf("n%d:", c.made.Add(1))}
}

func (c *crossings) client() *redis.ClusterClient {
	var addrs []string
	for _, s := range c.servers {
		addrs = append(addrs, s.Addr())
	}
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs})
	c.t.Cleanup(func() { client.Close() })
	return client
}

// process is a provider with a connection of its own.
func (c *crossings) process(told func(driver.Event)) *rig { return c.at(c.client(), told) }

func (c *crossings) at(client *redis.ClusterClient, told func(driver.Event)) *rig {
	c.t.Helper()
	p, err := startTold(c.t, lockredis.Config{Client: client, Namespace: c.ns}, told)
	if err != nil {
		c.t.Fatal(err)
	}
	return &rig{p, c.t, c.servers[0], nil}
}

func (c *crossings) slot(key string) int { return rediskit.Slot(c.ns + key) }

// keys are new ones, n of them up to three, each on another server, in the order of their
// slots.
func (c *crossings) keys(n int) []string {
	keys := make([]string, 3)
	for slices.Contains(keys, "") {
		key := fmt.Sprint("k", c.made.Add(1))
		keys[c.slot(key)*3/rediskit.Slots] = key
	}
	return keys[:n]
}

// beside is another key in the slot of one.
func (c *crossings) beside(key string) string {
	for i := 0; ; i++ {
		if other := fmt.Sprint("beside", i); c.slot(other) == c.slot(key) {
			return other
		}
	}
}

// waits asks for a key, and returns when that stands in the queue.
func (r *rig) waits(req driver.Request) <-chan outcome {
	r.t.Helper()
	key := req.Keys[len(req.Keys)-1]
	before := r.state(key).Waiting
	req.Wait = time.Minute
	got := r.ask(req)
	redistest.Eventually(r.t, 10*time.Second, func() string {
		if s := r.state(key); s.Waiting <= before {
			return fmt.Sprintf("%q does not wait: of %q is told %+v", req.Owner, key, s)
		}
		return ""
	})
	return got
}

// circleOf is what a call got that was the victim of a circle.
func (c *crossings) circleOf(got <-chan outcome, since time.Time, want ...driver.Wait) {
	c.t.Helper()
	o := asked(c.t, got, 10*time.Second, "the victim")
	c.foundInTime(since, o.at)
	sameCircle(c.t, o.err, want)
}

// foundInTime says that a circle, closed then, was found within three times what is promised,
// and some more for a machine that others use, too.
func (c *crossings) foundInTime(closed, found time.Time) {
	c.t.Helper()
	trip := c.pace.mean(closed, found)
	promised := 500*time.Millisecond + circleTrips*trip
	took := found.Sub(closed)
	c.t.Logf("found after %s; promised are a tick and %d round trips of %s: %s",
		took.Round(time.Millisecond), circleTrips, trip.Round(10*time.Microsecond), promised.Round(time.Millisecond))
	if took > 3*promised+500*time.Millisecond {
		c.t.Errorf("it was found after %s", took)
	}
}

func sameCircle(t *testing.T, err error, want []driver.Wait) {
	t.Helper()
	var circle *driver.DeadlockError
	if !errors.As(err, &circle) {
		t.Fatalf("got %v, want a deadlock", err)
	}
	if !slices.Equal(circle.Cycle, want) {
		t.Errorf("the circle is %+v, want %+v", circle.Cycle, want)
	}
}

// goesOn says that a call waits still, and gets the lock when it is given back.
func goesOn(t *testing.T, got <-chan outcome, free func()) driver.Grant {
	t.Helper()
	select {
	case o := <-got:
		t.Fatalf("the other one ended, too: %+v, %v", o.grant, o.err)
	default:
	}
	free()
	return granted(t, got, 5*time.Second, "the other one")
}

func wants(owner, key string) driver.Request {
	return driver.Request{Keys: []string{key}, Owner: owner, TTL: time.Minute}
}

// looks calls functions, once each: before a circle of two is looked at again, and before
// the call after that.
type looks struct {
	redis.Hook

	second, after atomic.Pointer[func()]
	looked        atomic.Bool
}

func (h *looks) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *looks) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if h.looked.Load() && strings.HasPrefix(cmd.Name(), "eval") {
			if f := h.after.Swap(nil); f != nil {
				(*f)()
			}
		}
		return next(ctx, cmd)
	}
}

func (h *looks) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		waits := 0
		for _, cmd := range cmds {
			if cmd.Name() == "zscore" {
				waits++
			}
		}
		if waits == 2 {
			if f := h.second.Swap(nil); f != nil {
				(*f)()
			}
			h.looked.Store(true)
		}
		return next(ctx, cmds)
	}
}

// publishedFor are the keys that have what is published for the owners.
func (c *crossings) publishedFor(owners ...string) (found []string) {
	c.t.Helper()
	for _, s := range c.servers {
		for keys := s.Client().Scan(bg, 0, "~lockstep:{*}:@*:"+c.ns+":e:*", 1000).Iterator(); keys.Next(bg); {
			if slices.ContainsFunc(owners, func(o string) bool { return strings.HasSuffix(keys.Val(), ":"+c.ns+":e:"+o) }) {
				found = append(found, keys.Val())
			}
		}
	}
	slices.SortFunc(found, cmp.Compare[string])
	return found
}
