package lockredis_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/internal/rediskit"
	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

// nodeRig is a provider of its own client on a cluster. Its redis field looks at one node.
func nodeRig(t *testing.T, c *redistest.Cluster, s *redistest.Server) *rig {
	t.Helper()
	p, _, err := start(t, lockredis.Config{RedisURL: c.Masters[0].URL()})
	if err != nil {
		t.Fatal(err)
	}
	return &rig{p, t, s, s.Client()}
}

// slotOf is where a key of the default namespace is kept.
func slotOf(key string) int { return rediskit.Slot("medusa_lock:" + key) }

// keyOn finds a key that a master of the cluster has, numbered so that each is another.
func keyOn(c *redistest.Cluster, s *redistest.Server, number int) string {
	for i, n := 0, 0; ; i++ {
		if key := fmt.Sprint("k", i); c.Owner(slotOf(key)) == s {
			if n == number {
				return key
			}
			n++
		}
	}
}

func TestAURLOfOneNodeIsEnoughForAClusterAndAClientOfOneNodeIsRefused(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 3, 0)
	r := nodeRig(t, c, c.Masters[0])
	for _, s := range c.Masters {
		r.free(r.take("me", time.Minute, keyOn(c, s, 0)))
	}
	_, _, err := start(t, lockredis.Config{Client: c.Masters[0].Client()})
	if _, ok := errors.AsType[*lockredis.ConfigError](err); !ok || !strings.Contains(err.Error(), "ClusterClient") {
		t.Fatalf("got %v", err)
	}
}

// While a slot is on its way its node answers TRYAGAIN, or ASK, and then the new one does;
// none of that is the caller's to see, if it has the time.
func TestASlotThatMovesIsFollowedByEveryCall(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 3, 0)
	from, to := c.Masters[0], c.Masters[1]
	r, other := nodeRig(t, c, from), nodeRig(t, c, from)
	key := keyOn(c, from, 0)
	slot := slotOf(key)
	held := r.take("me", 0, key) // one with an expiry is lost: see below
	got := other.ask(driver.Request{Keys: []string{key}, Owner: "next", TTL: time.Minute, Wait: time.Minute})
	queue := "~lockstep:{" + rediskit.Tag(slot) + "}:q:medusa_lock:" + key
	redistest.Eventually(t, 10*time.Second, func() string {
		if n := from.Client().ZCard(bg, queue).Val(); n != 1 {
			return fmt.Sprintf("%d wait", n)
		}
		return ""
	})

	m := c.Migrate(slot, from, to)
	m.Move("medusa_lock:" + key) // the script's keys are at both nodes by now
	for what, call := range map[string]func() error{
		"acquire": func() error {
			_, err := r.Acquire(bg, driver.Request{Keys: []string{key}, Owner: "third", Wait: 100 * time.Millisecond})
			return err
		},
		"try": func() error { _, err := r.Acquire(bg, try("third", key)); return err },
		"extend": func() error {
			_, err := r.Extend(bg, time.Minute, []driver.Hold{held.Holds[0].Hold})
			return err
		},
		"release": func() error { _, err := r.Release(soon(t), []driver.Hold{held.Holds[0].Hold}); return err },
	} {
		if err := call(); err == nil || !strings.Contains(err.Error(), "TRYAGAIN") {
			t.Errorf("%s in the middle of the move: %v", what, err)
		}
	}
	released := make(chan error, 1)
	go func() { // it is sent again until the slot has arrived
		freed, err := r.Release(bg, []driver.Hold{held.Holds[0].Hold})
		if err == nil && !freed[0] {
			err = errors.New("not freed")
		}
		released <- err
	}()
	m.Move(m.Keys()...) // ASK leads to the new node, which misses some keys: TRYAGAIN
	m.Finish()          // and now it is MOVED, to a node that has never seen the scripts
	if err := <-released; err != nil {
		t.Fatalf("the release: %v", err)
	}
	next := granted(t, got, 10*time.Second, "the waiter")
	if next.Holds[0].Token <= held.Holds[0].Token {
		t.Errorf("the token is %d, before it was %d", next.Holds[0].Token, held.Holds[0].Token)
	}
	if a, err := other.Extend(bg, time.Hour, []driver.Hold{next.Holds[0].Hold}); err != nil || !a[0].Held {
		t.Errorf("extend at the new node: %+v, %v", a, err)
	}
	s, err := r.Inspect(bg, key, 10)
	if err != nil || s.Owner != "next" || s.Waiting != 0 {
		t.Errorf("inspect: %+v, %v", s, err)
	}
	if page, err := r.List(bg, driver.ListRequest{IncludeForeign: true}); err != nil || len(page.Locks) != 1 {
		t.Errorf("list: %+v, %v", page, err)
	}
	if n, err := r.ReleaseAll(bg, "next"); n != 1 || err != nil {
		t.Errorf("release all: %d, %v", n, err)
	}
}

// A slot moves key by key under callers who contend for one of its locks.
func TestASlotThatMovesUnderLoadLosesNoLockAndNoCaller(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 3, 0)
	one, other := nodeRig(t, c, c.Masters[0]), nodeRig(t, c, c.Masters[0])
	key := keyOn(c, c.Masters[0], 1)
	var inside, turns, lost atomic.Int64
	stop := make(chan struct{})
	ended := make(chan error, 8)
	for i := range 8 {
		p := []*rig{one, other}[i%2]
		go func() {
			for {
				select {
				case <-stop:
					ended <- nil
					return
				default:
				}
				g, err := p.Acquire(bg, driver.Request{Keys: []string{key}, Owner: "*", TTL: 2 * time.Second, Wait: 20 * time.Second})
				if err != nil {
					ended <- fmt.Errorf("caller %d: %w", i, err)
					return
				}
				if inside.Add(1) != 1 {
					ended <- errors.New("two are inside")
					return
				}
				time.Sleep(time.Millisecond) // whoever is let in beside this one has the time to come
				inside.Add(-1)
				turns.Add(1)
				freed, err := p.Release(bg, []driver.Hold{g.Holds[0].Hold})
				if err != nil {
					ended <- fmt.Errorf("caller %d: release: %w", i, err)
					return
				}
				if !freed[0] {
					lost.Add(1)
				}
			}
		}()
	}
	var slowest, way time.Duration
	for round := range 6 {
		before := turns.Load()
		moving := time.Now()
		m := c.Migrate(slotOf(key), c.Masters[round%3], c.Masters[(round+1)%3])
		for _, k := range m.Keys() {
			m.Move(k)
		}
		m.Finish()
		way = max(way, time.Since(moving))
		began := time.Now()
		redistest.Eventually(t, 15*time.Second, func() string {
			if turns.Load() < before+20 {
				return fmt.Sprintf("%d turns since the slot began to move", turns.Load()-before)
			}
			return ""
		})
		slowest = max(slowest, time.Since(began))
	}
	close(stop)
	for range 8 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d turns; a move took %s at most, 20 turns after one %s", turns.Load(), way, slowest)
	if lost.Load() > 0 && way < 400*time.Millisecond { // what takes longer ends too much later
		t.Errorf("%d locks were lost in 6 moves", lost.Load())
	}
	redistest.Eventually(t, 5*time.Second, func() string {
		g, err := one.Acquire(bg, try("me", key))
		if err != nil {
			return err.Error()
		}
		one.free(g)
		return ""
	})
}

// Redis moves the time that a key has left, so that it lapses later by what the way takes.
func TestALockWithAnExpiryWhoseSlotMovesStaysItsHolders(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 3, 0)
	r := nodeRig(t, c, c.Masters[0])
	key := keyOn(c, c.Masters[0], 2)
	held := r.take("me", time.Minute, key)
	for i := range 4 { // a way takes less than a millisecond at times
		from, to := c.Masters[i%2], c.Masters[(i+1)%2]
		c.Migrate(slotOf(key), from, to).Finish()
		c.Healthy()
		redistest.Eventually(t, 5*time.Second, func() string {
			ext, err := r.Extend(bg, time.Second, []driver.Hold{held.Holds[0].Hold})
			if err == nil && !ext[0].Held {
				t.Fatalf("it was lost in move %d", i)
			} else if err != nil {
				return err.Error()
			}
			return ""
		})
		r.busy("you", key)
	}
	r.free(held)
}

// By itself the client would learn of it within a minute.
func TestOnAClusterWaitersGoOnAfterTheirNodesReplicaHasTakenItsPlace(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 3, 1)
	key := keyOn(c, c.Masters[1], 0)
	one, other := nodeRig(t, c, c.Masters[1]), nodeRig(t, c, c.Masters[1])
	held := one.take("me", time.Minute, key)
	got := other.ask(driver.Request{Keys: []string{key}, Owner: "next", TTL: time.Minute, Wait: time.Minute})
	other.knowsOf(1)
	replica := c.Replicas[1].Client()
	redistest.Eventually(t, 10*time.Second, func() string {
		if v, err := replica.Do(bg, "dbsize").Int(); err != nil || v < 5 {
			return fmt.Sprintf("the replica has %d keys, %v", v, err)
		}
		return ""
	})
	c.Masters[1].Kill()
	killed := time.Now()
	redistest.Eventually(t, 20*time.Second, func() string {
		freed, err := one.Release(bg, []driver.Hold{held.Holds[0].Hold})
		if err != nil {
			return err.Error()
		}
		t.Logf("the release was answered %s after the kill: %v", time.Since(killed), freed)
		return ""
	})
	next := granted(t, got, 10*time.Second, "the waiter")
	t.Logf("the waiter was served %s after the kill", time.Since(killed))
	if next.Holds[0].Token <= held.Holds[0].Token {
		t.Errorf("the token is %d, before it was %d", next.Holds[0].Token, held.Holds[0].Token)
	}
}

// What waits at one node is not to be forgotten at the others.
func TestOnAClusterANodeThatDoesNotAnswerHoldsUpItsOwnSlotsAlone(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 3, 0)
	stuck, well := c.Masters[0], c.Masters[1]
	one, other := nodeRig(t, c, well), nodeRig(t, c, well)
	b := keyOn(c, well, 0)
	held := one.take("x", 0, b)
	for i := range 20 { // so that it is likely that the stuck node would be the first one asked
		a := keyOn(c, stuck, i)
		one.take("x", 0, a)
		other.ask(driver.Request{Keys: []string{a}, Owner: "*", Wait: 5 * time.Second})
	}
	got := other.ask(driver.Request{Keys: []string{b}, Owner: "*", TTL: time.Minute, Wait: 30 * time.Second})
	other.knowsOf(21)
	stuck.Pause()
	defer stuck.Resume()
	live := "~lockstep:{" + rediskit.Tag(slotOf(b)) + "}:p:*"
	for until := time.Now().Add(4 * time.Second); time.Now().Before(until); {
		if len(well.Client().Keys(bg, live).Val()) == 0 {
			t.Fatal("the process that waits counts as dead at a node that is well")
		}
		time.Sleep(50 * time.Millisecond) // it is looked at for a while
	}
	began := time.Now()
	one.free(held)
	granted(t, got, 2*time.Second, "the waiter at the node that is well") // what heals all comes after 3 s
	t.Logf("served after %s", time.Since(began))
}

// What is published comes to all nodes: the one that a process listens at may go.
func TestOnAClusterAProcessListensAtAnotherNodeWhenItsOwnIsGone(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 3, 0)
	nodeRig(t, c, c.Masters[0])
	listens := func(s *redistest.Server) bool {
		return strings.Contains(s.Client().Do(bg, "client", "list", "type", "pubsub").String(), "cmd=subscribe")
	}
	at := slices.IndexFunc(c.Masters, listens)
	if at < 0 {
		t.Fatal("it listens nowhere")
	}
	others := slices.Delete(slices.Clone(c.Masters), at, at+1)
	c.Masters[at].Kill()
	redistest.Eventually(t, 10*time.Second, func() string {
		if !slices.ContainsFunc(others, listens) {
			return "it listens nowhere"
		}
		return ""
	})
}
