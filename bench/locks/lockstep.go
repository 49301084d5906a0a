package locks

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

// lockstep is this project's, through its public API alone.
type lockstep struct{ service *locking.Service }

var (
	_ Locker = (*lockstep)(nil)
	_ Keeper = (*lockstep)(nil)

	_ Counter = (*lockstep)(nil)
)

// The options of every call. The wait is bounded by ctx.
var (
	expire = locking.Expire(TTL)
	wait   = locking.Wait(time.Hour)
)

func openLockstep(ctx context.Context, env Env) (Locker, error) {
	provider := lockredis.New(lockredis.Config{
		RedisURL: "redis://" + env.Addr,
		RedisOptions: func(o *redis.UniversalOptions) {
			o.Dialer, o.PoolSize = env.Wire.Dial, poolSize
		},
	})
	service, err := locking.New(ctx, locking.Config{
		Logger:    slog.New(slog.DiscardHandler),
		Providers: []locking.Registration{{ID: "bench", Provider: provider}},
	})
	if err != nil {
		return nil, err
	}
	return &lockstep{service}, nil
}

func (l *lockstep) Hold(ctx context.Context, keys []string, section func(uint64)) error {
	lock, err := l.service.Acquire(ctx, keys, expire, wait)
	if err != nil {
		return err
	}
	token := uint64(lock.Token(keys[0]))
	section(token)
	if token == 0 {
		return errors.Join(errors.New("locks: a lock without a token"), lock.Release(ctx))
	}
	return lock.Release(ctx)
}

func (l *lockstep) Keep(ctx context.Context, keys []string) (Held, error) {
	return l.service.Acquire(ctx, keys, expire, wait)
}

func (l *lockstep) Waiting(ctx context.Context, key string) (int, error) {
	state, err := l.service.Inspect(ctx, key)
	return state.Waiting, err
}

func (l *lockstep) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return l.service.Close(ctx)
}
