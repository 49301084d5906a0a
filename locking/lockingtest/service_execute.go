package lockingtest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/locking"
)

func executeCases() []serviceCase {
	bg := context.Background()
	return []serviceCase{
		{"execute holds its keys while the job runs and frees them after", func(_ *testing.T, b *bench) {
			err := b.locks.Execute(bg, b.keys("k", "l"), func(context.Context) error {
				b.held(b.key("k"))
				b.held(b.key("l"))
				return nil
			})
			b.want(err, nil)
			b.free(b.key("k"))
			b.free(b.key("l"))
		}},
		{"do returns the job's result", func(t *testing.T, b *bench) {
			n, err := locking.Do(bg, b.locks, b.keys("k"), func(context.Context) (int, error) { return 7, nil })
			if n != 7 || err != nil {
				t.Fatalf("got %d, %v", n, err)
			}
		}},
		{"execute returns the job's error and frees its keys", func(_ *testing.T, b *bench) {
			boom := errors.New("boom")
			b.want(b.locks.Execute(bg, b.keys("k"), func(context.Context) error { return boom }), boom)
			b.free(b.key("k"))
		}},
		{"a job that is nil is refused and takes nothing", func(_ *testing.T, b *bench) {
			b.want(b.locks.Execute(bg, b.keys("k"), nil), locking.ErrInvalid)
			_, err := locking.Do[int](bg, b.locks, b.keys("k"), nil)
			b.want(err, locking.ErrInvalid)
			b.free(b.key("k"))
		}},
		{"a job that panics has its keys released", func(t *testing.T, b *bench) {
			defer func() {
				if v := recover(); v != "oh" {
					t.Errorf("recovered %v", v)
				}
				b.free(b.key("k"))
			}()
			_ = b.locks.Execute(bg, b.keys("k"), func(context.Context) error { panic("oh") })
		}},
		{"the lease of execute is renewed while the job runs", func(_ *testing.T, b *bench) {
			const lease = 150 * time.Millisecond
			err := b.locks.Execute(bg, b.keys("k"), func(ctx context.Context) error {
				// Another one waits for several leases and does not get the key.
				_, err := b.locks.Acquire(bg, b.keys("k"), locking.Wait(5*lease))
				b.want(err, locking.ErrTimeout)
				return context.Cause(ctx)
			}, locking.Expire(lease))
			b.want(err, nil)
		}},
		{"a job that loses its lock has its context ended and execute fails although it returned nil", func(t *testing.T, b *bench) {
			err := b.locks.Execute(bg, b.keys("k"), func(ctx context.Context) error {
				p, err := b.locks.Provider("")
				b.want(err, nil)
				if n, err := p.ReleaseAll(bg, holder(t, b, b.key("k"))); n != 1 || err != nil {
					t.Fatalf("could not take the lock away: %d, %v", n, err)
				}
				b.want(b.ends(ctx), locking.ErrLockLost)
				return nil
			}, locking.Expire(300*time.Millisecond))
			b.want(err, locking.ErrLockLost)
		}},
		{"twenty executes over the same three keys in either order all run and never two at once", twentyExecutes},
		{"execute waits and then says that it timed out without having run the job", func(t *testing.T, b *bench) {
			b.take(bg, b.keys("k"))
			err := b.locks.Execute(bg, b.keys("k"), func(context.Context) error {
				t.Error("the job ran")
				return nil
			}, locking.Wait(30*time.Millisecond))
			b.want(err, locking.ErrTimeout)
		}},
	}
}

func twentyExecutes(t *testing.T, b *bench) {
	var wg sync.WaitGroup
	var inside atomic.Int64
	for i := range manyAtOnce {
		keys := b.keys("a", "b", "c")
		if i%2 == 1 {
			slices.Reverse(keys)
		}
		wg.Go(func() {
			err := b.locks.Execute(context.Background(), keys, func(context.Context) error {
				if inside.Add(1) != 1 {
					return errTwoInside
				}
				time.Sleep(time.Millisecond) // the job
				inside.Add(-1)
				return nil
			}, locking.Wait(bound))
			if err != nil {
				t.Errorf("execute %d: %v", i, err)
			}
		})
	}
	wg.Wait()
}

// holder returns the owner that has the key.
func holder(t *testing.T, b *bench, key string) string {
	t.Helper()
	_, err := b.locks.TryAcquire(context.Background(), []string{key})
	var busy *locking.NotAcquiredError
	if !errors.As(err, &busy) || busy.Holder == "" {
		t.Fatalf("the holder of %q is not known: %v", key, err)
	}
	return busy.Holder
}
