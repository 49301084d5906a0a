// Guarded-stock sends many concurrent orders for few pieces of stock through a
// workflow: reserve, charge, confirm. The reservation reads the stock and writes
// it back, in two halves; what keeps two orders from selling the same piece is the
// lock on the product.
//
//	go run ./examples/guarded-stock
//	go run ./examples/guarded-stock -unguarded          # see it oversell
//	LOCKING_REDIS_URL=redis://localhost:6379 go run ./examples/guarded-stock -processes 3
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// settings are the flags.
type settings struct {
	orders, stock, products, workers, processes, decline int
	unguarded                                            bool

	redisURL string // LOCKING_REDIS_URL; empty: in memory

	// A child process sells a part of the orders of a run.
	child bool
	run   string // names the shared stock
	first int    // the number of the first order
}

const (
	statusOversold    = 1
	statusUsage       = 2
	statusInterrupted = 130
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := realMain(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func realMain(ctx context.Context, args []string, out, errOut io.Writer) int {
	set, err := parse(args, errOut)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(errOut, "guarded-stock:", err)
		return statusUsage
	}
	var sum tally
	switch {
	case set.child:
		err = runChild(ctx, set, out)
	case set.processes > 1:
		sum, err = runParent(ctx, set, out, errOut)
	default:
		sum, err = runAlone(ctx, set, out)
	}
	if err != nil {
		fmt.Fprintln(errOut, "guarded-stock:", err)
		return statusOversold
	}
	if set.child {
		return 0
	}
	return sum.report(out, set)
}

func parse(args []string, errOut io.Writer) (settings, error) {
	set := settings{redisURL: os.Getenv("LOCKING_REDIS_URL")}
	fs := flag.NewFlagSet("guarded-stock", flag.ContinueOnError)
	fs.SetOutput(errOut)
	fs.IntVar(&set.orders, "orders", 60, "how many orders there are in all")
	fs.IntVar(&set.stock, "stock", 20, "how many pieces there are of each product")
	fs.IntVar(&set.products, "products", 1, "how many products the orders are for")
	fs.IntVar(&set.workers, "workers", 16, "how many orders each process handles at once")
	fs.IntVar(&set.processes, "processes", 1, "how many processes share the orders; more than 1 needs LOCKING_REDIS_URL")
	fs.IntVar(&set.decline, "decline", 10, "percent of the cards that are refused")
	fs.BoolVar(&set.unguarded, "unguarded", false, "take no lock, and see it oversell")
	fs.BoolVar(&set.child, "child", false, "internal: be one of several processes")
	fs.StringVar(&set.run, "run", "", "internal: the name of the shared stock")
	fs.IntVar(&set.first, "first", 0, "internal: the number of the first order")
	if err := fs.Parse(args); err != nil {
		return set, err
	}
	if fs.NArg() > 0 {
		return set, fmt.Errorf("unexpected argument %q; there are only flags", fs.Arg(0))
	}
	for _, f := range []struct {
		name     string
		v, least int
	}{
		{"orders", set.orders, 0}, {"stock", set.stock, 0}, {"products", set.products, 1},
		{"workers", set.workers, 1}, {"processes", set.processes, 1}, {"decline", set.decline, 0},
	} {
		if f.v < f.least {
			return set, fmt.Errorf("-%s %d: expected %d or more", f.name, f.v, f.least)
		}
	}
	if set.decline > 100 {
		return set, fmt.Errorf("-decline %d: expected a percentage from 0 to 100", set.decline)
	}
	if set.processes > 1 && set.redisURL == "" {
		return set, errors.New("-processes above 1 needs LOCKING_REDIS_URL: the in-memory locks and stock are one process's own (usual local URL: redis://localhost:6379)")
	}
	return set, nil
}
