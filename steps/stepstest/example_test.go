package stepstest_test

import (
	"context"
	"fmt"

	"github.com/lockstep-dev/lockstep/container"
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/steps/stepstest"
)

func ExampleRun() {
	stock := container.NewKey[map[string]int]("stock")
	c := container.New()
	container.MustRegister(c, stock, map[string]int{"prod_123": 5})

	reserve := steps.New("reserve", func(ctx *steps.Context, product string) (string, error) {
		container.MustResolve(ctx, stock)[product]--
		return product, nil
	}, steps.Undo(func(ctx *steps.Context, product string) error {
		container.MustResolve(ctx, stock)[product]++
		return nil
	}))

	ctx := context.Background()
	res, err := stepstest.Run(ctx, c, reserve, "prod_123")
	fmt.Println(res.Output, err, container.MustResolve(c, stock)["prod_123"])
	fmt.Println(res.Compensate(ctx), container.MustResolve(c, stock)["prod_123"])
	// Output:
	// prod_123 <nil> 4
	// <nil> 5
}
