package lockredis_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

const foreignLock = lockredis.DefaultNamespace + "k"

// foreign takes the lock as Medusa's provider does; zero is no expiry.
func (r *rig) foreign(ttl time.Duration) {
	r.t.Helper()
	if ok, err := r.redis.SetNX(bg, foreignLock, "a cart", ttl).Result(); !ok || err != nil {
		r.t.Fatalf("the foreign lock: %t, %v", ok, err)
	}
}

// tracked waits until the server is to tell of so many keys.
func (r *rig) tracked(keys int) {
	r.t.Helper()
	redistest.Eventually(r.t, 10*time.Second, func() string {
		info := r.redis.Info(bg, "stats").Val()
		if !strings.Contains(info, fmt.Sprintf("tracking_total_keys:%d\r", keys)) {
			return info
		}
		return ""
	})
}

// handOffs has a waiter wait for a foreign lock, so many times, and returns how long
// after the lock's end each had it, sorted. How it ends is up to end, which returns when
// that was.
func (r *rig) handOffs(times int, ttl time.Duration, end func() time.Time) []time.Duration {
	r.t.Helper()
	var took []time.Duration
	for range times {
		r.foreign(ttl)
		got := r.waitFor(0, driver.Request{Keys: []string{"k"}, Owner: "us", Wait: 20 * time.Second})
		ended := end()
		g := await(r.t, got, 10*time.Second)
		took = append(took, g.at.Sub(ended))
		r.free(g.grant)
	}
	slices.Sort(took)
	return took
}

func percentile(sorted []time.Duration, p int) time.Duration {
	return sorted[min(len(sorted)*p/100, len(sorted)-1)]
}

// quick prints the middle and the slowest of them, and bounds all but the slowest
// twentieth: those show how busy the machine is.
func quick(t *testing.T, what string, took []time.Duration, promised time.Duration) {
	t.Helper()
	t.Logf("%s, %d times: p50 %s, p99 %s; the p99 is promised to be %s", what, len(took), percentile(took, 50), percentile(took, 99), promised)
	within(t, what+", p95", percentile(took, 95), promised)
}

func TestTheDeletionOfAForeignLockReachesItsWaiterWithin2ms(t *testing.T) {
	for name, begins := range map[string]func(*rig){
		"that has just begun to wait": func(*rig) {},
		"that has waited":             func(r *rig) { r.tracked(1) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			quick(t, "a foreign DEL", r.handOffs(200, 0, func() time.Time {
				begins(r)
				r.redis.Del(bg, foreignLock)
				return time.Now()
			}), 2*time.Millisecond)
		})
	}
}

// noTracking is a rig whose user may not use client tracking.
func noTracking(t *testing.T) *rig {
	t.Helper()
	server := redistest.Start(t)
	admin := server.Client()
	if err := admin.Do(bg, "acl", "setuser", "locks", "on", ">pw", "~*", "&*", "+@all", "-client|tracking").Err(); err != nil {
		t.Fatal(err)
	}
	p, _, err := start(t, lockredis.Config{RedisURL: strings.Replace(server.URL(), "redis://", "redis://locks:pw@", 1)})
	if err != nil {
		t.Fatal(err)
	}
	return &rig{p, t, server, admin}
}

func TestWithoutClientTrackingTheDeletionOfAForeignLockIsNoticedWithinATick(t *testing.T) {
	r := noTracking(t)
	took := r.handOffs(5, 0, func() time.Time {
		r.redis.Del(bg, foreignLock)
		return time.Now()
	})
	within(t, "a foreign DEL without tracking, the slowest", took[len(took)-1], tick)
	if info := r.redis.Info(bg, "clients").Val(); !strings.Contains(info, "tracking_clients:0\r") {
		t.Errorf("somebody tracks: %s", info)
	}
}

func TestTheExpiryOfAForeignLockReachesItsWaiterWithinAFewMilliseconds(t *testing.T) {
	for name, rigOf := range map[string]func(*testing.T) *rig{"with tracking": newRig, "without": noTracking} {
		t.Run(name, func(t *testing.T) {
			r := rigOf(t)
			took := r.handOffs(30, 100*time.Millisecond, func() time.Time { return r.lapses("k") })
			if took[0] < -time.Millisecond {
				t.Errorf("it was granted %s before the foreign lock lapsed", -took[0])
			}
			quick(t, "a foreign expiry", took, 5*time.Millisecond)
		})
	}
}

func TestForeignLocksAreTrackedAgainWhenTheConnectionThatAskedIsGone(t *testing.T) {
	r := newRig(t)
	r.foreign(0)
	got := r.waitFor(0, driver.Request{Keys: []string{"k"}, Owner: "us", Wait: 20 * time.Second})
	r.tracked(1)
	killed := 0
	for line := range strings.Lines(r.redis.ClientList(bg).Val()) {
		fields := strings.Fields(line)
		if i := slices.IndexFunc(fields, func(f string) bool { return strings.HasPrefix(f, "flags=") && strings.Contains(f, "t") }); i >= 0 {
			if n := r.redis.ClientKillByFilter(bg, "id", strings.TrimPrefix(fields[0], "id=")).Val(); n != 1 {
				t.Fatalf("killed were %d connections", n)
			}
			killed++
		}
	}
	if killed != 1 {
		t.Fatalf("killed were %d connections that track", killed)
	}
	redistest.Eventually(t, 10*time.Second, func() string {
		if info := r.redis.Info(bg, "clients").Val(); !strings.Contains(info, "tracking_clients:1\r") {
			return info
		}
		return ""
	})
	r.redis.Del(bg, foreignLock)
	r.free(await(t, got, 10*time.Second).grant)
}
