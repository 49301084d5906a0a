package lockredis_test

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockingtest"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

// Most of these tests wait for a server, or for time to pass, and not for a processor.
func TestMain(m *testing.M) {
	flag.Parse()
	if given := flag.Lookup("test.parallel"); given.Value.String() == given.DefValue {
		given.Value.Set(strconv.Itoa(max(6, runtime.GOMAXPROCS(0))))
	}
	// The client tries to reach a server that is gone once a second, and sees only then that
	// it was closed.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}

func TestTheServiceKeepsItsPromisesOnRedis(t *testing.T) {
	server := redistest.Start(t)
	lockingtest.RunService(t, func(testing.TB) driver.Provider {
		return lockredis.New(lockredis.Config{RedisURL: server.URL()})
	})
}

func TestTheProviderKeepsItsContractOnRedis(t *testing.T) {
	server := redistest.Start(t, "--databases", "1000")
	dbs := &databases{byTest: map[string]int{}}
	lockingtest.RunProvider(t, lockingtest.Subject{
		New: func(t testing.TB) driver.Provider {
			return lockredis.New(lockredis.Config{RedisURL: fmt.Sprintf("%s/%d", server.URL(), dbs.of(t))})
		},
		Shared: true,
		Left:   func(t testing.TB) []string { return leftBehind(t, server, dbs.of(t)) },
	})
}

// databases has one database of the server for each test: what is left in it at
// the end is the test's.
type databases struct {
	mu     sync.Mutex
	byTest map[string]int
}

func (d *databases) of(t testing.TB) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, ok := d.byTest[t.Name()]
	if !ok {
		n = len(d.byTest)
		d.byTest[t.Name()] = n
	}
	return n
}

// leftBehind lists what a database has beside the last token, the last ticket, the
// records of what was taken by force, and what ends by itself: that a process lives or is away,
// and that a request has ended which may still be on its way.
func leftBehind(t testing.TB, server *redistest.Server, db int) []string {
	t.Helper()
	ctx := context.Background()
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), DB: db})
	defer client.Close()
	var left []string
	for keys := client.Scan(ctx, 0, "*", 1000).Iterator(); keys.Next(ctx); {
		if key := keys.Val(); !explained(ctx, client, key) {
			left = appendLeft(ctx, left, client, key)
		}
	}
	slices.SortFunc(left, cmp.Compare[string])
	return left
}

func explained(ctx context.Context, client *redis.Client, key string) bool {
	_, name, ok := strings.Cut(key, "}:")
	if !ok || !strings.HasPrefix(key, "~lockstep:") {
		return false
	}
	switch {
	case name == "t", name == "n", name == "a":
		return true
	case strings.HasPrefix(name, "p:"), strings.HasPrefix(name, "d:"), strings.HasPrefix(name, "x:"):
		return client.PTTL(ctx, key).Val() > 0
	}
	return false
}

// appendLeft lists a key, unless it has ended by itself since it was seen.
func appendLeft(ctx context.Context, left []string, client *redis.Client, key string) []string {
	what := content(ctx, client, key)
	if what == "none" {
		return left
	}
	return append(left, strings.TrimSpace(fmt.Sprintf("%.200q %s", key, what)))
}

// content shows what a key has, for the one who looks for the reason.
func content(ctx context.Context, client *redis.Client, key string) string {
	ttl := client.PTTL(ctx, key).Val()
	switch kind := client.Type(ctx, key).Val(); kind {
	case "hash":
		return fmt.Sprintf("hash, ttl %s: %.1000q", ttl, client.HGetAll(ctx, key).Val())
	case "set":
		return fmt.Sprintf("set, ttl %s: %.1000q", ttl, client.SMembers(ctx, key).Val())
	case "zset":
		return fmt.Sprintf("zset, ttl %s: %.1000q", ttl, client.ZRange(ctx, key, 0, -1).Val())
	case "string":
		return fmt.Sprintf("string, ttl %s: %.200q", ttl, client.Get(ctx, key).Val())
	default:
		return kind
	}
}
