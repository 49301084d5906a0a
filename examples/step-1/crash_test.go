package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/store/storesqlite"
	"github.com/lockstep-dev/lockstep/workflow"
	"github.com/lockstep-dev/lockstep/workflow/workflowtest"
)

// redisVariable tells processes of the server that they share with those before them.
const redisVariable = "LOCKSTEP_TEST_REDIS"

// onDisk is a world that outlives its processes: a file, and a server.
func onDisk(_ testing.TB, dir string) workflowtest.World {
	return workflowtest.World{
		Node: "shop-1",
		OpenStore: func() (store.Store, error) {
			return storesqlite.Open(filepath.Join(dir, "executions.db"), storesqlite.Config{})
		},
		NewLocks: func() driver.Queuer { return lockredis.New(lockredis.Config{RedisURL: os.Getenv(redisVariable)}) },
	}
}

// withRedis starts the server, unless a process before has.
func withRedis(t *testing.T) {
	t.Helper()
	t.Setenv("GORACE", "atexit_sleep_ms=0") // processes need not wait for reports of races at their end
	if os.Getenv(redisVariable) == "" {
		t.Setenv(redisVariable, redistest.Start(t).URL())
	}
}

// flowed is what a process does.
func flowed(testing.TB, string) workflowtest.Program {
	return workflowtest.Program{
		Workflows: workflow.Set{flow},
		Run: func(ctx context.Context, e *workflow.Engine) error {
			_, err := workflow.Run(ctx, e, flow, struct{}{}, workflow.WithExecutionID("x"))
			return err
		},
	}
}

// wantDone wants it done. That its lock is free after it is wanted of every history.
func wantDone(t testing.TB, _ string, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

func TestTheLockOfStep1IsThereForStep2AndFreeAfterTheWorkflowWhereverItsProcessDies(t *testing.T) {
	workflowtest.Explore(t, workflowtest.Subject{Locks: "locking-redis", Program: flowed, Check: wantDone})
}

func TestTheLockOfStep1IsThereForStep2AndFreeAfterTheWorkflowWhereverItsProcessIsKilled(t *testing.T) {
	withRedis(t)
	workflowtest.ExploreKilled(t, workflowtest.Subject{World: onDisk, Locks: "locking-redis", Every: 3, Program: flowed, Check: wantDone})
}
