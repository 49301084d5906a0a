package lockredis_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

func (r *rig) configure(name, value string) {
	r.t.Helper()
	if err := r.redis.ConfigSet(bg, name, value).Err(); err != nil {
		r.t.Fatal(err)
	}
}

// soon is ctx with little time.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(bg, time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestAServerWithoutMemorySaysSoAndAReleaseStillHandsOver(t *testing.T) {
	t.Parallel()
	for name, owner := range map[string]string{"to an anonymous waiter": "*", "to a named waiter": "me"} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			alone, g := r.take("x", 0, "alone"), r.take("x", 0, "k")
			got := r.ask(driver.Request{Keys: []string{"k"}, Owner: owner, TTL: time.Minute, Wait: time.Minute})
			r.inLine("k", 1)
			r.configure("maxmemory-policy", "noeviction")
			r.configure("maxmemory", "1")
			for what, req := range map[string]driver.Request{
				"of a free key":         try("*", "free"),
				"of free keys":          try("me", "free", "other"),
				"that waits":            {Keys: []string{"k"}, Owner: "*", Wait: 5 * time.Second},
				"that waits, by a name": {Keys: []string{"k"}, Owner: "third", Wait: 5 * time.Second},
			} {
				began := time.Now()
				if g, err := r.Acquire(bg, req); err == nil || !strings.Contains(err.Error(), "OOM ") || time.Since(began) > 2*time.Second {
					t.Errorf("a request %s: %+v, %v after %s", what, g, err, time.Since(began))
				}
			}
			r.free(alone)
			r.free(g)
			g = granted(t, got, 300*time.Millisecond, "the waiter")
			r.free(g)
			r.configure("maxmemory", "0")
			r.inLine("k", 0)
			for _, k := range r.keys() {
				if strings.HasPrefix(k, "medusa_lock:") {
					t.Errorf("%q is left", k)
				}
			}
		})
	}
}

// What is held must not be lost for the sake of what others store.
func TestAServerWithoutMemoryStillExtendsAndConfirmsWhatIsHeld(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	held := r.take("me", time.Second, "held").Holds[0].Hold
	g := r.take("x", 0, "k", "l")
	got := r.ask(driver.Request{Keys: []string{"k"}, Owner: "*", TTL: time.Minute, Wait: time.Minute})
	r.inLine("k", 1)
	ticket := r.queue("t", driver.Request{Keys: []string{"l"}, Owner: "o", TTL: time.Minute})
	r.configure("maxmemory", "1")
	r.free(g)
	offered := granted(t, got, 300*time.Millisecond, "the waiter").Holds[0]
	x, err := r.Extend(bg, time.Minute, []driver.Hold{held, offered.Hold})
	if err != nil || !x[0].Held || !x[1].Held {
		t.Fatalf("extend: %+v, %v", x, err)
	}
	r.claim(ticket)
	for _, k := range []string{"held", "k", "l"} {
		if ttl := r.redis.PTTL(bg, "medusa_lock:"+k).Val(); ttl < 50*time.Second {
			t.Errorf("%q, held for a minute, lives %s", k, ttl)
		}
	}
}

func TestAServerWithoutMemoryStillHearsThatAProcessLives(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.take("x", 0, "k")
	r.ask(driver.Request{Keys: []string{"k"}, Owner: "*", Wait: time.Minute})
	r.inLine("k", 1)
	r.configure("maxmemory", "1")
	for _, p := range r.redis.Keys(bg, hubName("p:*")).Val() {
		r.redis.PExpire(bg, p, time.Second)
	}
	redistest.Eventually(t, 3*time.Second, func() string {
		for _, p := range r.redis.Keys(bg, hubName("p:*")).Val() {
			if ttl := r.redis.PTTL(bg, p).Val(); ttl > time.Second {
				return ""
			}
		}
		return "it was not said again"
	})
}

// As during a failover, before the replica is promoted.
func TestAReplicaIsAskedAgainUntilItIsPromotedOrTheTimeIsUp(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.take("warm", 0, "warm-up")
	held := r.take("x", 0, "held")
	if err := r.redis.ReplicaOf(bg, "127.0.0.1", "1").Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Acquire(soon(t), driver.Request{Keys: []string{"k"}, Owner: "me", Wait: time.Minute}); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "READONLY") {
		t.Errorf("when the context ends: %v", err)
	}
	if _, err := r.Acquire(bg, driver.Request{Keys: []string{"k"}, Owner: "me", Wait: 300 * time.Millisecond}); !errors.Is(err, driver.ErrTimeout) || !strings.Contains(err.Error(), "READONLY") {
		t.Errorf("when the wait is used up: %v", err)
	}
	if _, err := r.Acquire(bg, try("me", "k")); err == nil || !strings.Contains(err.Error(), "READONLY") {
		t.Errorf("without waiting: %v", err)
	}
	if _, err := r.Release(soon(t), []driver.Hold{held.Holds[0].Hold}); err == nil || !strings.Contains(err.Error(), "READONLY") {
		t.Errorf("a release: %v", err)
	}
	got := r.ask(driver.Request{Keys: []string{"k"}, Owner: "me", Wait: time.Minute})
	select {
	case o := <-got:
		t.Fatalf("answered by a replica: %+v", o)
	case <-time.After(100 * time.Millisecond):
	}
	if err := r.redis.ReplicaOf(bg, "NO", "ONE").Err(); err != nil {
		t.Fatal(err)
	}
	granted(t, got, 2*time.Second, "the request")
	r.free(held)
}

// startLoading is a rig whose server has just begun to load its data, which takes a
// second or more.
func startLoading(t *testing.T) *rig {
	t.Helper()
	server := redistest.Start(t, "--key-load-delay", "2000",
		"--loading-process-events-interval-bytes", "1024", "--rdbcompression", "no")
	r := (&rig{nil, t, server, server.Client()}).at(lockredis.Config{RedisURL: server.URL()})
	r.free(r.take("warm", 0, "warm-up"))
	pipe := r.redis.Pipeline()
	for i := range 700 {
		pipe.Set(bg, fmt.Sprint("data-", i), strings.Repeat("x", 1024), 0)
	}
	pipe.Save(bg)
	if _, err := pipe.Exec(bg); err != nil {
		t.Fatal(err)
	}
	server.RestartLoading()
	redistest.Eventually(t, 5*time.Second, func() string {
		if err := r.redis.Get(bg, "data-1").Err(); err == nil || !strings.HasPrefix(err.Error(), "LOADING") {
			return fmt.Sprint("it does not load: ", err)
		}
		return ""
	})
	return r
}

func TestAServerThatLoadsItsDataIsAskedAgainUntilItHasOrTheTimeIsUp(t *testing.T) {
	t.Parallel()
	r := startLoading(t)
	if _, err := r.Acquire(soon(t), driver.Request{Keys: []string{"k"}, Owner: "me", Wait: time.Minute}); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "LOADING") {
		t.Errorf("when the context ends: %v", err)
	}
	if _, err := r.Acquire(bg, try("me", "k")); err == nil || !strings.Contains(err.Error(), "LOADING") {
		t.Errorf("without waiting: %v", err)
	}
	g, err := r.Acquire(bg, driver.Request{Keys: []string{"k"}, Owner: "me", Wait: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	r.free(g)
}
