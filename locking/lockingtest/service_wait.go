package lockingtest

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/locking"
)

func waitCases() []serviceCase {
	bg := context.Background()
	return []serviceCase{
		{"acquire waits for its turn", func(_ *testing.T, b *bench) {
			lock := b.take(bg, b.keys("k"))
			got := make(chan error, 1)
			go func() {
				next, err := b.locks.Acquire(bg, b.keys("k"), locking.Wait(bound))
				if err == nil {
					err = next.Release(bg)
				}
				got <- err
			}()
			b.release(lock)
			b.want(<-got, nil)
		}},
		{"a wait that is used up says so in Medusa's words and leaves nothing", func(t *testing.T, b *bench) {
			lock := b.take(bg, b.keys("b"))
			start := time.Now()
			_, err := b.locks.Acquire(bg, b.keys("a", "b"), locking.Wait(60*time.Millisecond))
			if b.want(err, locking.ErrTimeout); !strings.Contains(err.Error(), "Timed-out acquiring lock.") {
				t.Fatalf("got %v", err)
			}
			if took := time.Since(start); took < 60*time.Millisecond || took > bound {
				t.Fatalf("it waited %s", took)
			}
			b.release(lock)
			b.free(b.key("a"))
			b.free(b.key("b"))
		}},
		{"a waiter whose context ends leaves nothing behind", func(_ *testing.T, b *bench) {
			lock := b.take(bg, b.keys("k"))
			ctx, cancel := context.WithCancel(bg)
			got := make(chan error, 1)
			go func() {
				_, err := b.locks.Acquire(ctx, b.keys("k", "other"), locking.Wait(time.Hour))
				got <- err
			}()
			cancel()
			b.want(<-got, context.Canceled)
			b.release(lock)
			b.free(b.key("k"))
			b.free(b.key("other"))
		}},
		{"an expiry wakes a waiter", func(_ *testing.T, b *bench) {
			b.take(bg, b.keys("k"), locking.Expire(100*time.Millisecond))
			next, err := b.locks.Acquire(bg, b.keys("k"), locking.Wait(bound))
			b.want(err, nil)
			b.release(next)
		}},
		{"cancellations that cross with grants leak no key", func(t *testing.T, b *bench) {
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					for range 30 {
						ctx, cancel := context.WithTimeout(bg, time.Duration(rand.IntN(3000))*time.Microsecond)
						lock, err := b.locks.Acquire(ctx, b.keys("k", "l"), locking.Wait(bound))
						if err == nil {
							lock.Close()
						} else if !errors.Is(err, context.DeadlineExceeded) {
							t.Errorf("acquire: %v", err)
						}
						cancel()
					}
				})
			}
			wg.Wait()
			b.free(b.key("k"))
			b.free(b.key("l"))
		}},
		{"holders in opposite key order never deadlock and never meet", func(t *testing.T, b *bench) {
			var inside atomic.Int32
			var wg sync.WaitGroup
			for i := range 20 {
				keys := b.keys("a", "b", "c")
				if i%2 == 1 {
					keys = b.keys("c", "b", "a")
				}
				wg.Go(func() {
					err := b.locks.Execute(bg, keys, func(context.Context) error {
						if n := inside.Add(1); n != 1 {
							t.Errorf("%d are inside", n)
						}
						inside.Add(-1)
						return nil
					}, locking.Wait(bound))
					if err != nil {
						t.Errorf("execute: %v", err)
					}
				})
			}
			wg.Wait()
		}},
	}
}
