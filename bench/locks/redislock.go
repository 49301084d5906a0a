package locks

import (
	"context"
	"time"

	"github.com/bsm/redislock"
	"github.com/redis/go-redis/v9"
)

// redislockLocks is bsm/redislock.
type redislockLocks struct {
	client *redis.Client
	locks  *redislock.Client
	retry  func() redislock.RetryStrategy
}

func linear() redislock.RetryStrategy { return redislock.LinearBackoff(time.Millisecond) }

// exponential makes a new strategy for each lock: a strategy counts its tries.
func exponential() redislock.RetryStrategy {
	return redislock.ExponentialBackoff(16*time.Millisecond, 512*time.Millisecond)
}

func openRedislock(retry func() redislock.RetryStrategy) func(context.Context, Env) (Locker, error) {
	return func(_ context.Context, env Env) (Locker, error) {
		client := env.client()
		return &redislockLocks{client: client, locks: redislock.New(client), retry: retry}, nil
	}
}

func (r *redislockLocks) Hold(ctx context.Context, keys []string, section func(uint64)) error {
	lock, err := r.locks.ObtainMulti(ctx, keys, TTL, &redislock.Options{RetryStrategy: r.retry()})
	if err != nil {
		return err
	}
	section(0)
	return lock.Release(ctx)
}

func (r *redislockLocks) Close() error { return r.client.Close() }
