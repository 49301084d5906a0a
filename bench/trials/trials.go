// Package trials runs the candidates against each other on servers of its own, and
// reports what it measured.
//
// All that is compared is measured in one run, in short slices that alternate, and
// compared slice by slice: the machine's own moods are then in both. Before each
// slice garbage is collected, so that none pays for another's.
package trials

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/lockstep-dev/lockstep/bench/locks"
	"github.com/lockstep-dev/lockstep/bench/server"
	"github.com/lockstep-dev/lockstep/bench/wire"
)

// Config says what to run, and for how long.
type Config struct {
	// Only names parts of [Parts], or beginnings of their names; empty is all.
	Only []string
	// OursOnly leaves out everybody else, for a profile.
	OursOnly bool
	// Rounds is how often each slice without contention is run. One with contention
	// is run a third as often, and six times as long: turns there are rare.
	Rounds int
	Slice  time.Duration
	// Patience is how long those who still wait at the end of a contention are
	// waited for.
	Patience time.Duration
	// Held and Waiting are how many locks and how many waiters memory is measured
	// with.
	Held, Waiting int
	// Progress is told what runs.
	Progress io.Writer
}

// Full is the run that budgets are judged by.
func Full() Config {
	return Config{
		Rounds: 12, Slice: 300 * time.Millisecond, Patience: 5 * time.Second,
		Held: 10_000, Waiting: 10_000, Progress: io.Discard,
	}
}

// Quick runs everything, too briefly to believe the numbers.
func Quick() Config {
	return Config{
		Rounds: 2, Slice: 20 * time.Millisecond, Patience: 100 * time.Millisecond,
		Held: 500, Waiting: 500, Progress: io.Discard,
	}
}

// Parts are the parts of a run, in order.
func Parts() []string {
	return []string{"uncontended.1", "uncontended.64", "contended.1p", "contended.4p", "manykeys", "memory"}
}

// callersTogether are the callers that contend for one key.
const callersTogether = 32

// check refuses a configuration that can't be run.
func (c *Config) check() error {
	if c.Rounds < 1 || c.Slice < time.Millisecond {
		return fmt.Errorf("trials: %d rounds of %s: expected at least one, of at least a millisecond", c.Rounds, c.Slice)
	}
	for _, name := range c.Only {
		if !slices.ContainsFunc(Parts(), func(part string) bool { return strings.HasPrefix(part, name) }) || name == "" {
			return fmt.Errorf("trials: there is no part %q; the parts are %s", name, strings.Join(Parts(), ", "))
		}
	}
	return nil
}

func (c *Config) wants(part string) bool {
	return len(c.Only) == 0 || slices.ContainsFunc(c.Only, func(name string) bool { return strings.HasPrefix(part, name) })
}

func (c *Config) candidates(in func(locks.Candidate) bool) []locks.Candidate {
	return slices.DeleteFunc(locks.All(), func(l locks.Candidate) bool {
		return !in(l) || (c.OursOnly && l.Kind != locks.Ours)
	})
}

// Run runs the parts. When ctx ends it returns ctx's error, and its processes are
// gone.
func Run(ctx context.Context, cfg Config) (_ *Report, err error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	s, err := server.Start(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Stop()) }()
	report := &Report{Host: Host{
		At: time.Now().UTC().Truncate(time.Second), Go: runtime.Version(), Cores: runtime.GOMAXPROCS(0),
		Rounds: cfg.Rounds, Slice: cfg.Slice.String(),
	}}
	if report.Host.Redis, err = s.Info(ctx, "server", "redis_version"); err != nil {
		return nil, err
	}
	for _, part := range Parts() {
		if !cfg.wants(part) {
			continue
		}
		if _, err := fmt.Fprintf(cfg.Progress, "running %s\n", part); err != nil {
			return nil, err
		}
		if err := cfg.runPart(ctx, part, s.Addr(), report); err != nil {
			return nil, fmt.Errorf("%s: %w", part, err)
		}
	}
	report.Budgets = budgets(report)
	return report, ctx.Err()
}

func (c *Config) runPart(ctx context.Context, part, addr string, report *Report) error {
	switch part {
	case "uncontended.1":
		return c.alone(ctx, addr, 1, report)
	case "uncontended.64":
		return c.alone(ctx, addr, 64, report)
	case "contended.1p":
		return c.together(ctx, addr, 1, report)
	case "contended.4p":
		return c.together(ctx, addr, 4, report)
	case "manykeys":
		return c.manyKeys(ctx, addr, report)
	default:
		return c.memory(ctx, report)
	}
}

// opened is a candidate that has been used once, so that its scripts are loaded.
type opened struct {
	locks.Candidate
	locks.Locker
	wire *wire.Counter
}

func open(ctx context.Context, c locks.Candidate, addr string) (opened, error) {
	o := opened{Candidate: c, wire: &wire.Counter{}}
	var err error
	if o.Locker, err = c.Open(ctx, locks.Env{Addr: addr, Wire: o.wire}); err != nil {
		return o, fmt.Errorf("open %s: %w", c.Name, err)
	}
	warm := []string{fmt.Sprintf("warm:%s:%d", c.Name, os.Getpid())}
	if err := o.Hold(ctx, warm, func(uint64) {}); err != nil {
		return o, errors.Join(fmt.Errorf("use %s: %w", c.Name, err), o.Locker.Close())
	}
	return o, nil
}

func openAll(ctx context.Context, list []locks.Candidate, addr string) (all []opened, closeAll func() error, err error) {
	closeAll = func() error {
		var errs []error
		for _, o := range all {
			errs = append(errs, o.Locker.Close())
		}
		return errors.Join(errs...)
	}
	for _, c := range list {
		o, err := open(ctx, c, addr)
		if err != nil {
			return nil, nil, errors.Join(err, closeAll())
		}
		all = append(all, o)
	}
	return all, closeAll, nil
}
