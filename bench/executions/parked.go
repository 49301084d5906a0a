package executions

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/lockstep-dev/lockstep/bench/measure"
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/workflow"
)

// ParkedRow is about executions that wait for one lock.
type ParkedRow struct {
	Executions int `json:"executions"`
	// MiB is what they take of the heap and of stacks, Goroutines how many they have.
	MiB        float64 `json:"mib"`
	Goroutines int     `json:"goroutines"`
	// Served is how long they took, one after the other.
	Served time.Duration `json:"served"`
}

func runParked(ctx context.Context, cfg Config, r *Report) error {
	_, _ = fmt.Fprintf(cfg.Progress, "%d executions that wait for one lock\n", cfg.Parked)
	first, let := make(chan struct{}), make(chan struct{})
	hold := steps.New("hold", func(_ *steps.Context, n int) (int, error) {
		if n == 0 {
			close(first)
			<-let
		}
		return n, nil
	})
	flow := workflow.New("guarded", func(b *workflow.Builder, in workflow.Value[int]) workflow.Value[int] {
		return workflow.Guard(b, workflow.Const(b, "prod_123"), func(b *workflow.Builder) workflow.Value[int] {
			return workflow.Do(b, hold, in)
		})
	})
	e, err := start(ctx, flow)
	if err != nil {
		return err
	}
	handles := make([]*workflow.Handle[int], cfg.Parked+1)
	begin := func(i int) error {
		handles[i], err = workflow.Start(ctx, e.Engine, flow, i)
		return err
	}
	if err := begin(0); err != nil {
		return err
	}
	<-first
	before, goroutines := memory(), runtime.NumGoroutine()
	for i := range cfg.Parked {
		if err := begin(i + 1); err != nil {
			return err
		}
	}
	row := &ParkedRow{Executions: cfg.Parked}
	row.MiB = (memory() - before) / (1 << 20)
	row.Goroutines = runtime.NumGoroutine() - goroutines
	began := time.Now()
	close(let)
	for i, h := range handles {
		if out, err := h.Wait(ctx); err != nil || out != i {
			return fmt.Errorf("execution %d came to %d, %w", i, out, err)
		}
	}
	row.Served = time.Since(began)
	r.Parked = row
	r.Budgets = append(r.Budgets,
		measure.Budget{ID: "engine.parked.MiB", Measured: row.MiB, Bound: measure.AtMost, Wants: 64},
		measure.Budget{ID: "engine.parked.goroutines", Measured: float64(row.Goroutines), Bound: measure.AtMost, Wants: 64})
	return e.stop(ctx)
}

// memory is what is in use once everything has come to rest.
func memory() float64 {
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc + m.StackInuse)
}
