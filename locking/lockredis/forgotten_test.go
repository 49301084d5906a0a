package lockredis_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

// elsewhere is a master of a cluster at which no process listens, and its number.
func elsewhere(t *testing.T, c *redistest.Cluster) (*redistest.Server, int) {
	t.Helper()
	at := slices.IndexFunc(c.Masters, func(s *redistest.Server) bool {
		return !strings.Contains(s.Client().Do(bg, "client", "list", "type", "pubsub").String(), "cmd=subscribe")
	})
	if at < 0 {
		t.Fatal("somebody listens at each master")
	}
	return c.Masters[at], at
}

// clusterService is a service on a cluster.
func clusterService(t *testing.T, cfg lockredis.Config) *locking.Service {
	t.Helper()
	s, err := locking.New(bg, locking.Config{
		Logger:    slog.New(slog.DiscardHandler),
		Providers: []locking.Registration{{ID: "r", Provider: lockredis.New(cfg)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(bg) })
	return s
}

// forgetful ends a master's life in such a way that the server which has its slots next has
// no lock. It returns that server.
type forgetful func(t *testing.T, c *redistest.Cluster, number int) (end func() *redistest.Server)

// unlinked has a master's replica hear nothing more of it.
func unlinked(t *testing.T, c *redistest.Cluster, number int) (replica *redis.Client) {
	t.Helper()
	replica = c.Replicas[number].Client()
	for _, args := range [][]any{ // it cannot log in at its master any more
		{"config", "set", "masteruser", "nobody"}, {"config", "set", "masterauth", "none"}, {"client", "kill", "type", "master"},
	} {
		if err := replica.Do(bg, args...).Err(); err != nil {
			t.Fatal(args, err)
		}
	}
	redistest.Eventually(t, 10*time.Second, func() string {
		if info := replica.Info(bg, "replication").Val(); !strings.Contains(info, "master_link_status:down") {
			return info
		}
		return ""
	})
	return replica
}

func replacedByItsReplica(t *testing.T, c *redistest.Cluster, number int) func() *redistest.Server {
	t.Helper()
	unlinked(t, c, number)
	return func() *redistest.Server {
		c.Masters[number].Kill()
		return c.Replicas[number]
	}
}

func replacedByItsReplicaSinceItHangs(t *testing.T, c *redistest.Cluster, number int) func() *redistest.Server {
	t.Helper()
	unlinked(t, c, number)
	return func() *redistest.Server {
		c.Masters[number].Pause()
		return c.Replicas[number]
	}
}

// Without a moment of silence.
func toldToStandBack(t *testing.T, c *redistest.Cluster, number int) func() *redistest.Server {
	t.Helper()
	replica := unlinked(t, c, number)
	return func() *redistest.Server {
		if err := replica.Do(bg, "cluster", "failover", "takeover").Err(); err != nil {
			t.Fatal(err)
		}
		return c.Replicas[number]
	}
}

func restartedEmpty(_ *testing.T, c *redistest.Cluster, number int) func() *redistest.Server {
	return func() *redistest.Server {
		c.Masters[number].Restart()
		return c.Masters[number]
	}
}

// The connection on which the process listens is at another node, and goes on.
func TestOnAClusterALockWithoutExpiryThatANodeHasForgottenIsLostWithinTwoTicks(t *testing.T) {
	t.Parallel()
	const twoTicks = 2 * tick
	for name, how := range map[string]struct {
		replicas int
		how      forgetful
		known    bool // the process knows which server it was before the grant
		promised time.Duration
	}{
		"since its replica is in its place":            {1, replacedByItsReplica, true, twoTicks},
		"since another one took its place":             {1, toldToStandBack, true, twoTicks},
		"since it was restarted":                       {0, restartedEmpty, true, twoTicks},
		"since it was restarted after the first grant": {0, restartedEmpty, false, twoTicks},
		// The client may ask it for the next one.
		"since it hung and was replaced": {1, replacedByItsReplicaSinceItHangs, true, twoTicks + lockredis.DefaultReadTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := redistest.StartCluster(t, 3, how.replicas, "--cluster-node-timeout", "3000") // many are started at a time
			s := clusterService(t, lockredis.Config{RedisURL: c.Masters[0].URL()})
			node, number := elsewhere(t, c)
			end := how.how(t, c, number)
			kept, err := s.Acquire(bg, locking.Keys(keyOn(c, c.Masters[(number+1)%3], 0)))
			if err != nil {
				t.Fatal(err)
			}
			if how.known {
				before, err := s.Acquire(bg, locking.Keys(keyOn(c, node, 0)))
				if err != nil {
					t.Fatal(err)
				}
				looked(t, node)
				before.Close()
			}
			key := keyOn(c, node, 1)
			lock, err := s.Acquire(bg, locking.Keys(key))
			if err != nil {
				t.Fatal(err)
			}
			ctx := lock.Context()
			next := end().Client() // just after the grant
			redistest.Eventually(t, 30*time.Second, func() string {
				if n, err := next.Exists(bg, "medusa_lock:"+key).Result(); err != nil || n != 0 {
					return fmt.Sprint(n, err)
				}
				return ""
			})
			reachable := time.Now()
			select {
			case <-ctx.Done():
				t.Logf("it was lost %s after the next server was there; promised are about %s", time.Since(reachable), how.promised)
			case <-time.After(3 * how.promised):
				t.Fatalf("its context goes on %s after the next server was there", time.Since(reachable))
			}
			if cause := context.Cause(ctx); !errors.Is(cause, locking.ErrLockLost) {
				t.Errorf("the cause is %v", cause)
			}
			if err := kept.Context().Err(); err != nil {
				t.Errorf("a lock of another node has ended: %v", context.Cause(kept.Context()))
			}
		})
	}
}

func TestANodeOfAClusterThatDoesNotAnswerKeepsNoOtherFromBeingLookedAt(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 3, 0, "--cluster-node-timeout", "60000")
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs(), ReadTimeout: 10 * time.Second}) // so long it hangs
	t.Cleanup(func() { client.Close() })
	seen := &questions{at: map[string]int{}}
	client.OnNewNode(seen.of)
	s := clusterService(t, lockredis.Config{Client: client})
	node, number := elsewhere(t, c)
	stuck := c.Masters[(number+1)%3]
	var locks []*locking.Lock
	for i := range 3 {
		for _, at := range []*redistest.Server{stuck, node} {
			l, err := s.Acquire(bg, locking.Keys(keyOn(c, at, i)))
			if err != nil {
				t.Fatal(err)
			}
			l.Context()
			locks = append(locks, l)
		}
	}
	looked(t, node)
	stuck.Pause()
	defer stuck.Resume()
	before := seen.times(stuck)
	node.Restart()
	next := node.Client()
	redistest.Eventually(t, 30*time.Second, func() string {
		if err := next.Exists(bg, "medusa_lock:"+keyOn(c, node, 0)).Err(); err != nil {
			return err.Error()
		}
		return ""
	})
	reachable := time.Now()
	for i, l := range locks {
		if i%2 == 0 {
			continue
		}
		select {
		case <-l.Context().Done():
			t.Logf("lost %s after its node was there again", time.Since(reachable))
		case <-time.After(3*2*tick - time.Since(reachable)):
			t.Fatalf("a lock that its node has forgotten goes on %s after that was there again", time.Since(reachable))
		}
	}
	if n := seen.times(stuck); n > before+1 {
		t.Errorf("the node that does not answer was asked %d times", n-before)
	}
	for i, l := range locks {
		if err := l.Context().Err(); i%2 == 0 && err != nil {
			t.Errorf("a lock of the node that does not answer has ended: %v", err)
		}
	}
}
