package executions

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/lockstep-dev/lockstep/bench/durable"
	"github.com/lockstep-dev/lockstep/bench/measure"
)

// SQLiteRow is about workflows of three steps on a SQLite file.
type SQLiteRow struct {
	Name    string       `json:"name"`
	Sync    durable.Sync `json:"synchronous"`
	Callers int          `json:"callers"`
	// Rate is in workflows a second, ToFloor what it is to that of the floor with the
	// same synchronous and as many callers.
	Rate     measure.Spread `json:"rate"`
	ToFloor  measure.Spread `json:"toFloor"`
	P50, P99 time.Duration
	// CPU, Allocations and Bytes are of one workflow.
	CPU                time.Duration
	Allocations, Bytes float64
}

// Setting says how a contender was configured.
type Setting struct {
	Name string `json:"name"`
	Text string `json:"setting"`
}

const manyCallers = 64

var sqliteCallers = []int{1, manyCallers}

// candidate is one row, and what its rounds have given.
type candidate struct {
	durable.Contender

	sync    durable.Sync
	callers int
	slices  []slice
}

func (c *candidate) rates() []float64 {
	var rates []float64
	for _, s := range c.slices {
		rates = append(rates, s.rate)
	}
	return rates
}

func runSQLite(ctx context.Context, cfg Config, r *Report) error {
	contenders, err := chosen(cfg.Contenders)
	if err != nil {
		return err
	}
	var all []*candidate
	for _, sync := range durable.Syncs() {
		for _, callers := range sqliteCallers {
			for _, c := range contenders {
				all = append(all, &candidate{Contender: c, sync: sync, callers: callers})
			}
		}
	}
	err = measure.Interleave(cfg.Rounds, len(all), func(_, i int) error {
		c := all[i]
		_, _ = fmt.Fprintf(cfg.Progress, "three steps on SQLite, %s, %s, %d callers\n", c.Name, c.sync, c.callers)
		s, err := c.slice(ctx, cfg)
		if err != nil {
			return fmt.Errorf("%s, %s, %d callers: %w", c.Name, c.sync, c.callers, err)
		}
		c.slices = append(c.slices, s)
		return nil
	})
	if err != nil {
		return err
	}
	for _, c := range all {
		r.SQLite = append(r.SQLite, c.row(find(all, durable.NameFloor, c.sync, c.callers).rates()))
	}
	for _, c := range contenders {
		r.SQLiteSettings = append(r.SQLiteSettings, Setting{c.Name, c.Setting})
	}
	r.Budgets = append(r.Budgets, sqliteBudgets(all)...)
	return nil
}

// chosen are the contenders with these names; none is all.
func chosen(names []string) ([]durable.Contender, error) {
	all := durable.Contenders()
	if len(names) == 0 {
		return all, nil
	}
	var list []durable.Contender
	for _, name := range names {
		i := slices.IndexFunc(all, func(c durable.Contender) bool { return c.Name == name })
		if i < 0 {
			var there []string
			for _, c := range all {
				there = append(there, c.Name)
			}
			return nil, fmt.Errorf("there is no contender %q; there are %s", name, strings.Join(there, ", "))
		}
		list = append(list, all[i])
	}
	return list, nil
}

// find returns a candidate, without rounds when it was not chosen.
func find(all []*candidate, name string, sync durable.Sync, callers int) *candidate {
	for _, c := range all {
		if c.Name == name && c.sync == sync && c.callers == callers {
			return c
		}
	}
	return &candidate{}
}

func (c *candidate) row(floor []float64) SQLiteRow {
	row := SQLiteRow{
		Name: c.Name, Sync: c.sync, Callers: c.callers,
		Rate: measure.Over(c.rates()), ToFloor: measure.Over(measure.Ratios(c.rates(), floor)),
	}
	var waits []time.Duration
	var cpus, allocations, bytes []float64
	for _, s := range c.slices {
		waits = append(waits, s.waits...)
		cpus, allocations, bytes = append(cpus, float64(s.cpu)), append(allocations, s.allocations), append(bytes, s.bytes)
	}
	slices.Sort(waits)
	row.P50, row.P99 = measure.Percentile(waits, 50), measure.Percentile(waits, 99)
	row.CPU, row.Allocations, row.Bytes = time.Duration(measure.Over(cpus).Median), measure.Over(allocations).Median, measure.Over(bytes).Median
	return row
}

// sqliteBudgets are those of the engine by default at 64 callers, beside what was measured
// with it.
func sqliteBudgets(all []*candidate) []measure.Budget {
	var budgets []measure.Budget
	for _, sync := range durable.Syncs() {
		ours := find(all, durable.NameLockstep, sync, manyCallers).rates()
		budget := func(than string, rates []float64, wants float64) {
			if ratios := measure.Ratios(ours, rates); len(ratios) > 0 {
				budgets = append(budgets, measure.Budget{
					ID:       fmt.Sprintf("engine.sqlite.%s.%s", strings.ToLower(string(sync)), than),
					Measured: measure.Over(ratios).Median, Bound: measure.AtLeast, Wants: wants,
				})
			}
		}
		if sync == durable.Full {
			budget("floor", find(all, durable.NameFloor, sync, manyCallers).rates(), 0.6)
		}
		budget("dbos", best(find(all, durable.NameDBOS, sync, 1).rates(), find(all, durable.NameDBOS, sync, manyCallers).rates()), 5)
	}
	return budgets
}

// best takes of two the better in each round: a peer is compared at that number of callers
// at which it is faster.
func best(a, b []float64) []float64 {
	var rates []float64
	for i := range min(len(a), len(b)) {
		rates = append(rates, max(a[i], b[i]))
	}
	return rates
}

// slice has workflows begun and waited for by callers side by side, in a new file, for as
// long as a slice is. What is counted is what ends in a window in which all callers are
// at work all the time.
func (c *candidate) slice(ctx context.Context, cfg Config) (s slice, err error) {
	folder, err := os.MkdirTemp(cfg.Folder, "lockstep-bench-")
	if err != nil {
		return slice{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	runner, err := c.Open(ctx, folder, c.sync)
	if err != nil {
		return slice{}, err
	}
	defer func() { err = errors.Join(err, runner.Close(context.WithoutCancel(ctx))) }()
	crowd := newCrowd(ctx, runner, c.callers)
	crowd.until(cfg.Window/5, cfg.Least) // warms up
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	busy, began, first := cpu(), time.Now(), crowd.count()
	crowd.until(cfg.Window, first+cfg.Least)
	waits, took := crowd.counted(), time.Since(began)
	busy = cpu() - busy
	runtime.ReadMemStats(&after)
	if err := crowd.stop(); err != nil {
		return slice{}, err
	}
	n := float64(len(waits))
	return slice{
		rate: n / took.Seconds(), cpu: time.Duration(float64(busy) / n), waits: waits,
		allocations: float64(after.Mallocs-before.Mallocs) / n, bytes: float64(after.TotalAlloc-before.TotalAlloc) / n,
	}, nil
}
