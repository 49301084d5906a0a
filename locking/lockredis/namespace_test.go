package lockredis_test

import (
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

// twoNamespaces are two processes on one server, each with a namespace of its own.
func twoNamespaces(t *testing.T, names ...string) (one, other *rig) {
	t.Helper()
	server := redistest.Start(t)
	at := func(name string) *rig {
		return (&rig{nil, t, server, server.Client()}).at(lockredis.Config{RedisURL: server.URL(), Namespace: name})
	}
	return at(names[0]), at(names[1])
}

// In one namespace it would be a circle: A waits for B, and B for A.
func TestOwnersOfOneNameInTwoNamespacesMakeNoDeadlock(t *testing.T) {
	t.Parallel()
	one, other := twoNamespaces(t, "", "shop:")
	one.take("A", 0, "a")
	b := one.take("B", 0, "b")
	a := other.take("A", 0, "a")
	other.take("B", 0, "b")
	first := one.ask(driver.Request{Keys: []string{"b"}, Owner: "A", Wait: time.Minute})
	one.inLine("b", 1)
	second := other.ask(driver.Request{Keys: []string{"a"}, Owner: "B", Wait: time.Minute})
	redistest.Eventually(t, 5*time.Second, func() string {
		select {
		case o := <-second:
			t.Fatalf("B did not wait: %+v", o)
		default:
		}
		if other.state("a").Waiting != 1 {
			return "B does not wait"
		}
		return ""
	})
	one.free(b)
	granted(t, first, time.Second, "A")
	other.free(a)
	granted(t, second, time.Second, "B")
}

func TestTicketsOfOneIdInTwoNamespacesAreTwo(t *testing.T) {
	t.Parallel()
	for _, names := range [][]string{{"", "shop:"}, {"shop:", "shop:a"}, {"1:a", "1:a:"}} {
		t.Run(names[0]+" and "+names[1], func(t *testing.T) {
			one, other := twoNamespaces(t, names...)
			req := driver.Request{Keys: []string{"k"}, Owner: "o", TTL: time.Minute}
			one.take("x", 0, "k")
			held := other.take("x", 0, "k")
			here := one.queue("t", req)
			there := other.queue("t", req)
			if ended, err := one.Cancel(bg, here); err != nil || !ended {
				t.Fatalf("got %t, %v", ended, err)
			}
			if n := one.state("k").Waiting; n != 0 {
				t.Errorf("%d wait where the ticket was cancelled", n)
			}
			if n := other.state("k").Waiting; n != 1 {
				t.Fatalf("%d wait in the other namespace", n)
			}
			other.free(held)
			other.claim(there)
		})
	}
}

func TestReleaseAllFreesNothingInAnotherNamespace(t *testing.T) {
	t.Parallel()
	one, other := twoNamespaces(t, "shop:", "shop:a")
	one.take("o", 0, "k")
	other.take("o", 0, "k")
	if n, err := one.ReleaseAll(bg, "o"); n != 1 || err != nil {
		t.Fatalf("got %d, %v", n, err)
	}
	other.busy("you", "k")
}

// The record of a lock outlives it, and the owner's name is all that the two have in
// common.
func TestReleaseAllLeavesAloneWhatAnotherProgramTookAfterALapse(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, owner := range []string{driver.Anonymous, "erp"} {
		r.take(owner, 0, owner+" stays") // so that the owner's list does
		r.take(owner, time.Millisecond, owner)
		redistest.Eventually(t, 5*time.Second, func() string { return r.redis.Get(bg, lockredis.DefaultNamespace+owner).Val() })
		r.redis.Set(bg, lockredis.DefaultNamespace+owner, owner, 0)
		if n, err := r.ReleaseAll(bg, owner); n != 1 || err != nil {
			t.Errorf("%s: got %d, %v, want 1", owner, n, err)
		}
		r.busy("you", owner)
	}
}
