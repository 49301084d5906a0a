package lockingtest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/locking"
)

// endCases are about the end of a lock that is foreseen.
func endCases() []serviceCase {
	bg := context.Background()
	return []serviceCase{
		{"a renewed lock that has been held as long as it may ends and is given back", func(t *testing.T, b *bench) {
			const lease, most = 150 * time.Millisecond, 400 * time.Millisecond
			err := b.locks.Execute(bg, b.keys("k"), func(ctx context.Context) error {
				start := time.Now()
				b.want(b.ends(ctx), locking.ErrMaxHold)
				if took := time.Since(start); took < most-lease/2 {
					t.Errorf("it ended after %s, want %s", took, most)
				}
				next, err := b.locks.Acquire(bg, b.keys("k"), locking.Wait(bound))
				b.want(err, nil)
				b.release(next)
				return nil
			}, locking.Expire(lease), locking.MaxHold(most))
			if !errors.Is(err, locking.ErrMaxHold) || !errors.Is(err, locking.ErrLockLost) {
				t.Errorf("execute returned %v", err)
			}
		}},
		{"a lock that may be held for less than its lease ends and is given back then", func(_ *testing.T, b *bench) {
			step := b.execution(time.Minute).Attempt("reserve", 1)
			lock := b.take(in(step), b.keys("k"), locking.MaxHold(200*time.Millisecond))
			b.want(b.ends(lock.Context()), locking.ErrMaxHold)
			next, err := b.locks.Acquire(bg, b.keys("k"), locking.Wait(bound))
			b.want(err, nil)
			b.want(lock.Release(bg), locking.ErrMaxHold)
			b.held(b.key("k"))
			b.release(next)
		}},
		{"without renewal the shorter of expire and max hold counts", func(_ *testing.T, b *bench) {
			lock := b.take(bg, b.keys("k"), locking.MaxHold(80*time.Millisecond), locking.Expire(time.Minute))
			b.want(b.ends(lock.Context()), locking.ErrLockLost)
			next, err := b.locks.Acquire(bg, b.keys("k"), locking.Wait(bound), locking.MaxHold(time.Minute), locking.Expire(80*time.Millisecond))
			b.want(err, nil)
			b.want(b.ends(next.Context()), locking.ErrLockLost)
		}},
		{"a warning comes once before the end of a lock that nothing prolongs", func(t *testing.T, b *bench) {
			const most, before = 400 * time.Millisecond, 200 * time.Millisecond
			warned := make(chan time.Duration, 2)
			lock := b.take(bg, b.keys("k", "l"), locking.Expire(most), locking.WarnBefore(before, func(left time.Duration) { warned <- left }))
			select {
			case left := <-warned:
				if left <= 0 || left > before {
					t.Errorf("it was warned with %s left, want %s", left, before)
				}
			case <-lock.Context().Done():
				t.Error("it ended without a warning")
			}
			b.want(b.ends(lock.Context()), locking.ErrLockLost)
			if len(warned) > 0 {
				t.Error("it was warned twice")
			}
		}},
		{"limits and warnings that cannot be are refused", func(_ *testing.T, b *bench) {
			for _, opt := range []locking.TryOption{
				locking.MaxHold(0), locking.MaxHold(time.Microsecond),
				locking.WarnBefore(0, func(time.Duration) {}), locking.WarnBefore(time.Second, nil),
			} {
				_, err := b.locks.TryAcquire(bg, b.keys("k"), opt)
				b.want(err, locking.ErrInvalid)
			}
			b.free(b.key("k"))
		}},
	}
}
