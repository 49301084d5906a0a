package locking_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/lockmem"
)

// A handle that is made while the last one of its owner is given back is one of the next hold,
// or keeps the lock.
func TestAHandleIsNeverLostToTheReleaseOfAnotherOfItsOwner(t *testing.T) {
	t.Parallel()
	s, err := locking.New(t.Context(), locking.Config{Providers: []locking.Registration{{ID: "p", Provider: lockmem.New(lockmem.Config{})}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 2000 {
				lock, err := s.Acquire(t.Context(), locking.Keys("k"), locking.WithOwner("me"), locking.Wait(time.Minute))
				if err != nil {
					t.Error(err)
					return
				}
				if err := lock.Release(t.Context()); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}
