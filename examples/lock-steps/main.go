// Lock-steps refunds one order for several clerks at once, with the ready-made
// steps that lock it: acquire, book, pay back, release, notify. Booking reads what
// has been refunded and writes it back in two halves; what keeps two refunds from
// giving the same money away is the lock. One refund goes to a closed account: it
// is taken out of the books again, still under the lock.
//
//	go run ./examples/lock-steps
//	LOCKING_REDIS_URL=redis://localhost:6379 go run ./examples/lock-steps
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"

	"github.com/lockstep-dev/lockstep/container"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
	"github.com/lockstep-dev/lockstep/store/storemem"
	"github.com/lockstep-dev/lockstep/workflow"
)

func main() {
	if _, err := run(context.Background(), os.Stdout, os.Getenv("LOCKING_REDIS_URL")); err != nil {
		fmt.Fprintln(os.Stderr, "lock-steps:", err)
		os.Exit(1)
	}
}

// run has six clerks refund 30 of an order of 100, one of them to a closed
// account, and returns the order as it is then.
func run(ctx context.Context, out io.Writer, redisURL string) (order Order, err error) {
	locks, err := locking.New(ctx, locking.Config{Providers: providers(redisURL)})
	if err != nil {
		return order, err
	}
	defer func() { err = errors.Join(err, locks.Close(ctx)) }()
	shop := newShop(Order{ID: "order_1", Paid: 100})
	c := container.New()
	container.MustRegister(c, locking.ServiceKey, locks)
	container.MustRegister(c, shopKey, shop)
	engine, err := workflow.NewEngine(workflow.Config{
		Container: c, Store: storemem.New(), Workflows: workflow.Set{RefundOrder}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return order, err
	}
	if err := engine.Start(ctx); err != nil {
		return order, err
	}
	defer func() { err = errors.Join(err, engine.Stop(ctx)) }()

	refunds := []Refund{{"r1", "order_1", 30, "open"}, {"r2", "order_1", 30, "closed"}}
	for _, id := range []string{"r3", "r4", "r5", "r6"} {
		refunds = append(refunds, Refund{id, "order_1", 30, "open"})
	}
	for _, line := range together(ctx, engine, refunds) {
		fmt.Fprintln(out, line)
	}
	order = shop.order("order_1")
	fmt.Fprintf(out, "%s: %d paid, %d booked as refunded, %d paid back\n", order.ID, order.Paid, order.Refunded(), shop.paidBack())
	return order, nil
}

func providers(redisURL string) []locking.Registration {
	if redisURL == "" {
		return nil // the in-memory provider is always there
	}
	return []locking.Registration{
		{ID: "locking-redis", IsDefault: true, Provider: lockredis.New(lockredis.Config{RedisURL: redisURL})},
	}
}

// together runs all refunds at once, and tells how each ended.
func together(ctx context.Context, engine *workflow.Engine, refunds []Refund) []string {
	lines := make([]string, len(refunds))
	var all sync.WaitGroup
	for i, r := range refunds {
		all.Go(func() {
			receipt, err := workflow.Run(ctx, engine, RefundOrder, r, workflow.WithExecutionID(r.ID))
			switch {
			case err == nil:
				lines[i] = fmt.Sprintf("%s: paid back %d", r.ID, receipt.Amount)
			case errors.Is(err, errNothingLeft), errors.Is(err, errClosed):
				lines[i] = fmt.Sprintf("%s: undone", r.ID)
			default:
				lines[i] = fmt.Sprintf("%s: %v", r.ID, err)
			}
		})
	}
	all.Wait()
	return lines
}
