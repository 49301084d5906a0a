package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/lockstep-dev/lockstep/container"
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

// refund is what a process does: one refund, of an order in a shop.
func refund(s *shop, account string) workflowtest.Program {
	return workflowtest.Program{
		Workflows: workflow.Set{RefundOrder},
		Register:  func(c *container.Container) { container.MustRegister(c, shopKey, s) },
		Run: func(ctx context.Context, e *workflow.Engine) error {
			_, err := workflow.Run(ctx, e, RefundOrder, Refund{"r1", "order_1", 30, account}, workflow.WithExecutionID("r1"))
			return err
		},
	}
}

// wantBooks wants the books and the bank to agree: the refund is in both or in none.
func wantBooks(t testing.TB, s *shop, account string, err error) {
	t.Helper()
	want := map[string]int{"open": 30, "closed": 0}[account]
	if booked, paid := s.order("order_1").Refunded(), s.paidBack(); booked != want || paid != want || errors.Is(err, errClosed) != (account == "closed") {
		t.Errorf("%d booked as refunded, %d paid back; %v", booked, paid, err)
	}
}

func TestBooksAgreeWithTheBankWhereverTheProcessOfARefundDies(t *testing.T) {
	for _, account := range []string{"open", "closed"} {
		t.Run(account, func(t *testing.T) {
			shops := map[string]*shop{} // by the folder of a history
			workflowtest.Explore(t, workflowtest.Subject{
				Program: func(_ testing.TB, dir string) workflowtest.Program {
					if shops[dir] == nil {
						shops[dir] = newShop(Order{ID: "order_1", Paid: 100})
					}
					return refund(shops[dir], account)
				},
				Check: func(t testing.TB, dir string, err error) { wantBooks(t, shops[dir], account, err) },
			})
		})
	}
}

// keptShop is a shop that outlives its process.
func keptShop(t testing.TB, dir string) *shop {
	t.Helper()
	s := newShop(Order{ID: "order_1", Paid: 100})
	kept := struct {
		Orders map[string]Order
		Tokens map[string]locking.Token
		Paid   map[string]int
	}{s.orders, s.tokens, s.paid}
	s.changed = workflowtest.Kept(t, dir, "shop", &kept) // the maps are those of the shop
	s.orders, s.tokens, s.paid = kept.Orders, kept.Tokens, kept.Paid
	return s
}

func TestBooksAgreeWithTheBankWhereverTheProcessOfARefundIsKilled(t *testing.T) {
	withRedis(t)
	for _, account := range []string{"open", "closed"} {
		t.Run(account, func(t *testing.T) {
			workflowtest.ExploreKilled(t, workflowtest.Subject{
				World: onDisk, Every: 5,
				Program: func(t testing.TB, dir string) workflowtest.Program { return refund(keptShop(t, dir), account) },
				Check:   func(t testing.TB, dir string, err error) { wantBooks(t, keptShop(t, dir), account, err) },
			})
		})
	}
}
