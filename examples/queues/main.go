// Queues has one engine drive orders and another one, which could be on a machine of its
// own, print their labels: two at a time, whatever comes.
//
//	go run ./examples/queues
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/lockstep-dev/lockstep/container"
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/store/storemem"
	"github.com/lockstep-dev/lockstep/workflow"
)

// printerKey is what only the engine beside the printer has.
var printerKey = container.NewKey[*printer]("printer")

// snippet: step
// printLabel is made wherever somebody serves the queue "printer".
var printLabel = steps.New("print-label", func(ctx *steps.Context, order string) (string, error) {
	p, err := container.Resolve(ctx, printerKey)
	if err != nil {
		return "", err
	}
	return p.print(ctx.IdempotencyKey(), order), nil
}, steps.OnQueue("printer"))

// snippet: end

var ship = workflow.New("ship", func(b *workflow.Builder, order workflow.Value[string]) workflow.Value[string] {
	return workflow.Do(b, printLabel, order)
})

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "queues:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	executions := storemem.New()
	driver, err := start(ctx, executions, container.New(), nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, driver.Stop(ctx)) }()

	var list []*workflow.Handle[string]
	for _, order := range []string{"order-1", "order-2", "order-3", "order-4", "order-5"} {
		h, err := workflow.Start(ctx, driver, ship, order)
		if err != nil {
			return err
		}
		list = append(list, h)
	}
	queues, err := driver.Queues(ctx)
	if err != nil {
		return err
	}
	for _, q := range queues {
		fmt.Printf("queue %q: %d labels wait, nobody prints\n", q.Name, q.Waiting)
	}

	beside := container.New()
	p := &printer{}
	container.MustRegister(beside, printerKey, p)
	// snippet: serve
	printing, err := start(ctx, executions, beside, []workflow.Queue{{Name: "printer", Workers: 2, Limit: 2}})
	// snippet: end
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, printing.Stop(ctx)) }()
	for _, h := range list {
		label, err := h.Wait(ctx)
		if err != nil {
			return err
		}
		fmt.Println(label)
	}
	fmt.Printf("printed %d labels, at most %d at a time\n", p.printed(), p.mostAtOnce())
	return nil
}

// start starts an engine that serves the queues, and no others.
func start(ctx context.Context, s store.Store, c *container.Container, queues []workflow.Queue) (*workflow.Engine, error) {
	e, err := workflow.NewEngine(workflow.Config{
		Container: c, Store: s, Workflows: workflow.Set{ship}, Queues: append([]workflow.Queue{}, queues...),
	})
	if err != nil {
		return nil, err
	}
	return e, e.Start(ctx)
}
