package executions

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/lockstep-dev/lockstep/bench/measure"
	"github.com/lockstep-dev/lockstep/workflow"
)

// ShortRow is about executions of three steps.
type ShortRow struct {
	Callers int `json:"callers"`
	// Rate is in executions a second.
	Rate     measure.Spread `json:"rate"`
	P50, P99 time.Duration
	// CPU, Allocations and Bytes are of one execution.
	CPU                time.Duration
	Allocations, Bytes float64
}

const shortSteps = 3

func runShort(ctx context.Context, cfg Config, r *Report) error {
	flow := sequence(shortSteps)
	for _, callers := range []int{1, 64} {
		row := ShortRow{Callers: callers}
		var rates []float64
		var waits []time.Duration
		for range cfg.Rounds {
			_, _ = fmt.Fprintf(cfg.Progress, "three steps, %d callers\n", callers)
			s, err := short(ctx, flow, callers, cfg.Short/max(1, 4/callers))
			if err != nil {
				return err
			}
			rates, waits = append(rates, s.rate), append(waits, s.waits...)
			row.CPU, row.Allocations, row.Bytes = s.cpu, s.allocations, s.bytes
		}
		slices.Sort(waits)
		row.Rate, row.P50, row.P99 = measure.Over(rates), measure.Percentile(waits, 50), measure.Percentile(waits, 99)
		r.Memory = append(r.Memory, row)
		if callers > 1 {
			r.Budgets = append(r.Budgets, measure.Budget{ID: "engine.memory.3steps.64", Measured: row.Rate.Median, Bound: measure.AtLeast, Wants: 100_000})
		}
	}
	return nil
}

type slice struct {
	rate, allocations, bytes float64
	cpu                      time.Duration
	waits                    []time.Duration
}

// short has executions begun and waited for by callers side by side.
func short(ctx context.Context, flow *workflow.Workflow[int, int], callers, n int) (slice, error) {
	e, err := start(ctx, flow)
	if err != nil {
		return slice{}, err
	}
	if err := call(ctx, e, flow, callers, n/10, nil); err != nil { // warms up
		return slice{}, err
	}
	waits := make([]time.Duration, n)
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	busy, began := cpu(), time.Now()
	err = call(ctx, e, flow, callers, n, waits)
	took := time.Since(began)
	busy = cpu() - busy
	runtime.ReadMemStats(&after)
	if err != nil {
		return slice{}, err
	}
	return slice{
		cpu:         busy / time.Duration(n),
		rate:        float64(n) / took.Seconds(),
		allocations: float64(after.Mallocs-before.Mallocs) / float64(n),
		bytes:       float64(after.TotalAlloc-before.TotalAlloc) / float64(n),
		waits:       waits,
	}, e.stop(ctx)
}

// cpu is the time that this process has been on a processor.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func call(ctx context.Context, e *instance, flow *workflow.Workflow[int, int], callers, n int, waits []time.Duration) error {
	var wg sync.WaitGroup
	errs := make([]error, callers)
	for c := range callers {
		wg.Go(func() {
			for i := c; i < n; i += callers {
				began := time.Now()
				out, err := workflow.Run(ctx, e.Engine, flow, i)
				if err != nil || out != i+shortSteps {
					errs[c] = fmt.Errorf("execution %d came to %d, %w", i, out, err)
					return
				}
				if waits != nil {
					waits[i] = time.Since(began)
				}
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
