package medusa_test

import (
	"context"
	"log/slog"
	"testing"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var bg = context.Background()

// both are a service and a store on one server.
type both struct {
	t      *testing.T
	server *redistest.Server
	redis  *redis.Client
	locks  *locking.Service
	store  *store
}

func startBoth(t *testing.T) *both {
	t.Helper()
	server := redistest.Start(t)
	// The store comes first: where it cannot be there, the test is skipped.
	store := startStore(t, server.URL(), "")
	return &both{t, server, server.Client(), startService(t, lockredis.Config{RedisURL: server.URL()}), store}
}

// rule runs a subtest, which is the rule that it proves. Its name is its key as well.
func (b *both) rule(name string, prove func(b *both, key string)) {
	b.t.Run(name, func(t *testing.T) {
		prove(&both{t, b.server, b.redis, b.locks, &store{b.store.process, t}}, name)
	})
}

func startService(t *testing.T, cfg lockredis.Config) *locking.Service {
	t.Helper()
	locks, err := locking.New(bg, locking.Config{
		Logger:    slog.New(slog.DiscardHandler),
		Providers: []locking.Registration{{ID: "locking-redis", IsDefault: true, Provider: lockredis.New(cfg)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(bg, patience)
		defer cancel()
		if err := locks.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return locks
}
