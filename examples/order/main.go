// Order is the README's example, complete: a step that locks its product through
// Redis before it acts, a charge that can fail, and what undoes both.
//
//	LOCKING_REDIS_URL=redis://localhost:6379 go run ./examples/order
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/lockstep-dev/lockstep/container"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
	"github.com/lockstep-dev/lockstep/store/storemem"
	"github.com/lockstep-dev/lockstep/workflow"
)

func main() {
	for _, order := range []Order{{ID: "order-1", Card: "4242"}, {ID: "order-2", Card: "declined"}} {
		receipt, err := place(context.Background(), order)
		if err != nil {
			fmt.Println(err)
		} else {
			fmt.Printf("%s: %s for %s\n", order.ID, receipt.PaymentID, receipt.ReservationID)
		}
		if err != nil && !errors.Is(err, errDeclined) {
			os.Exit(1)
		}
	}
	fmt.Println("left in stock:", stock.Left())
}

// place wires everything up and runs one order, as a program would at its start.
func place(ctx context.Context, order Order) (receipt Receipt, err error) {
	// snippet: wiring
	locks, err := locking.New(ctx, locking.Config{Providers: []locking.Registration{
		{ID: "locking-redis", IsDefault: true, Provider: lockredis.New(lockredis.Config{RedisURL: os.Getenv("LOCKING_REDIS_URL")})},
	}}) // connects; addressed as "lp_locking-redis"
	if err != nil {
		return receipt, err
	}
	defer locks.Close(ctx)
	c := container.New()
	container.MustRegister(c, locking.ServiceKey, locks)

	engine, err := workflow.NewEngine(workflow.Config{Container: c, Store: storemem.New(), Workflows: workflow.Set{PlaceOrder}})
	if err != nil {
		return receipt, err
	}
	if err := engine.Start(ctx); err != nil {
		return receipt, err
	}
	defer engine.Stop(ctx) // drains

	receipt, err = workflow.Run(ctx, engine, PlaceOrder, order, workflow.WithExecutionID(order.ID))
	// snippet: end
	return receipt, err
}
