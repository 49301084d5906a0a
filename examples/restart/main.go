// Restart shows what outlives a process. It starts itself as a child that takes an order
// through four steps, kills that with SIGKILL in the midst of the third one, and starts it
// again: the next process finishes the order.
//
//	go run ./examples/restart
//
// To do it by hand, start a process, kill it, start it again:
//
//	go build -o restart ./examples/restart
//	./restart -file orders.db &
//	sleep 1; kill -9 $!
//	./restart -file orders.db
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/lockstep-dev/lockstep/container"
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store/storesqlite"
	"github.com/lockstep-dev/lockstep/workflow"
)

func main() {
	file := flag.String("file", "", "take the order through its steps, and keep what was done in this file; without it, show it all")
	flag.StringVar(&slow, "slow", "", "have the step with this name take a minute, which is time enough to kill the process")
	flag.Parse()
	ctx := context.Background()
	var err error
	if *file != "" {
		err = work(ctx, *file)
	} else {
		err = show(ctx, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "restart:", err)
		os.Exit(1)
	}
}

// deliver is the workflow. Each step gets what the one before it gave.
var deliver = workflow.New("deliver", func(b *workflow.Builder, order workflow.Value[string]) workflow.Value[string] {
	charged := workflow.Do(b, step("charge", "charged"), order)
	packed := workflow.Do(b, step("pack", "packed"), charged)
	sent := workflow.Do(b, step("send", "sent"), packed)
	return workflow.Do(b, step("thank", "thanked for"), sent)
})

// takes is how long a step takes; tests have less time.
var takes = 600 * time.Millisecond

// slow is a step that takes a minute, so that its process is surely killed in its midst.
var slow string

// step is a step that takes its time, and says when it begins and when it is done. One that
// was under way when its process died is begun again: it has to bear that, by its
// idempotency key, which is the same.
func step(name, done string) *steps.Step[string, string] {
	return steps.New(name, func(ctx *steps.Context, order string) (string, error) {
		fmt.Printf("%s begins, with the key %s\n", name, ctx.IdempotencyKey())
		takes := takes
		if name == slow {
			takes = time.Minute
		}
		select {
		case <-time.After(takes):
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
		fmt.Printf("%s is done\n", name)
		return order + ", " + done, nil
	})
}

// work is what a process does: the first one begins the order, the next one goes on with it.
func work(ctx context.Context, file string) (err error) {
	executions, err := storesqlite.Open(file, storesqlite.Config{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, executions.Close(ctx)) }()
	engine, err := workflow.NewEngine(workflow.Config{
		Container: container.New(), Store: executions, Workflows: workflow.Set{deliver}, Logger: slog.New(slog.DiscardHandler),
		Node: "shop-1", // the next start of this node goes on at once, and waits for no lease
	})
	if err != nil {
		return err
	}
	if err := engine.Start(ctx); err != nil { // from here on it goes on with what is there
		return err
	}
	defer func() { err = errors.Join(err, engine.Stop(ctx)) }()

	// Asked for again, an order is the same execution: there is one for each id.
	result, err := workflow.Run(ctx, engine, deliver, "order-1", workflow.WithExecutionID("order-1"))
	if err != nil {
		return err
	}
	fmt.Println(result)
	return nil
}
