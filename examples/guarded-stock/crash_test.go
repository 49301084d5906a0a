package main

import (
	"context"
	"errors"
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

// fate is what becomes of an order.
type fate struct {
	card        string
	stock, left int
	err         error
}

var fates = map[string]fate{
	"sold":     {"good", 3, 2, nil},
	"declined": {"declined", 3, 3, errDeclined},
	"sold out": {"good", 0, 0, errSoldOut},
}

// ordered is what a process does: one order, of what is on this shelf.
func (f fate) ordered(s shelf) workflowtest.Program {
	flow := placeOrder(true)
	return workflowtest.Program{
		Workflows: workflow.Set{flow},
		Register:  func(c *container.Container) { container.MustRegister(c, shelfKey, s) },
		Run: func(ctx context.Context, e *workflow.Engine) error {
			_, err := workflow.Run(ctx, e, flow, Order{1, productName(0), f.card}, workflow.WithExecutionID("order-1"))
			return err
		},
	}
}

func (f fate) check(t testing.TB, s shelf, err error) {
	t.Helper()
	left, readErr := s.read(context.Background(), productName(0))
	if left != f.left || readErr != nil || !errors.Is(err, f.err) {
		t.Errorf("%d left, want %d (%v); %v, want %v", left, f.left, readErr, err, f.err)
	}
}

func TestStockIsRightWhereverTheProcessOfAnOrderDies(t *testing.T) {
	for name, f := range fates {
		t.Run(name, func(t *testing.T) {
			shelves := map[string]shelf{} // by the folder of a history
			workflowtest.Explore(t, workflowtest.Subject{
				Program: func(_ testing.TB, dir string) workflowtest.Program {
					if shelves[dir] == nil {
						shelves[dir] = newMemoryShelf(settings{products: 1, stock: f.stock})
					}
					return f.ordered(shelves[dir])
				},
				Check: func(t testing.TB, dir string, err error) { f.check(t, shelves[dir], err) },
			})
		})
	}
}

// keptShelf is a shelf on the server, which the first process of a history fills.
func (f fate) keptShelf(t testing.TB, dir string) shelf {
	t.Helper()
	full := false
	save := workflowtest.Kept(t, dir, "filled", &full)
	set := settings{redisURL: os.Getenv(redisVariable), run: dir, products: 1, stock: f.stock}
	s, err := openRedisShelf(context.Background(), set, !full)
	if err != nil {
		t.Fatal(err)
	}
	full = true
	save()
	t.Cleanup(func() { _ = s.client.Close() })
	return s
}

func TestStockIsRightWhereverTheProcessOfAnOrderIsKilled(t *testing.T) {
	withRedis(t)
	for name, f := range fates {
		t.Run(name, func(t *testing.T) {
			workflowtest.ExploreKilled(t, workflowtest.Subject{
				World: onDisk, Every: 7,
				Program: func(t testing.TB, dir string) workflowtest.Program { return f.ordered(f.keptShelf(t, dir)) },
				Check:   func(t testing.TB, dir string, err error) { f.check(t, f.keptShelf(t, dir), err) },
			})
		})
	}
}
