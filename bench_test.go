package lockstep_test

import (
	"context"
	"log/slog"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockmem"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store/storemem"
	"github.com/lockstep-dev/lockstep/workflow"
)

var quiet = slog.New(slog.DiscardHandler)

// BenchmarkThreeStepsInMemory is one execution of three steps, from callers on all
// cores.
func BenchmarkThreeStepsInMemory(b *testing.B) {
	add := func(_ *steps.Context, n int) (int, error) { return n + 1, nil }
	flow := workflow.New("three", func(b *workflow.Builder, in workflow.Value[int]) workflow.Value[int] {
		return workflow.Do(b, steps.New("c", add), workflow.Do(b, steps.New("b", add), workflow.Do(b, steps.New("a", add), in)))
	})
	e, err := workflow.NewEngine(workflow.Config{Store: storemem.New(), Workflows: workflow.Set{flow}, Logger: quiet})
	if err != nil {
		b.Fatal(err)
	}
	ctx := context.Background()
	if err := e.Start(ctx); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if n, err := workflow.Run(ctx, e, flow, 1); n != 4 || err != nil {
				b.Errorf("got %d, %v", n, err)
				return
			}
		}
	})
	if err := e.Stop(ctx); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkUncontendedLock is one acquire and release of a key that nobody else
// wants. The raw floor is SET NX PX and a compare-and-delete script.
func BenchmarkUncontendedLock(b *testing.B) {
	b.Run("memory", func(b *testing.B) { benchLock(b, lockmem.New(lockmem.Config{})) })
	b.Run("redis", func(b *testing.B) {
		benchLock(b, lockredis.New(lockredis.Config{RedisURL: redistest.Start(b).URL()}))
	})
	b.Run("raw-floor", func(b *testing.B) {
		c := redis.NewClient(&redis.Options{Addr: redistest.Start(b).Addr()})
		defer c.Close()
		free := redis.NewScript(`if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0`)
		ctx := context.Background()
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			key := "k" + strconv.Itoa(i)
			if !c.SetNX(ctx, key, "me", time.Minute).Val() || free.Run(ctx, c, []string{key}, "me").Err() != nil {
				b.Fatal("not taken, or not freed")
			}
		}
	})
}

func benchLock(b *testing.B, p driver.Provider) {
	b.Helper()
	ctx := context.Background()
	locks, err := locking.New(ctx, locking.Config{Logger: quiet, Providers: []locking.Registration{{ID: "bench", Provider: p}}})
	if err != nil {
		b.Fatal(err)
	}
	var n atomic.Int64
	b.ReportAllocs()
	for b.Loop() {
		lock, err := locks.TryAcquire(ctx, locking.Keys("k"+strconv.FormatInt(n.Add(1), 10)), locking.Expire(time.Minute))
		if err != nil {
			b.Fatal(err)
		}
		if err := lock.Release(ctx); err != nil {
			b.Fatal(err)
		}
	}
	if err := locks.Close(ctx); err != nil {
		b.Fatal(err)
	}
}
