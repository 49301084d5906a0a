package container_test

import (
	"errors"
	"fmt"

	"github.com/lockstep-dev/lockstep/container"
)

func Example() {
	c := container.New()
	name := container.NewKey[string]("name")
	container.MustRegister(c, name, "Ada")
	container.MustRegisterFunc(c, keyG, func(c *container.Container) (greeter, error) {
		n, err := container.Resolve(c, name)
		return english{n}, err
	})
	g, err := container.Resolve(c, keyG)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(g.Greet())
	// Output: hello Ada
}

// A child container puts a fake in place of a real service, for itself alone.
func ExampleContainer_Child() {
	c := container.New()
	rate := container.NewKey[float64]("exchange-rate")
	container.MustRegister(c, rate, 1.08)

	test := c.Child()
	container.MustRegister(test, rate, 2)

	fmt.Println(container.MustResolve(test, rate), container.MustResolve(c, rate))
	// Output: 2 1.08
}

func ExampleResolve_unknown() {
	c := container.New()
	container.MustRegister(c, container.NewKey[int]("answer"), 42)

	_, err := container.Resolve(c, container.NewKey[int]("anwser"))
	fmt.Println(err)
	fmt.Println(errors.Is(err, container.ErrUnknownKey))
	// Output:
	// container: nothing is registered under "anwser"; there are answer
	// true
}

func ExampleCycleError() {
	c := container.New()
	chicken, egg := container.NewKey[int]("chicken"), container.NewKey[int]("egg")
	container.MustRegisterFunc(c, chicken, func(c *container.Container) (int, error) { return container.Resolve(c, egg) })
	container.MustRegisterFunc(c, egg, func(c *container.Container) (int, error) { return container.Resolve(c, chicken) })

	_, err := container.Resolve(c, chicken)
	if cycle, ok := errors.AsType[*container.CycleError](err); ok {
		fmt.Println(cycle)
	}
	// Output: container: constructors need each other: chicken -> egg -> chicken
}
