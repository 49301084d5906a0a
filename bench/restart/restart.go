// Package restart measures an engine on a SQLite file that has far more executions than
// fit into its memory: how soon it goes on with what a process that died has left, and
// what executions cost that sleep. Each engine is a process of its own, whose memory is
// what the system says of it.
package restart

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/lockstep-dev/lockstep/bench/measure"
)

// Config says what is measured, and on how much.
type Config struct {
	// Only names the parts to run; none is all.
	Only []string
	// Unfinished is how many executions a process leaves behind, Sleeping how many
	// sleep. Callers is how many start them side by side.
	Unfinished, Sleeping, Callers int
	// Probes is how many of those that sleep are watched as they fall due.
	Probes int
	// Folder is where the file is; empty is the system's for temporary files. It should be
	// on a disk: elsewhere nothing is waited for.
	Folder string
	// Slack multiplies what the budgets allow.
	Slack float64
	// Profile is where the CPU profiles of the processes go, each with its role at the end;
	// empty is nowhere.
	Profile  string
	Progress io.Writer
}

// Full is the configuration that the budgets are judged by.
func Full() Config {
	return Config{Unfinished: 100_000, Sleeping: 1_000_000, Callers: 512, Probes: 20, Slack: 1, Progress: io.Discard}
}

// Quick runs everything for a moment, with budgets that only a fault misses.
func Quick() Config {
	return Config{Unfinished: 2_000, Sleeping: 20_000, Callers: 256, Probes: 5, Slack: 3, Progress: io.Discard}
}

// Report is what was measured.
type Report struct {
	Unfinished []UnfinishedRow  `json:"unfinished,omitempty"`
	Sleeping   *SleepingRow     `json:"sleeping,omitempty"`
	Budgets    []measure.Budget `json:"budgets"`
}

func (r *Report) budget(cfg *Config, id string, measured, most float64) {
	r.Budgets = append(r.Budgets, measure.Budget{ID: "restart." + id, Measured: measured, Bound: measure.AtMost, Wants: most * cfg.Slack})
}

var parts = []struct {
	name string
	run  func(ctx context.Context, cfg *Config, r *Report) error
}{
	{"killed", killed.run},
	{"stopped", stopped.run},
	{"sleeping", runSleeping},
}

// Parts lists what there is to measure.
func Parts() []string {
	var names []string
	for _, p := range parts {
		names = append(names, p.name)
	}
	return names
}

// Run measures. It returns an error when something failed, and when an execution came to
// another end than it should.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	for _, name := range cfg.Only {
		if !slices.Contains(Parts(), name) {
			return nil, fmt.Errorf("there is no part %q; there are %s", name, strings.Join(Parts(), ", "))
		}
	}
	r := &Report{}
	for _, p := range parts {
		if len(cfg.Only) > 0 && !slices.Contains(cfg.Only, p.name) {
			continue
		}
		if err := p.run(ctx, &cfg, r); err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return r, nil
}

// inFolder has a folder that is gone afterwards.
func (cfg *Config) inFolder(do func(dir string) error) (err error) {
	dir, err := os.MkdirTemp(cfg.Folder, "lockstep-restart-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	return do(dir)
}

func (cfg *Config) tell(format string, args ...any) {
	_, _ = fmt.Fprintf(cfg.Progress, format+"\n", args...)
}
