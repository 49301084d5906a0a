package lockredis_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockstep-dev/lockstep/internal/rediskit"
	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

var bg = context.Background()

// rig is a provider on a server of its own, and a client that looks on.
type rig struct {
	*lockredis.Provider

	t      *testing.T
	server *redistest.Server
	redis  *redis.Client
}

func newRig(t *testing.T) *rig {
	t.Helper()
	server := redistest.Start(t)
	p, _, err := start(t, lockredis.Config{RedisURL: server.URL()})
	if err != nil {
		t.Fatal(err)
	}
	return &rig{p, t, server, server.Client()}
}

func (r *rig) take(owner string, ttl time.Duration, keys ...string) driver.Grant {
	r.t.Helper()
	g, err := r.Acquire(bg, driver.Request{Keys: keys, Owner: owner, TTL: ttl, Wait: driver.NoWait})
	if err != nil {
		r.t.Fatalf("acquire %q: %v", keys, err)
	}
	return g
}

func (r *rig) busy(owner string, keys ...string) {
	r.t.Helper()
	if _, err := r.Acquire(bg, driver.Request{Keys: keys, Owner: owner, Wait: driver.NoWait}); !errors.Is(err, driver.ErrBusy) {
		r.t.Fatalf("%q should be busy: %v", keys, err)
	}
}

func (r *rig) keys() []string {
	r.t.Helper()
	keys, err := r.redis.Keys(bg, "*").Result()
	if err != nil {
		r.t.Fatal(err)
	}
	return keys
}

func TestTheLockIsMedusasString(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.take("*", 1500*time.Millisecond, "prod_123")
	if v := r.redis.Get(bg, "medusa_lock:prod_123").Val(); v != "*" {
		t.Fatalf("the lock is %q", v)
	}
	if ttl := r.redis.PTTL(bg, "medusa_lock:prod_123").Val(); ttl <= time.Second || ttl > 1500*time.Millisecond {
		t.Fatalf("it lives %s", ttl)
	}
}

func TestALockThatMedusaTookIsBusyAndItsReleaseFreesIt(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	// As Medusa's provider takes and frees a lock.
	if ok := r.redis.SetNX(bg, "medusa_lock:k", "*", 10*time.Second).Val(); !ok {
		t.Fatal("not taken")
	}
	r.busy("*", "k")
	r.busy("me", "k")
	r.redis.Del(bg, "medusa_lock:k")
	r.take("me", 0, "k")
	if ok := r.redis.SetNX(bg, "medusa_lock:k", "*", time.Second).Val(); ok {
		t.Fatal("Medusa took what we hold")
	}
}

func TestNothingElseLiesInTheNamespaceAndOnAClusterAllInTheLocksSlot(t *testing.T) {
	t.Parallel()
	for _, ns := range []string{"medusa_lock:", "~", "~lockstep:", "l"} {
		server := redistest.Start(t, "--cluster-enabled", "yes")
		if err := server.Client().Do(bg, "cluster", "addslotsrange", 0, 16383).Err(); err != nil {
			t.Fatal(err)
		}
		redistest.Eventually(t, 10*time.Second, func() string {
			if info := server.Client().ClusterInfo(bg).Val(); !strings.Contains(info, "cluster_state:ok") {
				return info
			}
			return ""
		})
		p, _, err := start(t, lockredis.Config{RedisURL: server.URL(), Namespace: ns})
		if err != nil {
			t.Fatal(err)
		}
		names := []string{"prod_123", "a{b}c", "}{", "a}b", "{}x", "\x00\xff"}
		for _, k := range names {
			if _, err := p.Acquire(bg, driver.Request{Keys: []string{k}, Owner: "me", Wait: driver.NoWait}); err != nil {
				t.Fatal(err)
			}
			all := server.Client().Keys(bg, "*").Val()
			for _, stored := range all {
				if strings.HasPrefix(stored, ns) && stored != ns+k {
					t.Errorf("%q lies in the namespace %q", stored, ns)
				}
				if rediskit.Slot(stored) != rediskit.Slot(ns+k) {
					t.Errorf("%q is not in the slot of %q", stored, ns+k)
				}
			}
			server.Client().FlushAll(bg)
		}
	}
}

func TestAReleaseLeavesNoKeyButTheTokenSequence(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	g := r.take("me", 0, "a", "b")
	if _, err := r.Release(bg, []driver.Hold{g.Holds[0].Hold, g.Holds[1].Hold}); err != nil {
		t.Fatal(err)
	}
	for _, k := range r.keys() {
		if !strings.HasSuffix(k, "}:t") {
			t.Errorf("%q is left", k)
		}
	}
}

func TestARecordWhoseStringHasAnotherExpiryIsVoid(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	old := r.take("*", time.Minute, "k").Holds[0].Hold
	// The lock lapses, and Medusa takes it: the same owner, another expiry.
	r.redis.Set(bg, "medusa_lock:k", "*", 50*time.Second)
	if freed, err := r.Release(bg, []driver.Hold{old}); err != nil || freed[0] {
		t.Fatalf("an old handle freed Medusa's lock: %v, %v", freed, err)
	}
	if ext, err := r.Extend(bg, time.Hour, []driver.Hold{old}); err != nil || ext[0].Held {
		t.Fatalf("an old handle extended Medusa's lock: %v, %v", ext, err)
	}
}

// On a cluster that may be what a key's way to another node took.
func TestOnOneServerARecordWhoseStringLapsesALittleLaterIsVoid(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	old := r.take("*", time.Minute, "k").Holds[0].Hold
	stands := r.redis.PExpireTime(bg, "medusa_lock:k").Val()
	r.redis.Set(bg, "medusa_lock:k", "*", 0)
	r.redis.Do(bg, "pexpireat", "medusa_lock:k", (stands + 100*time.Millisecond).Milliseconds())
	if freed, err := r.Release(bg, []driver.Hold{old}); err != nil || freed[0] {
		t.Fatalf("an old handle freed Medusa's lock: %v, %v", freed, err)
	}
	if ext, err := r.Extend(bg, time.Hour, []driver.Hold{old}); err != nil || ext[0].Held {
		t.Fatalf("an old handle extended Medusa's lock: %v, %v", ext, err)
	}
}

func TestTokensRiseOverFlushRestartAndAClockThatStepsBack(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var last driver.Token
	next := func(what string) {
		t.Helper()
		h := r.take("me", 0, "k").Holds[0]
		if h.Token <= last {
			t.Fatalf("after %s: %d, before %d", what, h.Token, last)
		}
		last = h.Token
		if _, err := r.Release(bg, []driver.Hold{h.Hold}); err != nil {
			t.Fatal(err)
		}
	}
	next("the start")
	next("a release")
	r.redis.FlushAll(bg)
	next("FLUSHALL")
	r.server.Restart()
	redistest.Eventually(t, 10*time.Second, func() string {
		if err := r.redis.Ping(bg).Err(); err != nil {
			return err.Error()
		}
		return ""
	})
	next("a restart")
	// The sequence is ahead of the clock, as after a step back.
	ahead := uint64(last) + 3_600_000_000
	counter := fmt.Sprintf("~lockstep:{%s}:t", rediskit.Tag(0))
	r.redis.Set(bg, counter, ahead, 0)
	last = driver.Token(ahead)
	next("a clock that stepped back")
	next("another one")
}

func TestAScriptThatTheServerForgotIsSentAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.take("me", 0, "a")
	r.redis.ScriptFlush(bg)
	r.take("me", 0, "b")
}

func TestAKeyThatIsNoStringIsAnErrorAndTakesNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.redis.HSet(bg, "medusa_lock:b", "f", 1)
	if _, err := r.Acquire(bg, driver.Request{Keys: []string{"a", "b"}, Owner: "me", Wait: driver.NoWait}); err == nil || !strings.Contains(err.Error(), "WRONGTYPE") {
		t.Fatalf("got %v", err)
	}
	r.take("you", 0, "a")
}

func TestAnOwnersLocksAreReleasedByComparisonAlsoWithOddNamespaces(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	p, _, err := start(t, lockredis.Config{RedisURL: server.URL(), Namespace: `odd[*]?\:`})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{p, t, server, server.Client()}
	r.take("me", 0, "a", "b")
	r.take("you", 0, "c")
	r.redis.Set(bg, "oddX", "me", 0)
	if n, err := r.ReleaseAll(bg, "me"); n != 2 || err != nil {
		t.Fatalf("got %d, %v", n, err)
	}
	if r.redis.Exists(bg, "oddX").Val() != 1 {
		t.Fatal("it freed what is not its own")
	}
	r.busy("me", "c")
}

func TestALostReplyOfAnAcquireIsTheSameGrantWhenItIsAskedAgain(t *testing.T) {
	t.Parallel()
	r, proxy := newProxyRig(t)
	proxy.dropReplies(1)
	g := r.take("*", 0, "k")
	proxy.dropped(t)
	if freed, err := r.Release(bg, []driver.Hold{g.Holds[0].Hold}); err != nil || !freed[0] {
		t.Fatalf("got %v, %v", freed, err)
	}
}

// The clock of a script goes on while it runs, the one by which keys lapse does not: on a busy
// machine a lock may still be there whose end is over by the script's. The scripts that are
// broken here have a clock that is far ahead.
func TestALockThatLapsesWhileItIsAskedForAgainIsNotToldToLastForEver(t *testing.T) {
	lockredis.Plant(t, lockredis.Fault{
		File: "queue.lua",
		Old:  "local now = math.floor(micros / 1000)\n",
		New:  "local now = math.floor(micros / 1000) + (redis.call('EXISTS', 'ahead') == 1 and 60000 or 0)\n",
	})
	r, proxy := newProxyRig(t)
	r.redis.Set(bg, "ahead", 1, 0)
	proxy.dropReplies(1)
	g := r.take("me", 30*time.Second, "k") // by the part of the script that has another clock
	proxy.dropped(t)
	if end := g.Holds[0].Until; end.IsZero() || end.After(time.Now()) {
		t.Errorf("it is told to last until %s", end)
	}
}

func TestAnAcquireThatNeverGetsAnAnswerLeavesNothing(t *testing.T) {
	t.Parallel()
	r, proxy := newProxyRig(t)
	proxy.dropReplies(2) // the request, and the same again; the give-back goes through
	if _, err := r.Acquire(bg, driver.Request{Keys: []string{"k"}, Owner: "*", Wait: driver.NoWait}); err == nil {
		t.Fatalf("got %v", err)
	}
	proxy.dropped(t)
	r.take("you", 0, "k")
}
