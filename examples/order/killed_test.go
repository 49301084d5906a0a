package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking"
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

// keptStock is a warehouse that outlives its process.
func keptStock(t testing.TB, dir string) *warehouse {
	kept := struct {
		Left  int
		Token locking.Token
		Made  map[string]Reservation
	}{Left: 3, Made: map[string]Reservation{}}
	save := workflowtest.Kept(t, dir, "stock", &kept)
	w := &warehouse{left: kept.Left, token: kept.Token, made: kept.Made}
	w.changed = func() {
		kept.Left, kept.Token, kept.Made = w.left, w.token, w.made
		save()
	}
	return w
}

func TestStockIsRightWhereverTheProcessOfAnOrderIsKilled(t *testing.T) {
	withRedis(t)
	for name, flow := range map[string]*workflow.Workflow[Order, Receipt]{"one after the other": PlaceOrder, "guarded": GuardOrder} {
		for card, left := range map[string]int{"4242": 2, "declined": 3} {
			t.Run(name+", "+card, func(t *testing.T) {
				workflowtest.ExploreKilled(t, workflowtest.Subject{
					World: onDisk, Locks: "locking-redis", Every: 5,
					Program: func(t testing.TB, dir string) workflowtest.Program {
						stock = keptStock(t, dir)
						return workflowtest.Program{
							Workflows: workflow.Set{flow},
							Run: func(ctx context.Context, e *workflow.Engine) error {
								_, err := workflow.Run(ctx, e, flow, Order{ID: "o", Card: card}, workflow.WithExecutionID("o"))
								return err
							},
						}
					},
					Check: func(t testing.TB, _ string, err error) {
						if stock.Left() != left || errors.Is(err, errDeclined) != (card == "declined") {
							t.Errorf("%d pieces left; %v", stock.Left(), err)
						}
					},
				})
			})
		}
	}
}
