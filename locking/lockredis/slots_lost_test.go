package lockredis_test

import (
	"context"
	"errors"
	"fmt"
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

// tries calls a function before a key is asked for without waiting.
type tries struct {
	redis.Hook

	key string
	do  atomic.Pointer[func()]
}

func (h *tries) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *tries) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (h *tries) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		names, tries := false, false
		for _, arg := range cmd.Args() {
			if text, ok := arg.(*string); ok {
				names = names || *text == "medusa_lock:"+h.key
				tries = tries || strings.HasPrefix(*text, "try ")
			}
		}
		if do := h.do.Load(); do != nil && names && tries {
			(*do)()
		}
		return next(ctx, cmd)
	}
}

// losing is a rig on a cluster of one. Each time that the second of two slots is asked, the
// key of the first one has just been lost, as with a node that comes back without its data.
// Somebody else may take it.
func losing(t *testing.T, then func(r *rig, first string, times int)) (r *rig, client redis.UniversalClient, first string) {
	t.Helper()
	server := redistest.StartCluster(t, 1, 0).Masters[0]
	client = redis.NewUniversalClient(&redis.UniversalOptions{Addrs: []string{server.Addr()}, IsClusterMode: true})
	t.Cleanup(func() { client.Close() })
	p, _, err := start(t, lockredis.Config{Client: client})
	if err != nil {
		t.Fatal(err)
	}
	r = &rig{p, t, server, server.Client()}
	first, second := inSlotOrder()
	hook, times := &tries{key: second}, 0
	lose := func() {
		times++
		then(r, first, times)
	}
	hook.do.Store(&lose)
	client.AddHook(hook)
	return r, client, first
}

// lost loses a key.
func (r *rig) lost(key string) {
	r.t.Helper()
	if n, err := r.redis.Del(bg, "medusa_lock:"+key).Result(); n != 1 || err != nil {
		r.t.Errorf("%q was not held: %d, %v", key, n, err)
	}
}

// nothingHeld says that in the end none of the keys of both slots is held.
func (r *rig) nothingHeld() {
	r.t.Helper()
	redistest.Eventually(r.t, 5*time.Second, func() string {
		if held := r.redis.Exists(bg, "medusa_lock:a", "medusa_lock:b").Val(); held != 0 {
			return fmt.Sprintf("%d keys are held", held)
		}
		return ""
	})
}

func TestARequestForSeveralSlotsThatDoesNotWaitAndLosesAKeyMeanwhileTakesItAgain(t *testing.T) {
	t.Parallel()
	r, _, _ := losing(t, func(r *rig, first string, times int) {
		if times == 1 {
			r.lost(first)
		}
	})
	for _, h := range r.take("me", 0, "a", "b").Holds {
		if v := r.redis.Get(bg, "medusa_lock:"+h.Key).Val(); v != "me" {
			t.Errorf("%q was granted, and is %q's", h.Key, v)
		}
	}
}

func TestARequestForSeveralSlotsThatDoesNotWaitIsToldWhoTookWhatItLost(t *testing.T) {
	t.Parallel()
	r, _, first := losing(t, func(r *rig, first string, _ int) {
		r.lost(first)
		r.redis.Set(bg, "medusa_lock:"+first, "thief", 0)
	})
	_, err := r.Acquire(bg, driver.Request{Keys: []string{"a", "b"}, Owner: "me", Wait: driver.NoWait})
	if busy, ok := errors.AsType[*driver.BusyError](err); !ok || *busy != (driver.BusyError{Key: first, Holder: "thief"}) {
		t.Errorf("got %v", err)
	}
	r.lost(first)
	r.nothingHeld()
}

func TestARequestForSeveralSlotsThatDoesNotWaitAndLosesAKeyAgainAndAgainIsBusy(t *testing.T) {
	t.Parallel()
	r, _, first := losing(t, func(r *rig, first string, _ int) { r.lost(first) })
	_, err := r.Acquire(bg, driver.Request{Keys: []string{"a", "b"}, Owner: "me", Wait: driver.NoWait})
	if busy, ok := errors.AsType[*driver.BusyError](err); !ok || busy.Key != first || errors.Is(err, driver.ErrTimeout) {
		t.Errorf("got %v", err)
	}
	r.nothingHeld()
}

func TestTryAcquireOverSlotsThatLosesAKeyAgainAndAgainIsErrNotAcquired(t *testing.T) {
	t.Parallel()
	r, client, first := losing(t, func(r *rig, first string, _ int) { r.lost(first) })
	s, err := locking.New(bg, locking.Config{Providers: []locking.Registration{
		{ID: "locking-redis", IsDefault: true, Provider: lockredis.New(lockredis.Config{Client: client})},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(bg); err != nil {
			t.Error(err)
		}
	})
	_, err = s.TryAcquire(bg, locking.Keys("a", "b"), locking.WithOwner("me"))
	if no, ok := errors.AsType[*locking.NotAcquiredError](err); !ok || no.Key != first || !errors.Is(err, locking.ErrNotAcquired) {
		t.Errorf("got %v", err)
	}
	r.nothingHeld()
}

// What an owner has already keeps its expiry where the request asks for none, and is not
// extended in the end.
func TestWhatARequestForSeveralSlotsHasJoinedIsTakenAgainWhenItWasLostMeanwhile(t *testing.T) {
	t.Parallel()
	for name, ttl := range map[string]time.Duration{"with an expiry": time.Minute, "without": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := clusterRig(t)
			first, second := inSlotOrder()
			r.take("me", ttl, first)
			held := r.take("x", 0, second)
			got := r.ask(driver.Request{Keys: []string{"a", "b"}, Owner: "me", Wait: 30 * time.Second})
			r.inLine(second, 1)
			r.lost(first)
			thief := r.take("thief", 0, first)
			r.free(held)
			r.inLine(first, 1) // it asks again
			never(t, 200*time.Millisecond, func() string { return ended(got) })
			r.free(thief)
			for _, h := range granted(t, got, 10*time.Second, "the request").Holds {
				if v := r.redis.Get(bg, "medusa_lock:"+h.Key).Val(); v != "me" {
					t.Errorf("%q was granted, and is %q's", h.Key, v)
				}
			}
		})
	}
}
