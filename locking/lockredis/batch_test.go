package lockredis_test

import (
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

// together has requests sent in one batch. The outcomes are in their order.
func (r *rig) together(requests ...driver.Request) []<-chan outcome {
	r.t.Helper()
	queued, release := r.HoldPipe()
	var got []<-chan outcome
	for i, req := range requests {
		got = append(got, r.ask(req))
		redistest.Eventually(r.t, 5*time.Second, func() string {
			if n := queued(); n != i+1 {
				return fmt.Sprintf("%d are to be sent", n)
			}
			return ""
		})
	}
	release()
	return got
}

// calls is how many scripts were called from outside, beside the ticks of this process,
// which come whenever they come.
func (r *rig) calls() (n int) {
	r.t.Helper()
	redistest.Eventually(r.t, 10*time.Second, func() string {
		before, _ := r.Ticks()
		stats := r.redis.Info(bg, "commandstats").Val()
		after, underWay := r.Ticks()
		if before != after || underWay {
			return "it ticks"
		}
		_, rest, _ := strings.Cut(stats, "cmdstat_evalsha:calls=")
		fmt.Sscanf(rest, "%d", &n)
		n -= int(after)
		return ""
	})
	return n
}

func try(owner string, keys ...string) driver.Request {
	return driver.Request{Keys: keys, Owner: owner, Wait: driver.NoWait}
}

func TestRequestsOfManyCallersGoInOneCall(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.free(r.take("warm", 0, "warm-up"))
	before := r.calls()
	var requests []driver.Request
	for i := range 50 {
		requests = append(requests, try("*", fmt.Sprint("k", i)))
	}
	for i, got := range r.together(requests...) {
		granted(t, got, 5*time.Second, fmt.Sprint("request ", i))
	}
	if n := r.calls() - before; n != 1 {
		t.Errorf("50 requests took %d calls", n)
	}
}

// The lock is kept as a hash by somebody, so it is nobody's to take.
func TestInACallOfManyOnlyTheRequestWithABadKeyFails(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.free(r.take("warm", 0, "warm-up"))
	for _, k := range []string{"bad", "bad2", "bad3"} {
		r.redis.HSet(bg, "medusa_lock:"+k, "f", 1)
	}
	r.take("x", 0, "busy")
	got := r.together(
		try("*", "a"), try("*", "bad"), try("me", "b", "bad2"), try("*", "c"), try("me", "d", "e"),
		driver.Request{Keys: []string{"busy"}, Owner: "*", Wait: time.Minute},
		driver.Request{Keys: []string{"bad3", "c"}, Owner: "me", Wait: 100 * time.Millisecond},
		try("*", "f"),
	)
	for i, keys := range map[int][]string{0: {"a"}, 3: {"c"}, 4: {"d", "e"}, 7: {"f"}} {
		r.free(granted(t, got[i], 5*time.Second, fmt.Sprint("the request for ", keys)))
	}
	for _, i := range []int{1, 2} {
		if o := asked(t, got[i], 5*time.Second, "a request for the bad key"); o.err == nil || !strings.Contains(o.err.Error(), "WRONGTYPE") || !strings.Contains(o.err.Error(), "medusa_lock:bad") {
			t.Errorf("request %d for the bad key: %v", i, o.err)
		}
	}
	if o := asked(t, got[6], 5*time.Second, "a request that waits for the bad key"); o.err == nil {
		t.Errorf("the bad key was granted: %+v", o.grant)
	}
	if n := r.redis.Exists(bg, "medusa_lock:b").Val(); n != 0 {
		t.Error("what a failed request had taken before is held")
	}
	r.inLine("busy", 1)
}

// The server refuses the whole call for the sake of one key.
func TestInACallOfManyOnlyTheRequestForAKeyThatTheUserMayNotTouchFails(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	onlooker := server.Client()
	if err := onlooker.Do(bg, "acl", "setuser", "clerk", "on", ">pass", "+@all", "&*",
		"~~lockstep:*", "~medusa_lock:mine-*").Err(); err != nil {
		t.Fatal(err)
	}
	r := (&rig{nil, t, server, onlooker}).at(lockredis.Config{RedisURL: strings.Replace(server.URL(), "//", "//clerk:pass@", 1)})
	g := r.take("*", 0, "mine-held")
	got := r.together(try("*", "mine-1"), try("*", "yours"), try("*", "mine-2"), try("me", "mine-3", "yours"))
	for _, i := range []int{0, 2} {
		granted(t, got[i], 5*time.Second, "a request for a key of its own")
	}
	for _, i := range []int{1, 3} {
		if o := asked(t, got[i], 5*time.Second, "a request for another's key"); o.err == nil || !strings.Contains(o.err.Error(), "NOPERM") {
			t.Errorf("got %v", o.err)
		}
	}

	queued, release := r.HoldPipe()
	freed := make(chan error, 2)
	for n, key := range []string{"mine-held", "yours"} {
		go func() {
			_, err := r.Release(bg, []driver.Hold{{Key: key, Owner: "*"}})
			if key == "yours" && (err == nil || !strings.Contains(err.Error(), "NOPERM")) {
				t.Errorf("release of %q: %v", key, err)
			} else if key != "yours" && err != nil {
				t.Errorf("release of %q: %v", key, err)
			}
			freed <- err
		}()
		redistest.Eventually(t, 5*time.Second, func() string {
			if queued() != n+1 {
				return fmt.Sprintf("%d are to be sent", queued())
			}
			return ""
		})
	}
	release()
	<-freed
	<-freed
	if v := onlooker.Get(bg, "medusa_lock:mine-held").Val(); v != "" {
		t.Errorf("%q still has the lock with token %d", v, g.Holds[0].Token)
	}
}

func TestOfTwoRequestsForAFreeKeyInOneCallOneGetsIt(t *testing.T) {
	t.Parallel()
	for name, owner := range map[string]string{"anonymous": "*", "by name": ""} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.free(r.take("warm", 0, "warm-up"))
			named := func(n string) string {
				if owner != "" {
					return owner
				}
				return n
			}
			waits := driver.Request{Keys: []string{"k"}, Owner: named("second"), Wait: time.Minute}
			got := r.together(try(named("first"), "k"), waits, try(named("third"), "k"))
			first := granted(t, got[0], 5*time.Second, "the first")
			if o := asked(t, got[2], 5*time.Second, "the third, which does not wait"); !errors.Is(o.err, driver.ErrBusy) {
				t.Errorf("the third: %+v, %v", o.grant, o.err)
			}
			r.inLine("k", 1)
			r.free(first)
			second := granted(t, got[1], time.Second, "the second, which waits")
			if second.Holds[0].Token <= first.Holds[0].Token {
				t.Errorf("the first has token %d, the second %d", first.Holds[0].Token, second.Holds[0].Token)
			}
		})
	}
}

func TestALockThatIsReleasedTwiceInOneCallIsFreedAndHandedOverOnce(t *testing.T) {
	t.Parallel()
	for name, owners := range map[string][]string{"to anonymous ones": {"*", "*"}, "to named ones": {"o1", "o2"}} {
		for _, byToken := range []bool{true, false} {
			t.Run(fmt.Sprint(name, ", compared by token ", byToken), func(t *testing.T) {
				r := newRig(t)
				h := r.take("*", 0, "k").Holds[0].Hold
				if !byToken {
					h.Token = 0
				}
				first := r.ask(driver.Request{Keys: []string{"k"}, Owner: owners[0], Wait: time.Minute})
				r.inLine("k", 1)
				second := r.ask(driver.Request{Keys: []string{"k"}, Owner: owners[1], Wait: time.Minute})
				r.inLine("k", 2)
				freed, err := r.Release(bg, []driver.Hold{h, h})
				if err != nil || !slices.Equal(freed, []bool{true, false}) {
					t.Fatalf("got %v, %v", freed, err)
				}
				r.inLine("k", 1)
				r.free(granted(t, first, time.Second, "the first in line"))
				granted(t, second, time.Second, "the second in line")
			})
		}
	}
}

func manyKeys(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("k%05d", i)
	}
	return keys
}

// Lua passes no more than some 8,000 arguments to a command.
func TestARequestMayHaveThousandsOfKeys(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	keys := manyKeys(9000)
	g := r.take("me", time.Minute, keys...)
	if n := len(r.redis.Keys(bg, "medusa_lock:*").Val()); n != len(keys) {
		t.Errorf("%d of %d locks are held", n, len(keys))
	}
	r.busy("you", keys[8000])
	r.free(g)
	if left := r.redis.Keys(bg, "medusa_lock:*").Val(); len(left) != 0 {
		t.Errorf("%d locks are left", len(left))
	}
}

func TestARequestForThousandsOfKeysThatFailsHoldsNone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	keys := manyKeys(9000)
	r.redis.HSet(bg, "medusa_lock:"+keys[8500], "f", 1)
	if _, err := r.Acquire(bg, try("me", keys...)); err == nil || !strings.Contains(err.Error(), "WRONGTYPE") {
		t.Errorf("got %v", err)
	}
	if left := r.redis.Keys(bg, "medusa_lock:*").Val(); len(left) != 1 {
		t.Errorf("%d locks are held by nobody", len(left)-1)
	}
}

func TestARequestForThousandsOfKeysThatWaitedIsServed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	keys := manyKeys(2500)
	g := r.take("x", 0, keys[7])
	got := r.ask(driver.Request{Keys: keys, Owner: "me", Wait: time.Minute})
	r.inLine(keys[7], 1)
	r.free(g)
	if n := len(granted(t, got, 2*time.Second, "the waiter").Holds); n != len(keys) {
		t.Errorf("it has %d of %d", n, len(keys))
	}
}

// One lock in a batch of renewals was replaced by something else.
func TestAHoldThatCannotBeExtendedDoesNotCostTheOthers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	holds := r.take("me", 5*time.Second, "bad", "good").Holds
	if _, err := r.redis.TxPipelined(bg, func(tx redis.Pipeliner) error {
		tx.Del(bg, "medusa_lock:bad")
		tx.HSet(bg, "medusa_lock:bad", "f", 1)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	got, err := r.Extend(bg, time.Minute, []driver.Hold{holds[0].Hold, holds[1].Hold})
	if err != nil || got[0].Held || !got[1].Held {
		t.Fatalf("got %+v, %v", got, err)
	}
	if ttl := r.redis.PTTL(bg, "medusa_lock:good").Val(); ttl < 50*time.Second {
		t.Errorf("extended to a minute, it lives %s", ttl)
	}
}
