package locking_test

import (
	"context"
	"log/slog"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/driver"
)

// constant is a provider that costs nothing, so that what is measured is what the
// service adds. It serves one key at a time.
type constant struct {
	grant []driver.Granted
	freed []bool
}

func newConstant() *constant {
	return &constant{grant: make([]driver.Granted, 1), freed: []bool{true}}
}

func (*constant) Start(context.Context, driver.Env) error { return nil }
func (*constant) Describe() driver.Info                   { return driver.Info{DefaultWait: time.Second} }
func (*constant) Close(context.Context) error             { return nil }

func (c *constant) Acquire(_ context.Context, req driver.Request) (driver.Grant, error) {
	g := &c.grant[0]
	g.Hold = driver.Hold{Key: req.Keys[0], Owner: req.Owner, Generation: req.Generation, Token: g.Token + 1}
	g.Until = time.Time{}
	if req.TTL > 0 {
		g.Until = time.Now().Add(req.TTL)
	}
	return driver.Grant{Holds: c.grant}, nil
}

func (*constant) Extend(_ context.Context, ttl time.Duration, holds []driver.Hold) ([]driver.Extension, error) {
	answers := make([]driver.Extension, len(holds))
	for i := range answers {
		answers[i] = driver.Extension{Held: true, Until: time.Now().Add(ttl)}
	}
	return answers, nil
}

func (c *constant) Release(_ context.Context, holds []driver.Hold) ([]bool, error) {
	return c.freed[:len(holds)], nil
}

func (*constant) ReleaseAll(context.Context, string) (int, error) { return 0, nil }

// adding is a service over such a provider.
func adding(tb testing.TB) *locking.Service {
	tb.Helper()
	s, err := locking.New(context.Background(), locking.Config{
		Providers: []locking.Registration{{ID: "constant", Provider: newConstant()}},
		Logger:    slog.New(slog.DiscardHandler),
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			tb.Error(err)
		}
	})
	return s
}

var lapsing = locking.Expire(30 * time.Second)

// BenchmarkTheServiceAlone measures what the service adds to its provider.
func BenchmarkTheServiceAlone(b *testing.B) {
	ctx, keys := context.Background(), locking.Keys("k")
	b.Run("acquire and release", func(b *testing.B) {
		s := adding(b)
		b.ReportAllocs()
		for b.Loop() {
			l, err := s.Acquire(ctx, keys, lapsing)
			if err != nil {
				b.Fatal(err)
			}
			if err := l.Release(ctx); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("execute", func(b *testing.B) {
		s := adding(b)
		b.ReportAllocs()
		for b.Loop() {
			if err := s.Execute(ctx, keys, func(context.Context) error { return nil }); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkHeldLock(b *testing.B) {
	const count = 10_000
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for b.Loop() {
		s := adding(b)
		held := make([]*locking.Lock, count)
		names := make([][]string, count)
		for i := range names {
			names[i] = locking.Keys("held:" + strconv.Itoa(i))
		}
		before := heap()
		for i := range held {
			var err error
			if held[i], err = s.Acquire(context.Background(), names[i], lapsing); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(heap()-before)/count, "B/lock")
		for _, l := range held {
			l.Close()
		}
	}
}
