package lockingtest

import (
	"context"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/internal/runctx"
	"github.com/lockstep-dev/lockstep/locking"
)

// abandonCases are about locks that an engine may not give back.
func abandonCases() []serviceCase {
	bg := context.Background()
	return []serviceCase{
		{"an abandoned lock ends its contexts at once and passes on when its lease has lapsed", func(t *testing.T, b *bench) {
			const lease = 300 * time.Millisecond
			run := b.execution(lease)
			lock := b.take(in(run.Attempt("stuck", 1)), b.keys("k"))
			taken := time.Now()
			for _, h := range run.Surrender() {
				h.Abandon()
				if h.Alive() {
					t.Error("it is alive")
				}
			}
			b.want(b.ends(lock.Context()), locking.ErrLockLost)
			b.held(b.key("k"))
			next, err := b.locks.Acquire(bg, b.keys("k"), locking.Wait(bound))
			b.want(err, nil)
			if took := time.Since(taken); took < lease-lease/20 {
				t.Errorf("it passed on %s after it was taken for %s", took, lease)
			}
			b.release(next)
		}},
		{"nothing gives an abandoned lock back", func(t *testing.T, b *bench) {
			run := b.execution(time.Minute)
			step := run.Attempt("stuck", 1)
			lock := b.take(in(step), b.keys("k"))
			h, ok := step.Releasable(runctx.LockID{Provider: b.locks.DefaultProvider(), Key: b.key("k")})
			if !ok {
				t.Fatal("the attempt does not keep what it took")
			}
			h.Abandon()
			b.want(lock.Release(bg), locking.ErrLockLost)
			if freed, err := h.Free(bg); freed || err != nil {
				t.Errorf("free: %t, %v", freed, err)
			}
			if ok, err := b.locks.Release(in(step), b.keys("k")); ok || err != nil {
				t.Errorf("release by name: %t, %v", ok, err)
			}
			b.held(b.key("k"))
		}},
	}
}
