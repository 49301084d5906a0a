// Command restart measures an engine on a SQLite file with far more executions than fit
// into its memory, and prints each budget beside what it measured.
//
// It exits 0 when a budget is short, too: it measures, it does not judge. It exits 1
// when something failed, and when an execution came to another end than it should.
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
	"strings"
	"syscall"

	"github.com/lockstep-dev/lockstep/bench/restart"
)

func main() {
	// The children end with the context.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	var err error
	if restart.IsChild() {
		err = restart.Child(ctx, os.Stdout)
	} else {
		err = run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	}
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "restart:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out, progress io.Writer) error {
	flags := flag.NewFlagSet("restart", flag.ContinueOnError)
	flags.SetOutput(progress)
	quick := flags.Bool("quick", false, "run everything for a moment, to see that it works")
	only := flags.String("only", "", "run these parts only, separated by commas: "+strings.Join(restart.Parts(), ", "))
	folder := flags.String("folder", "", "keep the file in this `folder`, which should be on a disk")
	jsonFile := flags.String("json", "", "write the report to this `file`, too")
	profile := flags.String("cpuprofile", "", "write CPU profiles to files whose names begin with this `path`")
	sleeping := flags.Int("sleeping", 0, "how many executions sleep (1000000)")
	unfinished := flags.Int("unfinished", 0, "how many executions are left unfinished (100000)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected %q: there are flags only", flags.Args())
	}
	cfg := restart.Full()
	if *quick {
		cfg = restart.Quick()
	}
	if *only != "" {
		cfg.Only = strings.Split(*only, ",")
	}
	if *sleeping > 0 {
		cfg.Sleeping = *sleeping
	}
	if *unfinished > 0 {
		cfg.Killed, cfg.Stopped = []int{*unfinished}, []int{*unfinished}
	}
	cfg.Folder, cfg.Profile, cfg.Progress = *folder, *profile, progress
	report, err := restart.Run(ctx, cfg)
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
