package lockredis_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

// bySentinel is how a provider is configured that is led to its master by sentinels.
func bySentinel(s *redistest.Sentinel) lockredis.Config {
	return lockredis.Config{
		RedisURL: "redis://" + s.Sentinels[0].Addr(),
		RedisOptions: func(o *redis.UniversalOptions) {
			o.Addrs, o.MasterName = s.Addrs(), redistest.MasterName
		},
	}
}

func TestTheProviderKeepsItsContractBehindSentinels(t *testing.T) {
	t.Parallel()
	s := redistest.StartSentinel(t, 1)
	conformance(t, "t%08x:", s.Servers[:1], s.Client(), nil)
}

func TestAfterAFailoverWaitersGoOnAndTokensRise(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(*redistest.Sentinel) (*redistest.Server, *redistest.Server){
		"by command":                  (*redistest.Sentinel).FailOver,
		"since the master was killed": (*redistest.Sentinel).KillMaster,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := redistest.StartSentinel(t, 2)
			r := (&rig{nil, t, s.Master(), s.Client()}).at(bySentinel(s))
			other := r.at(bySentinel(s))
			held := r.take("me", time.Minute, "k")
			got := other.ask(driver.Request{Keys: []string{"k"}, Owner: "next", TTL: time.Minute, Wait: 2 * time.Minute})
			other.knowsOf(1)
			began := time.Now()
			fail(s)
			t.Logf("failed over after %s", time.Since(began))
			redistest.Eventually(t, 20*time.Second, func() string {
				if _, err := r.Release(bg, []driver.Hold{held.Holds[0].Hold}); err != nil {
					return err.Error()
				}
				return ""
			})
			next := granted(t, got, 20*time.Second, "the waiter")
			t.Logf("the waiter was served %s after the failover began", time.Since(began))
			if next.Holds[0].Token <= held.Holds[0].Token {
				t.Errorf("the token is %d, before it was %d", next.Holds[0].Token, held.Holds[0].Token)
			}
			other.free(next)
			r.free(r.take("me", 0, "k"))
		})
	}
}

// Replication is asynchronous: what the old master has acknowledged last may be unknown to
// the new one.
func TestALockThatAFailoverHasForgottenIsLostAtOnceAndOneThatWasReplicatedStands(t *testing.T) {
	t.Parallel()
	s := redistest.StartSentinel(t, 1)
	service := serviceOf(t, bySentinel(s))
	kept, err := service.Acquire(bg, locking.Keys("kept"))
	if err != nil {
		t.Fatal(err)
	}
	replica := s.Servers[1].Client()
	redistest.Eventually(t, 10*time.Second, func() string {
		if v := replica.Get(bg, "medusa_lock:kept").Val(); v == "" {
			return "it is not replicated"
		}
		return ""
	})
	// The replica hears nothing any more. The sentinels would mend that within seconds.
	if err := replica.ReplicaOf(bg, "127.0.0.1", "1").Err(); err != nil {
		t.Fatal(err)
	}
	forgotten, err := service.Acquire(bg, locking.Keys("forgotten")) // without an expiry nothing renews it
	if err != nil {
		t.Fatal(err)
	}
	s.Servers[0].Kill()
	if v := replica.Get(bg, "medusa_lock:forgotten").Val(); v != "" {
		t.Fatal("it was replicated")
	}
	began := time.Now()
	select {
	case <-forgotten.Context().Done():
		t.Logf("lost %s after the kill", time.Since(began))
	case <-time.After(60 * time.Second):
		t.Fatal("its context goes on")
	}
	if cause := context.Cause(forgotten.Context()); !errors.Is(cause, locking.ErrLockLost) {
		t.Errorf("the cause is %v", cause)
	}
	if err := kept.Context().Err(); err != nil {
		t.Errorf("the lock that stands has ended: %v", context.Cause(kept.Context()))
	}
	if err := kept.Release(bg); err != nil {
		t.Errorf("the lock that stands: %v", err)
	}
}

func TestSentinelsThatKnowNoSuchMasterAreNamed(t *testing.T) {
	t.Parallel()
	s := redistest.StartSentinel(t, 1)
	cfg := bySentinel(s)
	inner := cfg.RedisOptions
	cfg.RedisOptions = func(o *redis.UniversalOptions) {
		inner(o)
		o.MasterName, o.Password = "another", secret
	}
	_, _, err := start(t, cfg)
	if err == nil || !strings.Contains(err.Error(), s.Sentinels[0].Addr()) {
		t.Fatalf("got %v", err)
	}
	t.Log(err)
}
