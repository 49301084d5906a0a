// Step-1 is the last example of Medusa's page on its Redis locking provider, in
// Go: a step resolves Modules.LOCKING from the container and acquires "prod_123"
// from the provider "lp_locking-redis", before its side effects.
//
//	LOCKING_REDIS_URL=redis://localhost:6379 go run ./examples/step-1
//
// As on that page, the step does not release the lock. Here that is no leak: the
// lock belongs to the execution. It is renewed while the workflow runs, the steps
// that follow have it too, and it is released when the workflow ends.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/lockstep-dev/lockstep/container"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store/storemem"
	"github.com/lockstep-dev/lockstep/workflow"
)

var step1 = steps.New("step-1", func(ctx *steps.Context, _ struct{}) (locking.Token, error) {
	lockingService, err := container.Resolve(ctx, locking.ServiceKey) // Modules.LOCKING
	if err != nil {
		return 0, err
	}
	lock, err := lockingService.Acquire(ctx, locking.Keys("prod_123"),
		locking.WithProvider("lp_locking-redis"))
	if err != nil {
		return 0, err
	}
	return lock.Token("prod_123"), nil
})

// step2 sees that the lock is still there: it acquires it again, and joins.
var step2 = steps.New("step-2", func(ctx *steps.Context, token locking.Token) (string, error) {
	lockingService, err := container.Resolve(ctx, locking.ServiceKey)
	if err != nil {
		return "", err
	}
	lock, err := lockingService.TryAcquire(ctx, locking.Keys("prod_123"),
		locking.WithProvider("lp_locking-redis"))
	if err != nil {
		return "", err
	}
	defer lock.Close()
	return fmt.Sprintf("step-2 runs under the lock of step-1: same token %t", lock.Token("prod_123") == token), nil
})

var flow = workflow.New("my-workflow", func(b *workflow.Builder, in workflow.Value[struct{}]) workflow.Value[string] {
	return workflow.Do(b, step2, workflow.Do(b, step1, in))
})

func main() {
	if err := run(context.Background(), os.Getenv("LOCKING_REDIS_URL")); err != nil {
		fmt.Fprintln(os.Stderr, "step-1:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, url string) (err error) {
	locks, err := locking.New(ctx, locking.Config{Providers: []locking.Registration{
		{ID: "locking-redis", IsDefault: true, Provider: lockredis.New(lockredis.Config{RedisURL: url})},
	}})
	if err != nil {
		return err
	}
	defer func() {
		if e := locks.Close(ctx); err == nil {
			err = e
		}
	}()
	c := container.New()
	container.MustRegister(c, locking.ServiceKey, locks)
	engine, err := workflow.NewEngine(workflow.Config{Container: c, Store: storemem.New(), Workflows: workflow.Set{flow}})
	if err != nil {
		return err
	}
	if err := engine.Start(ctx); err != nil {
		return err
	}
	said, err := workflow.Run(ctx, engine, flow, struct{}{})
	if err != nil {
		return err
	}
	fmt.Println(said)
	if err := engine.Stop(ctx); err != nil {
		return err
	}
	// The workflow has ended, and with it the lock.
	lock, err := locks.TryAcquire(ctx, locking.Keys("prod_123"))
	if err != nil {
		return err
	}
	fmt.Println("the workflow has ended: prod_123 is free")
	return lock.Release(ctx)
}
