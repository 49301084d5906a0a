// Package executions measures the workflow engine: how fast short workflows are, what
// a step costs in long ones, and what executions cost that wait.
package executions

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/lockstep-dev/lockstep/bench/measure"
	"github.com/lockstep-dev/lockstep/container"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store/storemem"
	"github.com/lockstep-dev/lockstep/workflow"
)

// Config says what is measured, and for how long.
type Config struct {
	// Only names the parts to run; none is all.
	Only []string
	// Rounds is how often each slice is run; what is told is the median.
	Rounds int
	// Contenders names those to run on SQLite; none is all. A slice there is counted for the
	// Window, and until as many workflows as Least have ended. Folder is where the files are;
	// empty is the system's folder for temporary ones.
	Contenders []string
	Window     time.Duration
	Least      int
	Folder     string
	// Short and Steps are how many executions of three steps, and how many steps of long
	// ones, a slice has. Parked is how many executions wait for one lock.
	Short, Steps, Parked int
	Progress             io.Writer
}

// Full is the configuration that the budgets are judged by.
func Full() Config {
	return Config{Rounds: 5, Window: 3 * time.Second, Least: 10, Short: 200_000, Steps: 100_000, Parked: 10_000}
}

// Quick runs everything for a moment.
func Quick() Config {
	return Config{Rounds: 1, Window: 50 * time.Millisecond, Least: 1, Short: 500, Steps: 10_000, Parked: 200}
}

// Report is what was measured.
type Report struct {
	Memory []ShortRow  `json:"memory,omitempty"`
	Long   []LongRow   `json:"long,omitempty"`
	Parked *ParkedRow  `json:"parked,omitempty"`
	SQLite []SQLiteRow `json:"sqlite,omitempty"`
	// SQLiteSettings say how those of SQLite were configured.
	SQLiteSettings []Setting        `json:"sqliteSettings,omitempty"`
	Budgets        []measure.Budget `json:"budgets"`
}

var parts = []struct {
	name string
	run  func(ctx context.Context, cfg Config, r *Report) error
}{
	{"memory", runShort},
	{"cost", runLong},
	{"parked", runParked},
	{"sqlite", runSQLite},
}

// Parts lists what there is to measure.
func Parts() []string {
	var names []string
	for _, p := range parts {
		names = append(names, p.name)
	}
	return names
}

// Run measures. It returns an error when something failed, or an execution came to
// another result than it should.
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
		if err := p.run(ctx, cfg, r); err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return r, nil
}

// instance is an engine on a store in memory.
type instance struct {
	*workflow.Engine

	locks *locking.Service
}

func start(ctx context.Context, set ...workflow.Definition) (*instance, error) {
	log := slog.New(slog.DiscardHandler)
	locks, err := locking.New(ctx, locking.Config{Logger: log})
	if err != nil {
		return nil, err
	}
	c := container.New()
	container.MustRegister(c, locking.ServiceKey, locks)
	e, err := workflow.NewEngine(workflow.Config{Store: storemem.New(), Workflows: set, Logger: log, Container: c})
	if err != nil {
		return nil, errors.Join(err, locks.Close(ctx))
	}
	if err := e.Start(ctx); err != nil {
		return nil, errors.Join(err, locks.Close(ctx))
	}
	return &instance{e, locks}, nil
}

func (i *instance) stop(ctx context.Context) error {
	return errors.Join(i.Stop(ctx), i.locks.Close(ctx))
}

// sequence is a workflow of steps that each add one.
func sequence(n int) *workflow.Workflow[int, int] {
	add := func(_ *steps.Context, n int) (int, error) { return n + 1, nil }
	return workflow.New(fmt.Sprintf("of %d steps", n), func(b *workflow.Builder, in workflow.Value[int]) workflow.Value[int] {
		for i := range n {
			in = workflow.Do(b, steps.New(fmt.Sprint("step ", i), add), in)
		}
		return in
	})
}
