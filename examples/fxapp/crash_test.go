package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/lockstep-dev/lockstep/container"
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

// sold is what a process does, on this stock.
func sold(s *Stock) workflowtest.Program {
	return workflowtest.Program{
		Workflows: workflow.Set{sell},
		Register:  func(c *container.Container) { container.MustRegister(c, stockKey, s) },
		Run: func(ctx context.Context, e *workflow.Engine) error {
			_, err := workflow.Run(ctx, e, sell, "prod_123", workflow.WithExecutionID("x"))
			return err
		},
	}
}

func wantOneSold(t testing.TB, s *Stock, err error) {
	t.Helper()
	if left := s.left["prod_123"]; left != 2 || err != nil {
		t.Errorf("%d left of 3, %v", left, err)
	}
}

func TestItSellsOneWhereverItsProcessDies(t *testing.T) {
	stocks := map[string]*Stock{} // by the folder of a history
	workflowtest.Explore(t, workflowtest.Subject{
		Program: func(_ testing.TB, dir string) workflowtest.Program {
			if stocks[dir] == nil {
				stocks[dir] = newStock()
			}
			return sold(stocks[dir])
		},
		Check: func(t testing.TB, dir string, err error) { wantOneSold(t, stocks[dir], err) },
	})
}

// keptStock is a stock that outlives its process.
func keptStock(t testing.TB, dir string) *Stock {
	t.Helper()
	s := newStock()
	kept := struct{ Left, Taken map[string]int }{s.left, s.taken} // the stock's own maps
	s.changed = workflowtest.Kept(t, dir, "stock", &kept)
	return s
}

func TestItSellsOneWhereverItsProcessIsKilled(t *testing.T) {
	withRedis(t)
	workflowtest.ExploreKilled(t, workflowtest.Subject{
		World: onDisk, Every: 3,
		Program: func(t testing.TB, dir string) workflowtest.Program { return sold(keptStock(t, dir)) },
		Check:   func(t testing.TB, dir string, err error) { wantOneSold(t, keptStock(t, dir), err) },
	})
}
