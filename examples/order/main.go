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
	ctx := context.Background()
	engine, stop, err := wire(ctx)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	defer stop()
	for _, order := range []Order{{ID: "order-1", Card: "4242"}, {ID: "order-2", Card: "declined"}} {
		show(place(ctx, engine, order))
	}
	// Both steps at once, and the product locked over them.
	show(workflow.Run(ctx, engine, GuardOrder, Order{ID: "order-3", Card: "4242"}))
	fmt.Println("left in stock:", stock.Left())
}

func show(receipt Receipt, err error) {
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s for %s\n", receipt.PaymentID, receipt.ReservationID)
}

// wire puts everything together, as a program does at its start.
func wire(ctx context.Context) (engine *workflow.Engine, stop func(), err error) {
	// snippet: wiring
	locks, err := locking.New(ctx, locking.Config{Providers: []locking.Registration{
		{ID: "locking-redis", IsDefault: true, Provider: lockredis.New(lockredis.Config{RedisURL: os.Getenv("LOCKING_REDIS_URL")})},
	}}) // connects; addressed as "lp_locking-redis"
	if err != nil {
		return nil, nil, err
	}
	c := container.New()
	container.MustRegister(c, locking.ServiceKey, locks)

	engine, err = workflow.NewEngine(workflow.Config{Container: c, Store: storemem.New(), Workflows: workflow.Set{PlaceOrder, GuardOrder}})
	if err != nil {
		return nil, nil, errors.Join(err, locks.Close(ctx))
	}
	if err := engine.Start(ctx); err != nil {
		return nil, nil, errors.Join(err, locks.Close(ctx))
	}
	// snippet: end
	return engine, func() {
		_ = engine.Stop(ctx) // drains
		_ = locks.Close(ctx)
	}, nil
}

func place(ctx context.Context, engine *workflow.Engine, order Order) (Receipt, error) {
	// snippet: run
	receipt, err := workflow.Run(ctx, engine, PlaceOrder, order, workflow.WithExecutionID(order.ID))
	// snippet: end
	return receipt, err
}
