package main

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

// product is the key of a lock, and the name of what it protects.
const product = "prod_123"

// warehouse keeps its stock in Redis, behind a fence.
type warehouse struct {
	client *redis.Client
	fence  lockredis.Fence
}

// open sets the stock.
func (w *warehouse) open(ctx context.Context, locks *locking.Service, stock int) error {
	client, fence := w.client, w.fence
	// snippet: fence
	lock, err := locks.Acquire(ctx, locking.Keys("prod_123"))
	if err != nil {
		return err
	}
	defer lock.Close()
	_, err = fence.Write(lock.Context(), "prod_123", lock.Token("prod_123"),
		lockredis.Cmd("HSET", "prod_123", "stock", stock),
		lockredis.Cmd("HDEL", "prod_123", "sold_out"))
	if err != nil {
		return err // errors.Is(err, lockredis.ErrStaleToken): another has the lock by now, and nothing was written
	}
	// snippet: end
	return client.HGet(ctx, product, "stock").Err()
}

// sell reads before it writes.
func (w *warehouse) sell(ctx context.Context, token locking.Token, n int) (left int, err error) {
	client, fence := w.client, w.fence
	// snippet: raise
	if err := fence.Raise(ctx, "prod_123", token); err != nil {
		return 0, err
	}
	stock, err := client.HGet(ctx, "prod_123", "stock").Int() // no older holder writes any more
	if err != nil {
		return 0, err
	}
	_, err = fence.Write(ctx, "prod_123", token, lockredis.Cmd("HSET", "prod_123", "stock", stock-n))
	// snippet: end
	return stock - n, err
}

// snippet: script
var take = lockredis.NewFencedScript(`
	local left = redis.call('HINCRBY', KEYS[1], 'stock', -ARGV[1])
	if left == 0 then
		redis.call('HSET', KEYS[1], 'sold_out', 1)
	end
	return left`)

func takeOne(ctx context.Context, w *warehouse, token locking.Token) (any, error) {
	return w.fence.Run(ctx, take, "prod_123", token, []string{"prod_123"}, 1)
}

// snippet: end
