package main

import (
	"github.com/lockstep-dev/lockstep/container"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/workflow"
)

// snippet: steps

// A step that changes a product's stock, locking the product first. It returns
// output, undo data, error.
var reserve = steps.NewReversible("reserve-stock",
	func(ctx *steps.Context, in Order) (Reservation, string, error) {
		locks, err := container.Resolve(ctx, locking.ServiceKey) // Modules.LOCKING, typed: *locking.Service
		if err != nil {
			return Reservation{}, "", err
		}
		lock, err := locks.Acquire(ctx, locking.Keys("prod_123"), locking.WithProvider("lp_locking-redis"))
		if err != nil {
			return Reservation{}, "", err
		}
		defer lock.Close() // bounded, detached from ctx's end; Release(ctx) error for who wants the error
		// The context dies with the lock; the token fences the write.
		r, err := stock.Reserve(lock.Context(), in, ctx.IdempotencyKey(), lock.Token("prod_123"))
		return r, r.ID, steps.KeepUndo(err) // nil stays nil; on an error the undo beside it is kept
	},
	func(ctx *steps.Context, reservationID string) error {
		// A process that died while it reserved has left no id, but perhaps a reservation, under its key.
		return stock.Cancel(ctx, reservationID, ctx.InvokeKey())
	})

// Most steps need less: undo data defaults to the output.
var charge = steps.New("charge", doCharge, steps.Undo(refund))

// PlaceOrder takes first the stock, then the money. When the charge fails, the
// reservation is cancelled.
var PlaceOrder = workflow.New("place-order",
	func(b *workflow.Builder, in workflow.Value[Order]) workflow.Value[Receipt] {
		res := workflow.Do(b, reserve, in)
		pay := workflow.Do(b, charge, in)
		return workflow.Transform2(b, res, pay, newReceipt)
	})

// snippet: end
