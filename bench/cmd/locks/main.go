// Command locks compares lock libraries on a Redis server that it starts itself, and
// prints each budget of the design beside what it measured.
//
// It exits 0 when a budget is short, too: it measures, it does not judge. It exits 1
// when something failed, and when a lock did not exclude.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/pprof"
	"strings"
	"syscall"

	"github.com/lockstep-dev/lockstep/bench/trials"
)

func main() {
	// The server and the children end with the context.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	var err error
	if trials.IsChild() {
		err = trials.Child(ctx, os.Stdin, os.Stdout)
	} else {
		err = run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	}
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "locks:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out, progress io.Writer) (err error) {
	flags := flag.NewFlagSet("locks", flag.ContinueOnError)
	flags.SetOutput(progress)
	quick := flags.Bool("quick", false, "run everything for a moment, to see that it works")
	only := flags.String("only", "", "run these parts only, separated by commas, or all that begin so: "+strings.Join(trials.Parts(), ", "))
	rounds := flags.Int("rounds", 0, "how often each slice is run; a third as often with contention (12)")
	slice := flags.Duration("slice", 0, "how long a slice is; six times as long with contention (300ms)")
	jsonFile := flags.String("json", "", "write the report to this `file`, too")
	profile := flags.String("cpuprofile", "", "run lockstep alone, and write its CPU profile to this `file`")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected %q: there are flags only", flags.Args())
	}
	cfg := trials.Full()
	if *quick {
		cfg = trials.Quick()
	}
	if *only != "" {
		cfg.Only = strings.Split(*only, ",")
	}
	if *rounds != 0 {
		cfg.Rounds = *rounds
	}
	if *slice != 0 {
		cfg.Slice = *slice
	}
	cfg.Progress = progress
	if *profile != "" {
		cfg.OursOnly = true
		stop, err := startProfile(*profile)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, stop()) }()
	}
	report, err := trials.Run(ctx, cfg)
	if err != nil {
		return err
	}
	if *jsonFile != "" {
		text, err := json.MarshalIndent(report, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(*jsonFile, append(text, '\n'), 0o600); err != nil {
			return err
		}
	}
	return report.Print(out)
}

func startProfile(name string) (stop func() error, err error) {
	f, err := os.Create(name) //nolint:gosec // the user names it
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}
