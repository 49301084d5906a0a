package main

import (
	"context"
	"errors"
	"testing"

	"github.com/lockstep-dev/lockstep/workflow"
	"github.com/lockstep-dev/lockstep/workflow/workflowtest"
)

// snippet: crash

// Wherever its process dies, an order that is paid has taken one piece of the stock, and
// one that is declined has taken none.
func TestStockIsRightWhereverTheProcessOfAnOrderDies(t *testing.T) {
	for card, left := range map[string]int{"4242": 2, "declined": 3} {
		t.Run(card, func(t *testing.T) {
			workflowtest.Explore(t, workflowtest.Subject{
				Locks: "locking-redis", // the name that the steps use; what they reach is in memory
				Program: func(_ testing.TB, dir string) workflowtest.Program {
					return order(dir, PlaceOrder, Order{ID: "o", Card: card})
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

// order is what a process does. It is made anew for each process of a history, and the
// stock for each history, which has a folder of its own.
func order(dir string, flow *workflow.Workflow[Order, Receipt], o Order) workflowtest.Program {
	if stock.at != dir {
		stock = &warehouse{left: 3, made: map[string]Reservation{}, at: dir}
	}
	return workflowtest.Program{
		Workflows: workflow.Set{flow},
		Run: func(ctx context.Context, e *workflow.Engine) error {
			_, err := workflow.Run(ctx, e, flow, o, workflow.WithExecutionID(o.ID))
			return err
		},
	}
}

// snippet: end

func TestStockIsRightWhereverTheProcessOfAGuardedOrderDies(t *testing.T) {
	for card, left := range map[string]int{"4242": 2, "declined": 3} {
		t.Run(card, func(t *testing.T) {
			workflowtest.Explore(t, workflowtest.Subject{
				Locks: "locking-redis",
				Program: func(_ testing.TB, dir string) workflowtest.Program {
					return order(dir, GuardOrder, Order{ID: "o", Card: card})
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
