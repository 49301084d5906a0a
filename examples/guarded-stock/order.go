package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lockstep-dev/lockstep/container"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/workflow"
)

// Order is what a customer wants.
type Order struct {
	Number  int
	Product string
	Card    string
}

// Reservation is a piece that was taken off the shelf for an order.
type Reservation struct {
	Product string
	Pieces  int
}

var (
	errSoldOut  = errors.New("sold out")
	errDeclined = errors.New("card declined")
)

// shelfKey is where the steps find the stock.
var shelfKey = container.NewKey[shelf]("stock")

// patience is how long an order waits for its product. It is generous: what is
// shown here is the lock, not a time limit.
const patience = time.Minute

// placeOrder is the workflow. When the charge fails, the reservation is undone.
func placeOrder(guarded bool) *workflow.Workflow[Order, Reservation] {
	reserve := steps.NewReversible("reserve", func(ctx *steps.Context, in Order) (Reservation, Reservation, error) {
		r := Reservation{in.Product, 1}
		err := onProduct(ctx, guarded, in.Product, func(lock context.Context, s shelf) error {
			ok, err := change(lock, s, in.Product, 1, ctx.IdempotencyKey())
			if err == nil && !ok {
				err = steps.Permanent(errSoldOut)
			}
			return err
		})
		return r, r, err
	}, func(ctx *steps.Context, r Reservation) error {
		if r.Pieces == 0 {
			return nil // its process died before it took any, and then they were sold out
		}
		return onProduct(ctx, guarded, r.Product, func(lock context.Context, s shelf) error {
			_, err := change(lock, s, r.Product, -r.Pieces, ctx.IdempotencyKey())
			return err
		})
	}, steps.CompensateOnlyDone())

	charge := steps.New("charge", func(_ *steps.Context, in Order) (string, error) {
		if in.Card == "declined" {
			return "", steps.Permanent(errDeclined)
		}
		return fmt.Sprintf("receipt-%d", in.Number), nil
	})
	confirm := steps.New("confirm", func(_ *steps.Context, r Reservation) (Reservation, error) { return r, nil })

	return workflow.New("place-order", func(b *workflow.Builder, in workflow.Value[Order]) workflow.Value[Reservation] {
		reserved := workflow.Do(b, reserve, in)
		workflow.Do(b, charge, in)
		return workflow.Do(b, confirm, reserved)
	})
}

// onProduct runs fn while the product is locked; without the guard it just runs.
func onProduct(ctx *steps.Context, guarded bool, product string, fn func(context.Context, shelf) error) error {
	s, err := container.Resolve(ctx, shelfKey)
	if err != nil {
		return err
	}
	if !guarded {
		return fn(ctx, s)
	}
	locks, err := container.Resolve(ctx, locking.ServiceKey) // Modules.LOCKING
	if err != nil {
		return err
	}
	return locks.Execute(ctx, locking.Keys(product), func(ctx context.Context) error {
		return fn(ctx, s)
	}, locking.Wait(patience))
}
