// Command engine measures the workflow engine, and prints each budget of the design
// beside what it measured.
//
// It exits 0 when a budget is short, too: it measures, it does not judge. It exits 1
// when something failed, and when an execution came to a wrong result.
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

	"github.com/lockstep-dev/lockstep/bench/executions"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "engine:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out, progress io.Writer) (err error) {
	flags := flag.NewFlagSet("engine", flag.ContinueOnError)
	flags.SetOutput(progress)
	quick := flags.Bool("quick", false, "run everything for a moment, to see that it works")
	only := flags.String("only", "", "run these parts only, separated by commas: "+strings.Join(executions.Parts(), ", "))
	rounds := flags.Int("rounds", 0, "how often each slice is run (5)")
	jsonFile := flags.String("json", "", "write the report to this `file`, too")
	contenders := flags.String("contenders", "", "run these only on SQLite, separated by commas")
	folder := flags.String("dir", "", "make the SQLite files in this `folder`, and so on its disk, instead of that for temporary files")
	profile := flags.String("cpuprofile", "", "write a CPU profile to this `file`")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected %q: there are flags only", flags.Args())
	}
	cfg := executions.Full()
	if *quick {
		cfg = executions.Quick()
	}
	if *only != "" {
		cfg.Only = strings.Split(*only, ",")
	}
	if *contenders != "" {
		cfg.Contenders = strings.Split(*contenders, ",")
	}
	if *rounds != 0 {
		cfg.Rounds = *rounds
	}
	cfg.Progress, cfg.Folder = progress, *folder
	if *profile != "" {
		f, err := os.Create(*profile)
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return errors.Join(err, f.Close())
		}
		defer func() {
			pprof.StopCPUProfile()
			err = errors.Join(err, f.Close())
		}()
	}
	report, err := executions.Run(ctx, cfg)
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
