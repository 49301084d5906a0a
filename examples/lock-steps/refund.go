package main

import (
	"time"

	"github.com/lockstep-dev/lockstep/container"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/locksteps"
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/workflow"
)

// snippet: workflow

// RefundOrder changes an order under its lock, and notifies the customer without.
var RefundOrder = workflow.New("refund-order",
	func(b *workflow.Builder, in workflow.Value[Refund]) workflow.Value[Receipt] {
		lock := workflow.Do(b, locksteps.Acquire, workflow.Map(b, in, func(r Refund) locksteps.AcquireInput {
			return locksteps.AcquireInput{Keys: locking.Keys(r.OrderID), Timeout: 10 * time.Second}
		}))
		workflow.Do(b, book, workflow.Transform2(b, in, lock, newBooking)) // the lock's token fences the write
		receipt := workflow.Do(b, payBack, in)
		workflow.Do(b, locksteps.Release, workflow.Map(b, in, func(r Refund) locksteps.ReleaseInput {
			return locksteps.ReleaseInput{Keys: locking.Keys(r.OrderID)}
		}))
		workflow.Do(b, notify, receipt)
		return receipt
	})

// snippet: end

// Booking is a refund to be booked, and the token of the lock it is booked under.
type Booking struct {
	Refund Refund
	Token  locking.Token
}

func newBooking(r Refund, lock locksteps.Acquired) (Booking, error) {
	return Booking{r, lock.Token(r.OrderID)}, nil
}

// book writes the refund into the order, under the refund's id: twice is as good as
// once. When a later step fails it is taken out again, before the lock is released
// and under the same token.
var book = steps.NewReversible("book",
	func(ctx *steps.Context, in Booking) (struct{}, Booking, error) {
		shop := container.MustResolve(ctx, shopKey)
		return struct{}{}, in, shop.change(in.Refund.OrderID, in.Token, func(refunds map[string]int) { refunds[in.Refund.ID] = in.Refund.Amount })
	},
	func(ctx *steps.Context, in Booking) error {
		if ctx.Outcome() == steps.Failed {
			return nil // nothing was booked
		}
		shop := container.MustResolve(ctx, shopKey)
		return shop.change(in.Refund.OrderID, in.Token, func(refunds map[string]int) { delete(refunds, in.Refund.ID) })
	})

var payBack = steps.New("pay-back", func(ctx *steps.Context, in Refund) (Receipt, error) {
	if err := container.MustResolve(ctx, shopKey).payBack(in, ctx.IdempotencyKey()); err != nil {
		return Receipt{}, steps.Permanent(err)
	}
	return Receipt{RefundID: in.ID, Amount: in.Amount}, nil
})

var notify = steps.New("notify", func(ctx *steps.Context, in Receipt) (struct{}, error) {
	ctx.Logger().Info("refunded", "refund", in.RefundID, "amount", in.Amount)
	return struct{}{}, nil
})
