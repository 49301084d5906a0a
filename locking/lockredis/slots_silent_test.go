package lockredis_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

// twoNodes is a rig on a cluster of several servers, whose client waits for an answer for as
// long as it may, and two keys at different ones: those that are taken first and second.
type twoNodes struct {
	*rig

	keys    [2]string
	servers [2]*redistest.Server
	clients [2]*redis.Client
}

func newTwoNodes(t *testing.T) (*twoNodes, *redis.ClusterClient) {
	t.Helper()
	c := redistest.StartCluster(t, 3, 0)
	client := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: c.Addrs(), ReadTimeout: time.Minute, ContextTimeoutEnabled: true,
	})
	t.Cleanup(func() { client.Close() })
	p, _, err := start(t, lockredis.Config{Client: client})
	if err != nil {
		t.Fatal(err)
	}
	n := &twoNodes{rig: &rig{p, t, nil, nil}}
	for i := range n.keys {
		n.keys[i] = keyOn(c, c.Masters[i], 0)
	}
	slices.SortFunc(n.keys[:], func(a, b string) int { return slotOf(a) - slotOf(b) })
	for i, key := range n.keys {
		n.servers[i] = c.Owner(slotOf(key))
		n.clients[i] = n.servers[i].Client()
	}
	return n, client
}

// both are the keys as a request has them.
func (n *twoNodes) both() []string { return slices.Sorted(slices.Values(n.keys[:])) }

// holder is who has one of the keys.
func (n *twoNodes) holder(i int) string {
	return n.clients[i].Get(bg, "medusa_lock:"+n.keys[i]).Val()
}

// freed says that in the end nobody has one of the keys.
func (n *twoNodes) freed(i int) {
	n.t.Helper()
	redistest.Eventually(n.t, 10*time.Second, func() string {
		if v := n.holder(i); v != "" {
			return fmt.Sprintf("%q is %q's", n.keys[i], v)
		}
		return ""
	})
}

func TestAReleaseOverSlotsFreesWhatOtherNodesHaveBesideOneThatDoesNotAnswerAndIsAnError(t *testing.T) {
	t.Parallel()
	n, _ := newTwoNodes(t)
	for silent := range n.keys {
		g := n.take("me", 0, n.both()...)
		n.servers[silent].Pause()
		ctx, cancel := context.WithTimeout(bg, time.Second)
		freed, err := n.Release(ctx, []driver.Hold{g.Holds[0].Hold, g.Holds[1].Hold})
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("without an answer of one node: %v, %v", freed, err)
		}
		if v := n.holder(1 - silent); v != "" {
			t.Errorf("%q, at the node that is well, is %q's still", n.keys[1-silent], v)
		}
		n.servers[silent].Resume()
		if _, err := n.Release(bg, []driver.Hold{g.Holds[0].Hold, g.Holds[1].Hold}); err != nil {
			t.Error(err)
		}
		n.freed(silent)
	}
}

func TestAReleaseOverSlotsOfOneNodeGoesOnPastASlotThatFailsAndIsAnError(t *testing.T) {
	t.Parallel()
	r := clusterRig(t)
	first, second := inSlotOrder()
	g := r.take("me", 0, "a", "b")
	r.lost(first)
	r.redis.RPush(bg, "medusa_lock:"+first, "no string")
	freed, err := r.Release(bg, []driver.Hold{g.Holds[0].Hold, g.Holds[1].Hold})
	if err == nil || !strings.Contains(err.Error(), "WRONGTYPE") {
		t.Errorf("got %v, %v", freed, err)
	}
	if v := r.redis.Get(bg, "medusa_lock:"+second).Val(); v != "" {
		t.Errorf("%q is %q's still", second, v)
	}
}

// renewals tells of the calls that extend what is kept of a key.
type renewals struct {
	redis.Hook

	key  string
	sent chan struct{}
}

func (h *renewals) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *renewals) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (h *renewals) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if strings.HasPrefix(cmd.Name(), "eval") && slices.Contains(cmd.Args(), any("medusa_lock:"+h.key)) {
			select {
			case h.sent <- struct{}{}:
			default:
			}
		}
		return next(ctx, cmd)
	}
}

func TestACallerWhoEndsItsWaitForASlotIsNotHeldUpByTheRenewalOfAnotherAtANodeThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	n, client := newTwoNodes(t)
	n.take("x", 0, n.keys[1])
	hook := &renewals{key: n.keys[0], sent: make(chan struct{}, 1)}
	client.AddHook(hook)
	const ttl = 9 * time.Second // a renewal is sent, and given up, after a third of it
	ctx, cancel := context.WithCancel(bg)
	defer cancel()
	got := make(chan outcome, 1)
	go func() {
		g, err := n.Acquire(ctx, driver.Request{Keys: n.both(), Owner: "me", TTL: ttl, Wait: time.Minute})
		got <- outcome{g, err, time.Now()}
	}()
	redistest.Eventually(t, 10*time.Second, func() string {
		if n.Waiting() != 1 || n.holder(0) != "me" {
			return fmt.Sprintf("%d wait, and %q is %q's", n.Waiting(), n.keys[0], n.holder(0))
		}
		return ""
	})
	n.servers[0].Pause()
	defer n.servers[0].Resume()
	select {
	case <-hook.sent:
	case <-time.After(ttl):
		t.Fatal("nothing is renewed")
	}
	cancel()
	ended := time.Now()
	o := asked(t, got, ttl, "the caller whose context has ended")
	took := o.at.Sub(ended)
	t.Logf("returned %s after its context had ended", took.Round(time.Millisecond))
	if !errors.Is(o.err, context.Canceled) || took > ttl/6 {
		t.Errorf("got %v, after %s", o.err, took)
	}
	n.servers[0].Resume()
	n.freed(0)
}
