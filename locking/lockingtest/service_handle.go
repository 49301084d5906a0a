package lockingtest

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/locking"
)

func handleCases() []serviceCase {
	bg := context.Background()
	return []serviceCase{
		{"keys count once and their order means nothing", func(t *testing.T, b *bench) {
			lock := b.take(bg, b.keys("b", "a", "b"))
			if want := b.keys("a", "b"); !slices.Equal(lock.Keys(), want) {
				t.Fatalf("keys %q", lock.Keys())
			}
		}},
		{"many keys are taken all or none", func(_ *testing.T, b *bench) {
			b.take(bg, b.keys("b"))
			_, err := b.locks.TryAcquire(bg, b.keys("a", "b", "c"))
			b.want(err, locking.ErrNotAcquired)
			b.free(b.key("a"))
			b.free(b.key("c"))
		}},
		{"a released lock is released again without an error and frees nothing", func(_ *testing.T, b *bench) {
			lock := b.take(bg, b.keys("k"))
			b.release(lock)
			b.take(bg, b.keys("k"))
			b.release(lock)
			b.held(b.key("k"))
		}},
		{"releasing ends the context with its cause", func(_ *testing.T, b *bench) {
			lock := b.take(bg, b.keys("k"))
			b.release(lock)
			b.want(b.ends(lock.Context()), locking.ErrLockReleased)
		}},
		{"the context ends with the one given to acquire", func(_ *testing.T, b *bench) {
			ctx, cancel := context.WithCancel(bg)
			lock := b.take(ctx, b.keys("k"))
			cancel()
			b.want(b.ends(lock.Context()), context.Canceled)
			lock.Close()
			b.free(b.key("k"))
		}},
		{"a lapsed handle frees nothing of the next holder", func(_ *testing.T, b *bench) {
			old := b.take(bg, b.keys("k"), locking.Expire(30*time.Millisecond))
			next, err := b.locks.Acquire(bg, b.keys("k"), locking.Wait(bound))
			b.want(err, nil)
			old.Close()
			b.held(b.key("k"))
			if old.Token(b.key("k")) >= next.Token(b.key("k")) {
				b.t.Fatalf("the token did not rise: %d, then %d", old.Token(b.key("k")), next.Token(b.key("k")))
			}
		}},
		{"extend makes a lock live longer and tells when it is gone", func(_ *testing.T, b *bench) {
			lock := b.take(bg, b.keys("k"), locking.Expire(500*time.Millisecond))
			b.want(lock.Extend(bg, time.Minute), nil)
			_, err := b.locks.Acquire(bg, b.keys("k"), locking.Wait(700*time.Millisecond))
			b.want(err, locking.ErrTimeout)
			if ok, err := b.locks.Release(bg, b.keys("k")); !ok || err != nil {
				b.t.Fatalf("got %t, %v", ok, err)
			}
		}},
		{"tokens of a key strictly rise", func(t *testing.T, b *bench) {
			var last locking.Token
			for range 50 {
				lock := b.take(bg, b.keys("k"))
				if now := lock.Token(b.key("k")); now <= last {
					t.Fatalf("%d after %d", now, last)
				} else {
					last = now
				}
				b.release(lock)
			}
		}},
		{"a crossing acquire and release of one owner never give a lock that is free", func(t *testing.T, b *bench) {
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					for range 50 {
						lock, err := b.locks.Acquire(bg, b.keys("k"), locking.WithOwner("me"), locking.Wait(bound))
						if err != nil {
							t.Errorf("acquire: %v", err)
							return
						}
						if _, err := b.locks.TryAcquire(bg, b.keys("k"), locking.WithOwner("you")); err == nil {
							t.Error("another owner has the lock that this one holds")
						}
						if err := lock.Release(bg); err != nil {
							t.Errorf("release: %v", err)
						}
					}
				})
			}
			wg.Wait()
			b.free(b.key("k"))
		}},
	}
}
