package storesqlite_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/lockstep-dev/lockstep/container"
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/store/storesqlite"
	"github.com/lockstep-dev/lockstep/workflow"
)

var greet = workflow.New("greet", func(b *workflow.Builder, name workflow.Value[string]) workflow.Value[string] {
	return workflow.Do(b, steps.New("greet", func(_ *steps.Context, name string) (string, error) { return "hello " + name, nil }), name)
})

// What an engine has recorded is there for the next one, in another process.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	for range 2 {
		if err := run(ctx, filepath.Join(dir, "executions.db")); err != nil {
			fmt.Println(err)
		}
	}
	if err := look(ctx, filepath.Join(dir, "executions.db")); err != nil {
		fmt.Println(err)
	}
	// Output:
	// hello world
	// hello world
	// "greet"/"first" is done
}

func run(ctx context.Context, path string) error {
	// snippet: open
	executions, err := storesqlite.Open(path, storesqlite.Config{})
	if err != nil {
		return err
	}
	defer executions.Close(ctx) // after the engine has stopped
	engine, err := workflow.NewEngine(workflow.Config{
		Container: container.New(), Store: executions, Workflows: workflow.Set{greet},
		Node: "shop-1", // the next start of this node goes on at once, and waits for no lease
	})
	// snippet: end
	if err == nil {
		err = engine.Start(ctx)
	}
	if err != nil {
		return err
	}
	result, err := workflow.Run(ctx, engine, greet, "world", workflow.WithExecutionID("first"))
	if err == nil {
		fmt.Println(result)
	}
	return errors.Join(err, engine.Stop(ctx))
}

func look(ctx context.Context, path string) error {
	// snippet: look
	executions, err := storesqlite.OpenReadOnly(path, storesqlite.Config{}) // beside the process that has the file
	if err != nil {
		return err
	}
	defer executions.Close(ctx)
	page, err := executions.List(ctx, store.Query{Workflow: "greet"})
	// snippet: end
	for _, x := range page.Executions {
		fmt.Println(x.Key, "is", x.State)
	}
	return err
}
