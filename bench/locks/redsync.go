package locks

import (
	"context"
	"errors"
	"time"

	"github.com/go-redsync/redsync/v4"
	redsyncpool "github.com/go-redsync/redsync/v4/redis/goredis/v9"
	"github.com/redis/go-redis/v9"
)

// redsyncLocks is go-redsync/redsync on one server.
type redsyncLocks struct {
	client  *redis.Client
	sync    *redsync.Redsync
	options []redsync.Option
}

var oneMillisecond = []redsync.Option{redsync.WithRetryDelay(time.Millisecond)}

func openRedsync(options ...redsync.Option) func(context.Context, Env) (Locker, error) {
	return func(_ context.Context, env Env) (Locker, error) {
		client := env.client()
		return &redsyncLocks{
			client: client, sync: redsync.New(redsyncpool.NewPool(client)),
			options: append([]redsync.Option{redsync.WithExpiry(TTL)}, options...),
		}, nil
	}
}

func (r *redsyncLocks) Hold(ctx context.Context, keys []string, section func(uint64)) error {
	mutex := r.sync.NewMutex(keys[0], r.options...)
	// After 32 tries redsync gives up. A caller who wants the lock asks again, and
	// has waited all the while.
	for {
		err := mutex.LockContext(ctx)
		if err == nil {
			break
		}
		var taken *redsync.ErrTaken
		if ctx.Err() != nil || (!errors.Is(err, redsync.ErrFailed) && !errors.As(err, &taken)) {
			return errors.Join(err, ctx.Err())
		}
	}
	section(0)
	_, err := mutex.UnlockContext(ctx)
	return err
}

func (r *redsyncLocks) Close() error { return r.client.Close() }
