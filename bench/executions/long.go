package executions

import (
	"context"
	"fmt"
	"time"

	"github.com/lockstep-dev/lockstep/bench/measure"
	"github.com/lockstep-dev/lockstep/workflow"
)

// LongRow is about executions of many steps in turn.
type LongRow struct {
	Steps int `json:"steps"`
	// Cost is of a step, in nanoseconds, ToTen what that is to the cost of a step where
	// there are ten.
	Cost  measure.Spread `json:"cost"`
	ToTen measure.Spread `json:"toTen"`
}

var lengths = []int{10, 100, 1_000, 10_000}

func runLong(ctx context.Context, cfg Config, r *Report) error {
	flows := make([]*workflow.Workflow[int, int], len(lengths))
	for i, n := range lengths {
		flows[i] = sequence(n)
	}
	costs := make([][]float64, len(lengths))
	err := measure.Interleave(cfg.Rounds, len(lengths), func(_, i int) error {
		_, _ = fmt.Fprintf(cfg.Progress, "%d steps in turn\n", lengths[i])
		cost, err := long(ctx, flows[i], lengths[i], max(1, cfg.Steps/lengths[i]))
		costs[i] = append(costs[i], cost)
		return err
	})
	if err != nil {
		return err
	}
	for i, n := range lengths {
		row := LongRow{Steps: n, Cost: measure.Over(costs[i]), ToTen: measure.Over(measure.Ratios(costs[i], costs[0]))}
		r.Long = append(r.Long, row)
		if i > 0 {
			r.Budgets = append(r.Budgets, measure.Budget{
				ID: fmt.Sprintf("engine.cost.%d", n), Measured: row.ToTen.Median, Bound: measure.AtMost, Wants: 1.2,
			})
		}
	}
	return nil
}

// long returns the cost of a step, in nanoseconds. What an execution costs by itself is
// in it: it weighs most where there are few steps.
func long(ctx context.Context, flow *workflow.Workflow[int, int], n, times int) (float64, error) {
	e, err := start(ctx, flow)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	for range times {
		out, err := workflow.Run(ctx, e.Engine, flow, 0)
		if err != nil || out != n {
			return 0, fmt.Errorf("%d steps came to %d, %w", n, out, err)
		}
	}
	return float64(time.Since(began)) / float64(n*times), e.stop(ctx)
}
