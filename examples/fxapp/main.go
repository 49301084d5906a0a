// Fxapp is an application wired with fx: the container, the lock service and the
// engine are modules, and a service of the application moves into the container.
//
//	go run ./examples/fxapp
//	LOCKING_REDIS_URL=redis://localhost:6379 go run ./examples/fxapp
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"go.uber.org/fx"

	"github.com/lockstep-dev/lockstep/container"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/lockstepfx"
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/workflow"
)

// Stock is a service of the application. Fx makes it; steps resolve it. What is taken twice
// under one key is taken once: a step whose process dies is begun again.
type Stock struct {
	left  map[string]int
	taken map[string]int // by key: what was left then

	changed func() // is told of each change, before it is answered; nil is nobody
}

func newStock() *Stock { return &Stock{left: map[string]int{"prod_123": 3}, taken: map[string]int{}} }

func (s *Stock) take(product, key string) int {
	if _, again := s.taken[key]; !again {
		s.left[product]--
		s.taken[key] = s.left[product]
		if s.changed != nil {
			s.changed()
		}
	}
	return s.taken[key]
}

var stockKey = container.NewKey[*Stock]("stock")

var take = steps.New("take", func(ctx *steps.Context, product string) (int, error) {
	stock, err := container.Resolve(ctx, stockKey)
	if err != nil {
		return 0, err
	}
	locks, err := container.Resolve(ctx, locking.ServiceKey)
	if err != nil {
		return 0, err
	}
	return locking.Do(ctx, locks, locking.Keys(product), func(context.Context) (int, error) {
		return stock.take(product, ctx.IdempotencyKey()), nil
	})
})

var sell = workflow.New("sell", func(b *workflow.Builder, product workflow.Value[string]) workflow.Value[int] {
	return workflow.Do(b, take, product)
})

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "fxapp:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer) error {
	redis := fx.Options() // without a server the locks are in memory
	if os.Getenv("LOCKING_REDIS_URL") != "" {
		redis = lockstepfx.Redis(lockstepfx.RedisConfig{})
	}
	var engine *workflow.Engine
	app := fx.New(
		fx.NopLogger,
		fx.StopTimeout(10*time.Second),
		fx.Provide(newStock),
		lockstepfx.Container(),
		lockstepfx.Locking(),
		redis,
		lockstepfx.Engine(workflow.Config{}),
		lockstepfx.Workflows(sell),
		lockstepfx.Provide(stockKey),
		fx.Populate(&engine),
	)
	if err := app.Start(ctx); err != nil {
		return err
	}
	left, err := workflow.Run(ctx, engine, sell, "prod_123")
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "sold one prod_123, %d left\n", left)
	return app.Stop(ctx)
}
