package lockredis_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

func TestACallerWhoseContextIsCancelledDoesNotHangWithTheServer(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.free(r.take("warm", 0, "warm-up"))
	r.server.Pause()
	defer r.server.Resume()
	for _, which := range []string{"the first to notice", "the next", "another"} {
		ctx, cancel := context.WithCancel(bg)
		ended := make(chan error, 1)
		go func() {
			_, err := r.Acquire(ctx, driver.Request{Keys: []string{which}, Owner: "*", Wait: time.Minute})
			ended <- err
		}()
		time.AfterFunc(50*time.Millisecond, cancel)
		began := time.Now()
		select {
		case err := <-ended:
			took := time.Since(began) - 50*time.Millisecond
			t.Logf("%s returned %s after its context had ended", which, took)
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%s got %v", which, err)
			}
			// The first may have to wait for its answer, which the others need not.
			promised := time.Second
			if which == "the first to notice" {
				promised += lockredis.DefaultReadTimeout
			}
			if took > 3*promised {
				t.Errorf("promised are %s", promised)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%s hangs", which)
		}
	}
}
