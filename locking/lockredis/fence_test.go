package lockredis_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockstep-dev/lockstep/internal/rediskit"
	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

func newFence(t *testing.T) (lockredis.Fence, *redis.Client) {
	t.Helper()
	client := redistest.Start(t).Client()
	return lockredis.Fence{Client: client}, client
}

func mustWrite(t *testing.T, f lockredis.Fence, resource string, token driver.Token, commands ...lockredis.Command) []any {
	t.Helper()
	answers, err := f.Write(bg, resource, token, commands...)
	if err != nil {
		t.Fatalf("write to %q with token %d: %v", resource, token, err)
	}
	return answers
}

func wantStale(t *testing.T, err error, resource string, token, newest driver.Token) {
	t.Helper()
	var stale *lockredis.StaleTokenError
	if !errors.As(err, &stale) || !errors.Is(err, lockredis.ErrStaleToken) ||
		*stale != (lockredis.StaleTokenError{Resource: resource, Token: token, Newest: newest}) {
		t.Fatalf("got %v, want token %d to be stale after %d", err, token, newest)
	}
}

func TestAFenceLetsTheSameAndNewerTokensThroughAndNoOlderOne(t *testing.T) {
	t.Parallel()
	f, client := newFence(t)
	mustWrite(t, f, "k", 10, lockredis.Cmd("SET", "k", "a"))
	mustWrite(t, f, "k", 10, lockredis.Cmd("SET", "k", "b"))
	mustWrite(t, f, "k", 11, lockredis.Cmd("SET", "k", "c"))
	_, err := f.Write(bg, "k", 10, lockredis.Cmd("SET", "k", "d"))
	wantStale(t, err, "k", 10, 11)
	_, err = f.Write(bg, "k", 9, lockredis.Cmd("SET", "k", "e"))
	wantStale(t, err, "k", 9, 11)
	if v := client.Get(bg, "k").Val(); v != "c" {
		t.Fatalf("k is %q", v)
	}
}

func TestAFenceComparesTokensOfAnySize(t *testing.T) {
	t.Parallel()
	f, _ := newFence(t)
	rising := []driver.Token{1, 9, 10, 99, 100, 1<<53 - 1, 1 << 53, 1<<53 + 1, 1<<63 + 1, 1<<64 - 2, 1<<64 - 1}
	for i, token := range rising {
		if err := f.Raise(bg, "r", token); err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			wantStale(t, f.Raise(bg, "r", rising[i-1]), "r", rising[i-1], token)
		}
	}
}

func TestTokenZeroIsAlwaysRefused(t *testing.T) {
	t.Parallel()
	f, client := newFence(t)
	_, err := f.Write(bg, "fresh", 0, lockredis.Cmd("SET", "fresh", "a"))
	wantStale(t, err, "fresh", 0, 0)
	wantStale(t, f.Raise(bg, "fresh", 0), "fresh", 0, 0)
	_, err = f.Run(bg, lockredis.NewFencedScript("return 1"), "fresh", 0, nil)
	wantStale(t, err, "fresh", 0, 0)
	if keys := client.Keys(bg, "*").Val(); len(keys) != 0 {
		t.Fatalf("stored are %q", keys)
	}
}

func TestRaiseShutsOutTheOlderTokenBeforeTheNewerHasWritten(t *testing.T) {
	t.Parallel()
	f, client := newFence(t)
	mustWrite(t, f, "k", 1, lockredis.Cmd("SET", "k", "old"))
	if err := f.Raise(bg, "k", 2); err != nil {
		t.Fatal(err)
	}
	_, err := f.Write(bg, "k", 1, lockredis.Cmd("SET", "k", "late"))
	wantStale(t, err, "k", 1, 2)
	if v := client.Get(bg, "k").Val(); v != "old" {
		t.Fatalf("k is %q", v)
	}
}

func TestFencesOfDifferentResourcesAreDifferent(t *testing.T) {
	t.Parallel()
	f, _ := newFence(t)
	names := []string{"a", "a\x00", "{a}", "a{b}", "}{", ":", "\xff", "f:a", strings.Repeat("k", 64<<10)}
	for i, r := range names {
		if err := f.Raise(bg, r, driver.Token(100+i)); err != nil {
			t.Fatalf("%.40q: %v", r, err)
		}
	}
	for i, r := range names {
		wantStale(t, f.Raise(bg, r, driver.Token(99+i)), r, driver.Token(99+i), driver.Token(100+i))
	}
}

func TestAFencedWriteHasManyCommandsAndTheirAnswers(t *testing.T) {
	t.Parallel()
	f, client := newFence(t)
	client.Set(bg, "n", 41, 0)
	got := mustWrite(t, f, "order:1", 5,
		lockredis.Cmd("SET", "a", "\x00\xff"),
		lockredis.Cmd("HSET", "h", "f", 1, "g", []byte("two")),
		lockredis.Cmd("INCR", "n"),
		lockredis.Cmd("SET", "n", 7, "XX", "GET"),
		lockredis.Cmd("HGET", "h", "nothing"),
		lockredis.Cmd("DEL", "n"),
		lockredis.Cmd("DEL", "n"),
	)
	if want := []any{"OK", int64(2), int64(42), "42", nil, int64(1), int64(0)}; !reflect.DeepEqual(got, want) {
		t.Fatalf("got %#v, want %#v", got, want)
	}
	if client.Get(bg, "a").Val() != "\x00\xff" || client.HGet(bg, "h", "g").Val() != "two" || client.Exists(bg, "n").Val() != 0 {
		t.Fatal("it wrote something else")
	}
}

func TestACommandThatFailsIsAnErrorAndEndsTheWrite(t *testing.T) {
	t.Parallel()
	f, client := newFence(t)
	_, err := f.Write(bg, "r", 1,
		lockredis.Cmd("SET", "a", "written"), lockredis.Cmd("HSET", "a", "f", "v"), lockredis.Cmd("SET", "b", "not reached"))
	if err == nil || !strings.Contains(err.Error(), "WRONGTYPE") || errors.Is(err, lockredis.ErrStaleToken) {
		t.Fatalf("got %v", err)
	}
	if client.Get(bg, "a").Val() != "written" || client.Exists(bg, "b").Val() != 0 {
		t.Fatal("not as documented")
	}
	if _, err := f.Write(bg, "r", 1, lockredis.Cmd("NOSUCH", "a")); err == nil {
		t.Fatal("there is such a command")
	}
}

func TestAFencedScriptHasItsOwnKeysArgumentsAndResult(t *testing.T) {
	t.Parallel()
	f, client := newFence(t)
	s := lockredis.NewFencedScript(`
		-- takes ARGV[1] pieces from the stock, or none
		local left = tonumber(redis.call('GET', KEYS[1]) or '0') - ARGV[1]
		if left < 0 then
			return false
		end
		redis.call('SET', KEYS[1], left)
		return { left, #KEYS, #ARGV, KEYS[2], ARGV[2] }`)
	client.Set(bg, "stock", 5, 0)
	run := func(token driver.Token, n int) (any, error) {
		return f.Run(bg, s, "stock", token, []string{"stock", "second"}, n, "\x00\xff")
	}
	if got, err := run(7, 3); err != nil || !reflect.DeepEqual(got, []any{int64(2), int64(2), int64(2), "second", "\x00\xff"}) {
		t.Fatalf("got %#v, %v", got, err)
	}
	if got, err := run(8, 3); err != nil || got != nil {
		t.Fatalf("of two it took three: %#v, %v", got, err)
	}
	_, err := run(7, 1)
	wantStale(t, err, "stock", 7, 8)
	if v := client.Get(bg, "stock").Val(); v != "2" {
		t.Fatalf("the stock is %s", v)
	}
	if _, err := f.Run(bg, lockredis.NewFencedScript("return nothing.at.all"), "stock", 8, nil); err == nil || errors.Is(err, lockredis.ErrStaleToken) {
		t.Fatalf("a script that fails: %v", err)
	}
}

func TestAScriptThatTheServerForgotIsSentAgainBehindItsFence(t *testing.T) {
	t.Parallel()
	f, client := newFence(t)
	mustWrite(t, f, "k", 1, lockredis.Cmd("SET", "k", 1))
	client.ScriptFlush(bg)
	mustWrite(t, f, "k", 1, lockredis.Cmd("INCR", "k"))
	if v := client.Get(bg, "k").Val(); v != "2" {
		t.Fatalf("k is %s", v)
	}
}

func TestAFenceIsKeptForEverUnlessARetentionIsNamed(t *testing.T) {
	t.Parallel()
	f, client := newFence(t)
	fence := fmt.Sprintf("~lockstep:{%s}:f:k", rediskit.Tag(rediskit.Slot("k")))
	if err := f.Raise(bg, "k", 1); err != nil {
		t.Fatal(err)
	}
	if ttl := client.TTL(bg, fence).Val(); ttl != -1 {
		t.Fatalf("its time to live is %s", ttl)
	}
	f.Retention = time.Hour
	if err := f.Raise(bg, "k", 1); err != nil {
		t.Fatal(err)
	}
	if ttl := client.TTL(bg, fence).Val(); ttl < 59*time.Minute || ttl > time.Hour {
		t.Fatalf("its time to live is %s", ttl)
	}
	f.Retention = 0
	if err := f.Raise(bg, "k", 1); err != nil {
		t.Fatal(err)
	}
	if ttl := client.TTL(bg, fence).Val(); ttl != -1 {
		t.Fatalf("without a retention again its time to live is %s", ttl)
	}
	f.Retention = 20 * time.Millisecond
	if err := f.Raise(bg, "k", 1); err != nil {
		t.Fatal(err)
	}
	redistest.Eventually(t, 5*time.Second, func() string {
		return strings.Join(client.Keys(bg, "*").Val(), ", ")
	})
}

func TestBadFencedWritesAreRefusedBeforeTheyAreSent(t *testing.T) {
	t.Parallel()
	f, client := newFence(t)
	ok := lockredis.Cmd("SET", "k", "v")
	for want, write := range map[string]func() error{
		"client":    func() error { return lockredis.Fence{}.Raise(bg, "k", 1) },
		"resource":  func() error { return f.Raise(bg, "", 1) },
		"commands":  func() error { _, err := f.Write(bg, "k", 1); return err },
		"command":   func() error { _, err := f.Write(bg, "k", 1, ok, lockredis.Cmd("SET", "", "v")); return err },
		"retention": func() error { return lockredis.Fence{Client: client, Retention: -time.Second}.Raise(bg, "k", 1) },
	} {
		var bad *lockredis.FenceError
		if err := write(); !errors.As(err, &bad) || bad.Field != want {
			t.Errorf("%s: %v", want, err)
		}
	}
	for _, err := range []error{
		func() error { _, err := f.Write(bg, "k", 1, lockredis.Cmd("", "k")); return err }(),
		lockredis.Fence{Client: client, Retention: time.Microsecond}.Raise(bg, "k", 1),
	} {
		if _, ok := errors.AsType[*lockredis.FenceError](err); !ok {
			t.Errorf("got %v", err)
		}
	}
	if keys := client.Keys(bg, "*").Val(); len(keys) != 0 {
		t.Fatalf("stored are %q", keys)
	}
}

func TestAFenceThatHoldsSomethingElseIsAnErrorAndLetsNothingThrough(t *testing.T) {
	t.Parallel()
	f, client := newFence(t)
	fence := fmt.Sprintf("~lockstep:{%s}:f:k", rediskit.Tag(rediskit.Slot("k")))
	client.Set(bg, fence, "12x", 0)
	_, err := f.Write(bg, "k", 1<<60, lockredis.Cmd("SET", "k", "v"))
	if err == nil || errors.Is(err, lockredis.ErrStaleToken) || !strings.Contains(err.Error(), "something else than a token") {
		t.Fatalf("got %v", err)
	}
	if client.Exists(bg, "k").Val() != 0 {
		t.Fatal("it was written")
	}
}

func TestOnAClusterAFenceIsInTheSlotOfItsResource(t *testing.T) {
	t.Parallel()
	r := clusterRig(t)
	f := lockredis.Fence{Client: r.redis}
	for _, k := range []string{"k", "{order:1}:total", "}{", "\x00\xff", "a{}b"} {
		mustWrite(t, f, k, 1, lockredis.Cmd("SET", k, "v"))
	}
	mustWrite(t, f, "{order:1}", 2, lockredis.Cmd("SET", "{order:1}:a", "v"), lockredis.Cmd("SET", "{order:1}:b", "v"))
	if _, err := f.Write(bg, "k", 1, lockredis.Cmd("SET", "elsewhere", "v")); err == nil || !strings.Contains(err.Error(), "CROSSSLOT") {
		t.Fatalf("got %v", err)
	}
}

func TestAWriterWhoseContextHasEndedWritesNothing(t *testing.T) {
	t.Parallel()
	f, client := newFence(t)
	ctx, cancel := context.WithCancel(bg)
	cancel()
	if _, err := f.Write(ctx, "k", 1, lockredis.Cmd("SET", "k", "v")); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if client.Exists(bg, "k").Val() != 0 {
		t.Fatal("it was written")
	}
}

// The case that a fence is for: a holder that does not know that its lock is over.
func TestAHolderThatWasPausedPastItsLockWritesNothingAfterTheNextOne(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	f := lockredis.Fence{Client: r.redis}
	old := r.take("paused", 300*time.Millisecond, "stock").Holds[0].Hold
	mustWrite(t, f, "stock", old.Token, lockredis.Cmd("SET", "stock", 5))
	next := (<-r.wait("next", 0, "stock")).Holds[0].Hold
	mustWrite(t, f, "stock", next.Token, lockredis.Cmd("SET", "stock", 4))
	_, err := f.Write(bg, "stock", old.Token, lockredis.Cmd("SET", "stock", 3))
	wantStale(t, err, "stock", old.Token, next.Token)
}

func TestOfManyWritersAtOnceTheNewestTokenHasTheLastWord(t *testing.T) {
	t.Parallel()
	f, client := newFence(t)
	const n = 64
	var writers sync.WaitGroup
	for i := 1; i <= n; i++ {
		writers.Go(func() {
			for range 20 {
				_, err := f.Write(bg, "k", driver.Token(i), lockredis.Cmd("SET", "k", i))
				if err != nil && !errors.Is(err, lockredis.ErrStaleToken) {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	if v := client.Get(bg, "k").Val(); v != fmt.Sprint(n) {
		t.Fatalf("the last word has %s", v)
	}
}
