package lockredis_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

// A write that Redis refuses when the lock has passed to somebody else.
func ExampleFence_Write() {
	client := redis.NewClient(&redis.Options{Addr: "localhost:6379"})
	fence := lockredis.Fence{Client: client, Retention: 24 * time.Hour}

	write := func(ctx context.Context, lock *locking.Lock) error {
		_, err := fence.Write(ctx, "prod_123", lock.Token("prod_123"),
			lockredis.Cmd("HSET", "prod_123", "stock", 41))
		if errors.Is(err, lockredis.ErrStaleToken) {
			return fmt.Errorf("too late, nothing was written: %w", err)
		}
		return err
	}
	_ = write // for whoever holds the lock on "prod_123"
}
