package locks

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// raw is the floor: SET NX PX and a script that compares and deletes, by plain
// go-redis calls. It has no queue, no token and no renewal.
type raw struct {
	client *redis.Client
	retry  func(tries int) time.Duration
	owner  string
	holds  atomic.Uint64
}

var (
	_ Locker = (*raw)(nil)
	_ Keeper = (*raw)(nil)
)

var (
	rawTake = redis.NewScript(`
for i = 1, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 1 then return 0 end
end
for i = 1, #KEYS do redis.call('SET', KEYS[i], ARGV[1], 'PX', ARGV[2]) end
return 1`)
	rawFree = redis.NewScript(`
local freed = 0
for i = 1, #KEYS do
  if redis.call('GET', KEYS[i]) == ARGV[1] then freed = freed + redis.call('DEL', KEYS[i]) end
end
return freed`)
)

var errRawLost = errors.New("locks: a raw lock was gone when it was freed")

// spin asks again at once.
func spin(int) time.Duration { return 0 }

// poll waits as Medusa's provider does by default: 20 ms at first and twice as long
// each time, up to a second, shortened by up to a half at random.
func poll(tries int) time.Duration {
	d := min(20*time.Millisecond<<min(tries, 16), time.Second)
	return time.Duration((0.5 + rand.Float64()/2) * float64(d)) //nolint:gosec // jitter, not a secret
}

func openRaw(retry func(int) time.Duration) func(context.Context, Env) (Locker, error) {
	return func(_ context.Context, env Env) (Locker, error) {
		return &raw{client: env.client(), retry: retry, owner: strconv.Itoa(os.Getpid()) + ":"}, nil
	}
}

func (r *raw) Hold(ctx context.Context, keys []string, section func(uint64)) error {
	value, err := r.take(ctx, keys)
	if err != nil {
		return err
	}
	section(0)
	return r.free(ctx, keys, value)
}

func (r *raw) take(ctx context.Context, keys []string) (value string, err error) {
	value = r.owner + strconv.FormatUint(r.holds.Add(1), 36)
	for tries := 0; ; tries++ {
		taken, err := r.try(ctx, keys, value)
		if taken || err != nil {
			return value, err
		}
		if d := r.retry(tries); d > 0 {
			err = pause(ctx, d)
		} else {
			err = ctx.Err()
		}
		if err != nil {
			return "", err
		}
	}
}

func (r *raw) try(ctx context.Context, keys []string, value string) (bool, error) {
	if len(keys) == 1 {
		return r.client.SetNX(ctx, keys[0], value, TTL).Result()
	}
	return rawTake.Run(ctx, r.client, keys, value, TTL.Milliseconds()).Bool()
}

func (r *raw) free(ctx context.Context, keys []string, value string) error {
	n, err := rawFree.Run(ctx, r.client, keys, value).Int()
	if err == nil && n != len(keys) {
		err = errRawLost
	}
	return err
}

func (r *raw) Keep(ctx context.Context, keys []string) (Held, error) {
	value, err := r.take(ctx, keys)
	return &rawHeld{r, keys, value}, err
}

func (r *raw) Close() error { return r.client.Close() }

type rawHeld struct {
	raw   *raw
	keys  []string
	value string
}

func (h *rawHeld) Release(ctx context.Context) error { return h.raw.free(ctx, h.keys, h.value) }
