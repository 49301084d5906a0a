package workflowtest_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockmem"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/store/storesqlite"
	"github.com/lockstep-dev/lockstep/workflow/workflowtest"
)

// redisVariable tells children of the server that they share with those before them.
const redisVariable = "LOCKSTEP_TEST_REDIS"

// onDisk is a world of a file and a server.
func onDisk(_ testing.TB, dir string) workflowtest.World {
	return workflowtest.World{
		Node: "shop-1",
		OpenStore: func() (store.Store, error) {
			return storesqlite.Open(filepath.Join(dir, "lockstep.db"), storesqlite.Config{})
		},
		NewLocks: func() driver.Queuer { return lockredis.New(lockredis.Config{RedisURL: os.Getenv(redisVariable)}) },
	}
}

func TestWorkflowOnDiskIsUndoneWhereverItsProcessIsKilled(t *testing.T) {
	t.Setenv("GORACE", "atexit_sleep_ms=0") // processes need not wait for reports of races at their end
	if os.Getenv(redisVariable) == "" {
		t.Setenv(redisVariable, redistest.Start(t).URL())
	}
	workflowtest.ExploreKilled(t, workflowtest.Subject{
		World: onDisk, Check: wantUndone,
		Program: order(func(*steps.Context) error { return steps.Permanent(errBoom) }),
	})
}

// Locks in memory die with their process, and nobody else can have had them when the next
// one takes them again.
func TestWorkflowWithLocksInMemoryIsDoneWhereverItsProcessIsKilled(t *testing.T) {
	t.Setenv("GORACE", "atexit_sleep_ms=0")
	workflowtest.ExploreKilled(t, workflowtest.Subject{
		World: func(t testing.TB, dir string) workflowtest.World {
			w := onDisk(t, dir)
			w.NewLocks = func() driver.Queuer { return lockmem.New(lockmem.Config{}) }
			return w
		},
		Check: wantDone, Program: order(succeeds),
	})
}
