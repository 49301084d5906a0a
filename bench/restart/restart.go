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
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/lockstep-dev/lockstep/bench/measure"
	"github.com/lockstep-dev/lockstep/workflow"
)

// Config says what is measured, and on how much.
type Config struct {
	// Only names the parts to run; none is all.
	Only []string
	// Killed and Stopped are how many executions a process leaves behind, once for each.
	// AtWork is how many of them the next one may have at work, and Takes how long each then
	// takes after a stop.
	Killed, Stopped []int
	AtWork          int
	Takes           time.Duration
	// Sleeping is how many executions sleep, and Probes how many of them are watched as they
	// fall due. Rest is how long an execution stays in its engine's memory, and Away when
	// those fall due that the next process watches.
	Sleeping, Probes int
	Rest, Away       time.Duration
	// Callers is how many start executions side by side.
	Callers int
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
	return Config{
		Killed: []int{100_000}, Stopped: []int{25_000, 100_000}, AtWork: workflow.DefaultMaxClaimed, Takes: 250 * time.Millisecond,
		Sleeping: 1_000_000, Probes: 20, Rest: workflow.DefaultRestAfter, Away: 30 * time.Second,
		Callers: 1024, Slack: 1, Progress: io.Discard,
	}
}

// Quick runs everything for a moment, with budgets that only a fault misses.
func Quick() Config {
	return Config{
		Killed: []int{2_000}, Stopped: []int{2_000}, AtWork: 200, Takes: 50 * time.Millisecond,
		Sleeping: 20_000, Probes: 3, Rest: 500 * time.Millisecond, Away: 5 * time.Second,
		Callers: 256, Slack: 3, Progress: io.Discard,
	}
}

// Report is what was measured.
type Report struct {
	Unfinished []UnfinishedRow  `json:"unfinished,omitempty"`
	Sleeping   *SleepingRow     `json:"sleeping,omitempty"`
	Budgets    []measure.Budget `json:"budgets"`
}

func (r *Report) budget(id string, measured, most float64) {
	r.Budgets = append(r.Budgets, measure.Budget{ID: "restart." + id, Measured: measured, Bound: measure.AtMost, Wants: most})
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

// order is for a process that has a file in a folder.
func (cfg *Config) order(role, dir string, count int) order {
	return order{
		Role: role, File: filepath.Join(dir, "executions.db"), Count: count, Callers: cfg.Callers, Probes: cfg.Probes,
		AtWork: cfg.AtWork, Rest: cfg.Rest, Away: cfg.Away, Profile: cfg.Profile,
	}
}

func (cfg *Config) tellf(format string, args ...any) {
	_, _ = fmt.Fprintf(cfg.Progress, format+"\n", args...)
}
