package lockredis_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking"
)

// As after the failover of a node that the process does not listen at. A third of the lease
// is when it is renewed; its end would be noticed by the clock.
func TestOnAClusterAJobWhoseLockWasForgottenIsToldAtItsRenewal(t *testing.T) {
	t.Parallel()
	const lease = 6 * time.Second
	node := redistest.StartCluster(t, 1, 0).Masters[0]
	service := newService(t, node)
	err := service.Execute(bg, locking.Keys("k"), func(ctx context.Context) error {
		if n := node.Client().Del(bg, "medusa_lock:k").Val(); n != 1 {
			t.Errorf("%d locks are forgotten", n)
		}
		forgotten := time.Now()
		<-ctx.Done()
		if took := time.Since(forgotten); took > lease/2 {
			t.Errorf("it was told after %s; it is renewed each %s", took, lease/3)
		}
		if cause := context.Cause(ctx); !errors.Is(cause, locking.ErrLockLost) {
			t.Errorf("the cause is %v", cause)
		}
		return nil
	}, locking.Expire(lease))
	if !errors.Is(err, locking.ErrLockLost) {
		t.Errorf("got %v", err)
	}
}
