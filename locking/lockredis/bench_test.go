package lockredis_test

import (
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

func benchProvider(b *testing.B) *lockredis.Provider {
	b.Helper()
	server := redistest.Start(b)
	return startBench(b, server)
}

func startBench(b *testing.B, server *redistest.Server) *lockredis.Provider {
	b.Helper()
	p := lockredis.New(lockredis.Config{RedisURL: server.URL(), RedisOptions: func(o *redis.UniversalOptions) { o.PoolSize = 64 }})
	if err := p.Start(bg, driver.Env{ID: "bench", Logger: slog.New(slog.DiscardHandler)}); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = p.Close(bg) })
	return p
}

// parallel shares b.N turns among callers.
func parallel(b *testing.B, callers int, turn func(caller, i int) error) {
	b.Helper()
	b.ReportAllocs()
	b.ResetTimer()
	var all sync.WaitGroup
	for c := range callers {
		all.Go(func() {
			for i := c; i < b.N; i += callers {
				if err := turn(c, i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

// BenchmarkContended is many callers of one process who want one key, through the service:
// what is allocated for each turn decides how often the collector runs, and so how long the
// slowest wait.
func BenchmarkContended(b *testing.B) {
	s, err := locking.New(bg, locking.Config{
		Logger:    slog.New(slog.DiscardHandler),
		Providers: []locking.Registration{{ID: "bench", Provider: lockredis.New(lockredis.Config{RedisURL: redistest.Start(b).URL()})}},
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(bg); err != nil {
			b.Error(err)
		}
	})
	keys, expire, wait := locking.Keys("hot"), locking.Expire(30*time.Second), locking.Wait(time.Hour)
	parallel(b, 32, func(int, int) error {
		l, err := s.Acquire(bg, keys, expire, wait)
		if err != nil {
			return err
		}
		return l.Release(bg)
	})
}

func lockOnce(p *lockredis.Provider, key, owner string, wait time.Duration) error {
	g, err := p.Acquire(bg, driver.Request{Keys: []string{key}, Owner: owner, TTL: 30 * time.Second, Wait: wait})
	if err != nil {
		return err
	}
	_, err = p.Release(bg, []driver.Hold{g.Holds[0].Hold})
	return err
}

func BenchmarkUncontended(b *testing.B) {
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			p := benchProvider(b)
			parallel(b, callers, func(c, _ int) error { return lockOnce(p, fmt.Sprint("k", c), "*", 5*time.Second) })
		})
	}
}

func BenchmarkRawFloor(b *testing.B) {
	release := redis.NewScript(`if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0`)
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			server := redistest.Start(b)
			c := redis.NewClient(&redis.Options{Addr: server.Addr(), PoolSize: 64})
			b.Cleanup(func() { _ = c.Close() })
			parallel(b, callers, func(n, _ int) error {
				k := fmt.Sprint("k", n)
				if err := c.SetNX(bg, k, "v", 30*time.Second).Err(); err != nil {
					return err
				}
				return release.Run(bg, c, []string{k}, "v").Err()
			})
		})
	}
}

func BenchmarkHotKey32(b *testing.B) {
	for _, processes := range []int{1, 4} {
		b.Run(fmt.Sprint(processes), func(b *testing.B) {
			server := redistest.Start(b)
			ps := make([]*lockredis.Provider, processes)
			for i := range ps {
				ps[i] = startBench(b, server)
			}
			parallel(b, 32, func(c, _ int) error { return lockOnce(ps[c%processes], "hot", "*", time.Minute) })
		})
	}
}
