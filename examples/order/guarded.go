package main

import "github.com/lockstep-dev/lockstep/workflow"

// snippet: guarded

// GuardOrder keeps the products locked over all of it, two branches at once. Whichever
// of them fails, the other is ended and waited for, and what was done is undone before
// anybody else gets the products.
var GuardOrder = workflow.New("guard-order",
	func(b *workflow.Builder, in workflow.Value[Order]) workflow.Value[Receipt] {
		return workflow.Guard(b, workflow.Transform(b, in, productKeys), func(b *workflow.Builder) workflow.Value[Receipt] {
			res, pay := workflow.Parallel2(b,
				func(b *workflow.Builder) workflow.Value[Reservation] { return workflow.Do(b, reserve, in) },
				func(b *workflow.Builder) workflow.Value[Payment] { return workflow.Do(b, charge, in) })
			return workflow.Transform2(b, res, pay, newReceipt)
		})
	})

// snippet: end

// productKeys are what an order needs for itself.
func productKeys(Order) ([]string, error) { return []string{"prod_123"}, nil }
