package workflowtest

import (
	"context"
	"testing"

	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/store/storemem"
)

// inMemory is a world in this process's memory: it outlives the processes that are played,
// and none that is real.
func inMemory(tb testing.TB) World {
	tb.Helper()
	locks, err := newLockServer()
	if err != nil {
		tb.Fatal(err)
	}
	kept := &lasting{storemem.New()}
	tb.Cleanup(func() {
		_ = kept.Store.Close(context.Background())
		_ = locks.Close(context.Background())
	})
	return World{
		OpenStore: func() (store.Store, error) { return kept, nil },
		NewLocks:  func() driver.Queuer { return &lockClient{lockServer: locks} },
	}
}

// lasting is a store that outlives those who close it.
type lasting struct{ *storemem.Store }

// Describe implements [store.Store].
func (l *lasting) Describe() store.Info {
	i := l.Store.Describe()
	i.Durable = true
	return i
}

// Close implements [store.Store].
func (l *lasting) Close(context.Context) error { return nil }
