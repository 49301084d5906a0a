package locksteps_test

import (
	"context"
	"fmt"

	"github.com/lockstep-dev/lockstep/container"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/locksteps"
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store/storemem"
	"github.com/lockstep-dev/lockstep/workflow"
)

// A workflow that locks two things: each use of a step has a name of its own. The
// cart is given back early, the stock when the execution ends.
func Example() {
	lockCart := steps.With(locksteps.Acquire, steps.Name("lock-cart"))
	lockStock := steps.With(locksteps.Acquire, steps.Name("lock-stock"))
	checkout := workflow.New("checkout", func(b *workflow.Builder, in workflow.Value[string]) workflow.Value[bool] {
		workflow.Do(b, lockCart, workflow.Map(b, in, func(cart string) locksteps.AcquireInput {
			return locksteps.AcquireInput{Keys: locking.Keys(cart)}
		}))
		workflow.Do(b, lockStock, workflow.Const(b, locksteps.AcquireInput{Keys: locking.Keys("prod_1", "prod_2")}))
		return workflow.Do(b, locksteps.Release, workflow.Map(b, in, func(cart string) locksteps.ReleaseInput {
			return locksteps.ReleaseInput{Keys: locking.Keys(cart)}
		}))
	})

	ctx := context.Background()
	locks, err := locking.New(ctx, locking.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer locks.Close(ctx)
	c := container.New()
	container.MustRegister(c, locking.ServiceKey, locks)
	engine, err := workflow.NewEngine(workflow.Config{Container: c, Store: storemem.New(), Workflows: workflow.Set{checkout}})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := engine.Start(ctx); err != nil {
		fmt.Println(err)
		return
	}
	defer engine.Stop(ctx)
	released, err := workflow.Run(ctx, engine, checkout, "cart_1")
	fmt.Println(released, err)
	// Output: true <nil>
}
