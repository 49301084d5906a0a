package lockredis_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking"
)

func TestALockThatTheServerForgotWhileTheConnectionWasBrokenIsLostAtOnce(t *testing.T) {
	server := redistest.Start(t)
	s := newService(t, server)
	forgotten, err := s.Acquire(bg, locking.Keys("forgotten")) // without an expiry nothing renews it
	if err != nil {
		t.Fatal(err)
	}
	kept, err := s.Acquire(bg, locking.Keys("kept"))
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	ended := forgotten.Context()
	if n := server.Client().Del(bg, "medusa_lock:forgotten").Val(); n != 1 {
		t.Fatalf("%d deleted", n)
	}
	began := time.Now()
	if err := server.Client().ClientKillByFilter(bg, "TYPE", "pubsub").Err(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended.Done():
		t.Logf("lost after %s", time.Since(began))
	case <-time.After(10 * time.Second):
		t.Fatal("its context goes on after 10 s")
	}
	if cause := context.Cause(ended); !errors.Is(cause, locking.ErrLockLost) {
		t.Errorf("the cause is %v", cause)
	}
	if err := kept.Context().Err(); err != nil {
		t.Errorf("the lock that stands has ended: %v", err)
	}
}
