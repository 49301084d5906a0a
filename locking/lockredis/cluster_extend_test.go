package lockredis_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

// holdsOf are the holds of grants.
func holdsOf(grants ...driver.Grant) (holds []driver.Hold) {
	for _, g := range grants {
		for _, h := range g.Holds {
			holds = append(holds, h.Hold)
		}
	}
	return holds
}

func TestOnAClusterANodeThatDoesNotAnswerCostsItsOwnHoldsAloneTheirExtension(t *testing.T) {
	t.Parallel()
	for name, of := range map[string]func(c *redistest.Cluster) lockredis.Config{
		"by a URL": func(c *redistest.Cluster) lockredis.Config { return lockredis.Config{RedisURL: c.Masters[1].URL()} },
		"by a client that hangs for longer than the context lasts": func(c *redistest.Cluster) lockredis.Config {
			return lockredis.Config{Client: c.Client()}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := redistest.StartCluster(t, 3, 0, "--cluster-node-timeout", "60000")
			r := (&rig{t: t}).at(of(c))
			stuck := c.Masters[0] // of the lowest slots
			var grants []driver.Grant
			var silent []bool
			for i := range 9 {
				node := c.Masters[i%3]
				grants = append(grants, r.take("me", time.Minute, keyOn(c, node, i)))
				silent = append(silent, node == stuck)
			}
			stuck.Pause()
			defer stuck.Resume()
			ctx, cancel := context.WithTimeout(bg, 400*time.Millisecond)
			defer cancel()
			began := time.Now()
			got, err := r.Extend(ctx, time.Hour, holdsOf(grants...))
			if took := time.Since(began); err != nil || took > 900*time.Millisecond {
				t.Fatalf("after %s, with 400ms: %v", took, err)
			}
			for i, a := range got {
				switch {
				case silent[i] && (a.Err == nil || a.Held || !a.Until.IsZero()):
					t.Errorf("of the node that does not answer: %+v", a)
				case !silent[i] && (a.Err != nil || !a.Held || time.Until(a.Until) < 50*time.Minute):
					t.Errorf("of a node that is well: %+v", a)
				}
			}
			stuck.Resume()
			redistest.Eventually(t, 10*time.Second, func() string {
				again, err := r.Extend(bg, time.Hour, holdsOf(grants...))
				if err != nil || slices.ContainsFunc(again, func(a driver.Extension) bool { return !a.Held }) {
					return fmt.Sprintf("%+v, %v", again, err)
				}
				return ""
			})
		})
	}
}

func TestWhenNoNodeAnswersAnExtensionIsAnError(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 3, 0, "--cluster-node-timeout", "60000")
	r := nodeRig(t, c, c.Masters[0])
	var grants []driver.Grant
	for _, node := range c.Masters {
		grants = append(grants, r.take("me", time.Minute, keyOn(c, node, 0)))
		defer node.Resume()
	}
	for _, node := range c.Masters {
		node.Pause()
	}
	ctx, cancel := context.WithTimeout(bg, 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	if got, err := r.Extend(ctx, time.Hour, holdsOf(grants...)); got != nil || err == nil || time.Since(began) > 900*time.Millisecond {
		t.Errorf("got %+v, %v after %s", got, err, time.Since(began))
	}
}

// roundTrips counts the pipelines of scripts that are sent to the nodes of a cluster.
type roundTrips struct{ atomic.Int64 }

func (*roundTrips) DialHook(next redis.DialHook) redis.DialHook { return next }

func (*roundTrips) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (n *roundTrips) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if strings.HasPrefix(cmds[0].Name(), "eval") {
			n.Add(1)
		}
		return next(ctx, cmds)
	}
}

func TestOnAClusterAnExtensionIsOneRoundTripToEachNode(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 3, 0)
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs()})
	t.Cleanup(func() { client.Close() })
	var trips roundTrips
	client.OnNewNode(func(node *redis.Client) { node.AddHook(&trips) })
	r := (&rig{t: t}).at(lockredis.Config{Client: client})
	var grants []driver.Grant
	for i := range 100 {
		grants = append(grants, r.take("me", time.Minute, fmt.Sprint("k", i)))
	}
	extend := func() int64 {
		before := trips.Load()
		got, err := r.Extend(bg, time.Hour, holdsOf(grants...))
		if err != nil || slices.ContainsFunc(got, func(a driver.Extension) bool { return !a.Held }) {
			t.Fatalf("got %+v, %v", got, err)
		}
		return trips.Load() - before
	}
	for _, node := range c.Masters {
		node.Client().ScriptFlush(bg)
	}
	if n := extend(); n > 6 {
		t.Errorf("%d round trips to 3 nodes that have to be told the script", n)
	}
	if n := extend(); n != 3 {
		t.Errorf("%d round trips to 3 nodes", n)
	}
}

// What a user may not touch, say.
func TestOnAClusterAHoldThatIsRefusedCostsNoOtherItsExtension(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 3, 0)
	keys := []string{"{a}fine", "{a}refused", keyOn(c, c.Masters[0], 0), keyOn(c, c.Masters[2], 0)}
	taker := nodeRig(t, c, c.Masters[0])
	var grants []driver.Grant
	for _, k := range keys {
		grants = append(grants, taker.take("me", time.Minute, k))
	}
	rights := slices.Concat(rightsOnPage(t, "all"), rightsOnPage(t, "cluster"))
	rights = slices.DeleteFunc(rights, func(r string) bool { return r == "~medusa_lock:*" })
	rights = append(rights, "~medusa_lock:k*", "~medusa_lock:{a}fine")
	var opts *redis.UniversalOptions
	for _, s := range c.Masters {
		opts = allow(t, s, "locks", rights)
	}
	opts.IsClusterMode = true
	client := redis.NewUniversalClient(opts)
	t.Cleanup(func() { client.Close() })
	r := (&rig{t: t}).at(lockredis.Config{Client: client})
	got, err := r.Extend(bg, time.Hour, holdsOf(grants...))
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range got {
		switch {
		case i == 1 && (a.Err == nil || !strings.Contains(a.Err.Error(), "NOPERM")):
			t.Errorf("what is refused: %+v", a)
		case i != 1 && (a.Err != nil || !a.Held):
			t.Errorf("%q: %+v", keys[i], a)
		}
	}
}

// A script answers for one hold what fails for it.
func TestAnExtensionThatFailsForOneHoldInTheScriptSaysSoOfThatOne(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	g, good := r.take("x", 0, "bad"), r.take("me", time.Minute, "good")
	ticket := r.queue("t", driver.Request{Keys: []string{"bad"}, Owner: "o", TTL: time.Minute})
	r.free(g)
	offer := r.offered(ticket)
	queue := queueName("bad")
	r.redis.Del(bg, queue)
	if err := r.redis.Set(bg, queue, "no queue", 0).Err(); err != nil {
		t.Fatal(err)
	}
	got, err := r.Extend(bg, time.Hour, holdsOf(offer, good))
	if err != nil || got[0].Err == nil || got[0].Held || !strings.Contains(got[0].Err.Error(), "WRONGTYPE") {
		t.Errorf("what fails: %+v, %v", got, err)
	}
	if len(got) == 2 && (got[1].Err != nil || !got[1].Held) {
		t.Errorf("what does not: %+v", got[1])
	}
	r.redis.Del(bg, queue)
	r.free(good)
}

func TestOnAClusterShortLeasesAtOtherNodesAreHeldWhileANodeDoesNotAnswer(t *testing.T) {
	t.Parallel()
	const lease, leases = 3 * time.Second, 4
	c := redistest.StartCluster(t, 3, 0, "--cluster-node-timeout", "60000")
	s, err := locking.New(bg, locking.Config{
		Logger:    slog.New(slog.DiscardHandler),
		Providers: []locking.Registration{{ID: "r", Provider: lockredis.New(lockredis.Config{RedisURL: c.Masters[1].URL()})}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(bg) })

	stuck := c.Masters[0] // of the lowest slots, which would be asked first
	running, over, ended := make(chan context.Context), make(chan struct{}), make(chan error, 9)
	var jobs, silent []context.Context
	for i := range 9 {
		node := c.Masters[i%3]
		go func() {
			ended <- s.Execute(bg, locking.Keys(keyOn(c, node, i)), func(ctx context.Context) error {
				running <- ctx
				<-over
				return nil
			}, locking.Expire(lease))
		}()
		if ctx := <-running; node == stuck {
			silent = append(silent, ctx)
		} else {
			jobs = append(jobs, ctx)
		}
	}
	stuck.Pause()
	defer stuck.Resume()
	paused := time.Now()
	for _, ctx := range silent {
		select {
		case <-ctx.Done():
			if !errors.Is(context.Cause(ctx), locking.ErrLockLost) {
				t.Error(context.Cause(ctx))
			}
			t.Logf("a lock of the node that does not answer has ended after %s: %v", time.Since(paused), context.Cause(ctx))
		case <-time.After(2*lease - time.Since(paused)):
			t.Errorf("a lock of the node that does not answer goes on after %s, with a lease of %s", time.Since(paused), lease)
		}
	}
	early := make(chan error, len(jobs))
	for _, ctx := range jobs {
		context.AfterFunc(ctx, func() { early <- context.Cause(ctx) })
	}
	select {
	case err := <-early:
		t.Errorf("a lock of another node has ended after %s, with a lease of %s: %v", time.Since(paused), lease, err)
	case <-time.After(leases*lease - time.Since(paused)):
	}
	stuck.Resume()
	close(over)
	lost := 0
	for range 9 {
		if err := <-ended; errors.Is(err, locking.ErrLockLost) {
			lost++
		} else if err != nil {
			t.Error(err)
		}
	}
	if lost != len(silent) {
		t.Errorf("%d locks were lost, want those %d of the node that did not answer", lost, len(silent))
	}
}
