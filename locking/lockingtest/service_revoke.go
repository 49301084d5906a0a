package lockingtest

import (
	"context"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/locking"
)

// forcedCases are about locks that an operator takes from their holder.
func forcedCases() []serviceCase {
	bg := context.Background()
	return []serviceCase{
		{"a lock that was taken by force ends at once and goes on when its holder has released it", func(t *testing.T, b *bench) {
			lock := b.take(bg, b.keys("k"))
			b.force("k", lock)
			b.want(b.ends(lock.Context()), locking.ErrLockRevoked)
			b.held(b.key("k"))
			b.want(lock.Extend(bg, time.Minute), locking.ErrLockRevoked)
			b.want(lock.Release(bg), locking.ErrLockRevoked)
			b.free(b.key("k"))
		}},
		{"the next in line has the lock that was taken by force when its holder closes it", func(_ *testing.T, b *bench) {
			lock := b.take(bg, b.keys("k"), locking.WithOwner("me"), locking.Expire(time.Minute))
			got := make(chan error, 1)
			go func() {
				next, err := b.locks.Acquire(bg, b.keys("k"), locking.Wait(bound))
				if err == nil {
					err = next.Release(bg)
				}
				got <- err
			}()
			b.force("k", lock)
			b.want(b.ends(lock.Context()), locking.ErrLockRevoked)
			lock.Close()
			b.want(<-got, nil)
		}},
		{"a job whose lock was taken by force has its context ended and execute says so", func(_ *testing.T, b *bench) {
			err := b.locks.Execute(bg, b.keys("k", "l"), func(ctx context.Context) error {
				state, err := b.locks.Inspect(bg, b.key("k"))
				b.want(err, nil)
				_, err = b.locks.ForceRelease(bg, b.key("k"), state.Owner, state.Token, "stuck")
				b.want(err, nil)
				b.want(b.ends(ctx), locking.ErrLockRevoked)
				b.held(b.key("k"))
				b.held(b.key("l"))
				return nil
			}, locking.Expire(time.Minute))
			b.want(err, locking.ErrLockRevoked)
			b.free(b.key("k"))
			b.free(b.key("l"))
		}},
		{"a lock of an execution that was taken by force goes on when the execution lets go", func(_ *testing.T, b *bench) {
			run := b.execution(time.Minute)
			step := run.Attempt("reserve", 1)
			lock := b.take(in(step), b.keys("k"))
			b.force("k", lock)
			b.want(b.ends(lock.Context()), locking.ErrLockRevoked)
			step.End()
			b.held(b.key("k"))
			b.surrender(run)
			b.free(b.key("k"))
		}},
	}
}

// force takes a key from a lock by force.
func (b *bench) force(name string, from *locking.Lock) {
	b.t.Helper()
	had, err := b.locks.ForceRelease(context.Background(), b.key(name), from.Owner(), from.Token(b.key(name)), "the test wants it")
	if err != nil || !had {
		b.t.Fatalf("force %q: %t, %v", name, had, err)
	}
}
