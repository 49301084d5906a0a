package lockredis_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

// world is servers of some kind with two processes that have their locks there. All keys
// of its promises are at one of the servers, which something befalls in their midst.
type world struct {
	one, other *rig // whose own client looks at that server

	t      *testing.T
	cfg    lockredis.Config // of these processes
	client redis.UniversalClient
	server *redistest.Server // that has the keys at the start
	tag    string            // of the keys
	befall func()
	told   func() []string // the processes that are connected to be told of grants
	// forgets says that nothing is left afterwards, but that others have what was held.
	forgets bool
	held    []string // keys that others will have then
}

// newWorld has the two processes start.
func newWorld(t *testing.T, server *redistest.Server, cfg lockredis.Config, client redis.UniversalClient, looks *redis.Client) *world {
	t.Helper()
	w := &world{t: t, cfg: cfg, client: client, server: server, tag: "t"}
	w.told = func() []string { return toldBy(w.one.redis) }
	process := (&rig{nil, t, server, looks}).at
	w.one, w.other = process(cfg), process(cfg)
	return w
}

// in is the world for a test within a test.
func (w *world) in(t *testing.T) *world {
	in := *w
	in.t = t
	in.one = &rig{w.one.Provider, t, w.one.server, w.one.redis}
	in.other = &rig{w.other.Provider, t, w.other.server, w.other.redis}
	return &in
}

// looks is where the keys are from now on.
func (w *world) looks(client *redis.Client) { w.one.redis, w.other.redis = client, client }

// key is a key at the one server. Those of all names share a slot.
func (w *world) key(name string) string { return "{" + w.tag + "}" + name }

// take takes a key that somebody will have afterwards, too: the holder, or, when it was
// forgotten, another program.
func (w *world) take(ttl time.Duration, key string) driver.Grant {
	w.t.Helper()
	w.held = append(w.held, key)
	return w.one.take("x", ttl, key)
}

// giveBack ends that.
func (w *world) giveBack(g driver.Grant) {
	w.t.Helper()
	if !w.forgets {
		w.one.free(g)
		return
	}
	if n := w.one.redis.Del(bg, lockredis.DefaultNamespace+g.Holds[0].Key).Val(); n != 1 {
		w.t.Errorf("nobody has %q", g.Holds[0].Key)
	}
}

// waits has a process wait for keys, and returns when it does. What it is offered in the
// end it keeps.
func (w *world) waits(r *rig, ahead int, owner string, keys ...string) <-chan outcome {
	w.t.Helper()
	got := make(chan outcome, 1)
	go func() {
		g, err := r.Acquire(bg, driver.Request{Keys: keys, Owner: owner, TTL: time.Minute, Wait: 2 * time.Minute})
		o := outcome{g, err, time.Now()}
		if err == nil {
			o.err = r.keep(g)
		}
		got <- o
	}()
	r.queued(keys[0], ahead+1)
	return got
}

// keep makes a full lock of an offer. Its connection may break once more just now.
func (r *rig) keep(g driver.Grant) error {
	var holds []driver.Hold
	for _, h := range g.Holds {
		holds = append(holds, h.Hold)
	}
	for end := time.Now().Add(liveness); ; {
		kept, err := r.Extend(bg, time.Minute, holds)
		if err != nil && time.Now().Before(end) {
			continue
		}
		for i, k := range kept {
			if !k.Held {
				err = fmt.Errorf("what was offered is gone before it was taken up: %+v", holds[i])
			}
		}
		return err
	}
}

// live are the processes that were heard of within the last second.
func (w *world) live() []string {
	w.t.Helper()
	var live []string
	for _, key := range w.one.redis.Keys(bg, "~lockstep:*}:p:*").Val() {
		if _, id, _ := strings.Cut(key, "}:p:"); w.one.redis.PTTL(bg, key).Val() > liveness-time.Second {
			live = append(live, id)
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(live)))
}

// toldBy are the processes that a server tells of their grants.
func toldBy(server *redis.Client) (ids []string) {
	for _, channel := range server.PubSubChannels(bg, "~lockstep:c:*").Val() {
		ids = append(ids, strings.TrimPrefix(channel, "~lockstep:c:"))
	}
	return ids
}

// well waits until both processes are answered again, and so is the client that is the
// test's own.
func (w *world) well() {
	w.t.Helper()
	for _, r := range []*rig{w.one, w.other} {
		redistest.Eventually(w.t, 30*time.Second, func() string {
			g, err := r.Acquire(bg, try("probe", w.key("probe")))
			if err == nil {
				_, err = r.Release(bg, []driver.Hold{hold(g)})
			}
			if err != nil {
				return err.Error()
			}
			return ""
		})
	}
	redistest.Eventually(w.t, 30*time.Second, func() string {
		if err := w.client.Set(bg, w.key("written last"), 1, time.Millisecond).Err(); err != nil {
			return err.Error()
		}
		return ""
	})
}

// replicated waits until a replica has all that was written up to now.
func (w *world) replicated() {
	w.t.Helper()
	line := w.one.redis.Pipeline()
	line.Set(bg, w.key("written last"), 1, time.Millisecond)
	n := line.Do(bg, "wait", 1, 2500)
	if _, err := line.Exec(bg); err != nil || n.Val() == int64(0) {
		w.t.Fatalf("%v replicas have what was written: %v", n.Val(), err)
	}
}

// restarted is a server that is killed, and starts again with its data after a while.
func restarted(t *testing.T) *world {
	t.Helper()
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	w := newWorld(t, server, lockredis.Config{RedisURL: server.URL()}, server.Client(), server.Client())
	w.befall = func() {
		server.Kill()
		<-time.After(1500 * time.Millisecond) // longer than the lease of a job that is to be lost
		server.Restart()
	}
	return w
}

// flushed is a server that forgets everything, and where others have what was held.
func flushed(t *testing.T) *world {
	t.Helper()
	server := redistest.Start(t)
	w := newWorld(t, server, lockredis.Config{RedisURL: server.URL()}, server.Client(), server.Client())
	w.forgets = true
	w.befall = func() {
		if _, err := w.client.TxPipelined(bg, func(tx redis.Pipeliner) error {
			tx.FlushAll(bg)
			for _, key := range w.held {
				tx.Set(bg, lockredis.DefaultNamespace+key, "another", 0)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// behindSentinels is a master that is killed, and whose replica takes its place.
func behindSentinels(t *testing.T) *world {
	t.Helper()
	s := redistest.StartSentinel(t, 2)
	w := newWorld(t, s.Master(), bySentinel(s), s.Client(), s.Master().Client())
	// On a busy machine a master that lives may seem dead: it is given up once, when it is.
	patience := func(ms int) {
		for _, sentinel := range s.Sentinels {
			if err := sentinel.Client().Do(bg, "sentinel", "set", redistest.MasterName, "down-after-milliseconds", ms).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	patience(60_000)
	w.befall = func() {
		w.replicated()
		patience(1000)
		_, after := s.KillMaster()
		patience(60_000)
		w.looks(after.Client())
	}
	return w
}

// onACluster is a node that is killed, and whose replica takes its place.
func onACluster(t *testing.T) *world {
	t.Helper()
	c := redistest.StartCluster(t, 3, 1, "--cluster-node-timeout", "60000")
	nodes := slices.Concat(c.Masters, c.Replicas)
	patience := func(ms int) { // as behind sentinels
		for _, s := range nodes {
			if err := s.Client().ConfigSet(bg, "cluster-node-timeout", strconv.Itoa(ms)).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	client, node := c.Client(), slices.Index(c.Masters, c.Owner(slotOf("k")))
	w := newWorld(t, c.Masters[node], lockredis.Config{RedisURL: c.Masters[0].URL()}, client, c.Masters[node].Client())
	for i := 0; c.Owner(slotOf(w.key(""))) != c.Masters[node]; i++ {
		w.tag = fmt.Sprint("t", i)
	}
	w.told = func() (ids []string) { // a process listens at one of the nodes
		for _, s := range append(slices.Delete(slices.Clone(c.Masters), node, node+1), c.Replicas[node]) {
			ids = append(ids, toldBy(s.Client())...)
		}
		return ids
	}
	w.befall = func() {
		w.replicated()
		patience(1000)
		c.Masters[node].Kill()
		nodes = slices.DeleteFunc(nodes, func(s *redistest.Server) bool { return s == c.Masters[node] })
		replica := c.Replicas[node].Client()
		redistest.Eventually(t, 30*time.Second, func() string {
			if info := replica.Info(bg, "replication").Val(); !strings.Contains(info, "role:master") {
				return info
			}
			return ""
		})
		patience(60_000)
		c.Healthy()
		client.ReloadState(bg) // else it learns of it within a minute
		w.looks(replica)
	}
	return w
}
