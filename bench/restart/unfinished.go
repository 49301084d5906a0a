package restart

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/workflow"
)

// UnfinishedRow is about a process that goes on with what the one before has left.
type UnfinishedRow struct {
	// Left says how the one before has ended.
	Left       string `json:"left"`
	Executions int    `json:"executions"`
	// Opened and First are since the process was started: the store is open, the first
	// body runs. All is when all have ended.
	Opened time.Duration `json:"opened"`
	First  time.Duration `json:"first"`
	All    time.Duration `json:"all"`
	// AtWork is how many bodies ran at once, at most.
	AtWork int    `json:"at_work"`
	Memory Memory `json:"memory"`
}

// ending is how a process leaves its executions behind.
type ending struct {
	name string
	// kill has it end with SIGKILL. Each attempt may have been what has killed it then, and
	// they are made one at a time. Else its engine is stopped, and they are made side by
	// side.
	kill bool
}

var killed, stopped = ending{"killed", true}, ending{"stopped", false}

func (how ending) run(ctx context.Context, cfg *Config, r *Report) error {
	var last UnfinishedRow
	counts := cfg.Stopped
	if how.kill {
		counts = cfg.Killed
	}
	for _, count := range counts {
		row, err := how.measure(ctx, cfg, count)
		if err != nil {
			return err
		}
		r.Unfinished, last = append(r.Unfinished, row), row
	}
	r.budget(how.name+".first.ms", ms(last.First), 1000*cfg.Slack)
	r.budget(how.name+".memory.MiB", last.Memory.Most, 200*cfg.Slack)
	most := float64(cfg.AtWork)
	if how.kill {
		most = 1
	}
	r.budget(how.name+".at-work", float64(last.AtWork), most)
	return nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func (how ending) measure(ctx context.Context, cfg *Config, count int) (row UnfinishedRow, err error) {
	return row, cfg.inFolder(func(dir string) error {
		o := cfg.order("leave", dir, count)
		cfg.tellf("%d executions, unfinished when their process is %s", count, how.name)
		p, err := spawn(ctx, o)
		if err != nil {
			return err
		}
		var left int
		if err := p.hear(&left); err != nil {
			return err
		}
		if how.kill {
			err = p.kill()
		} else {
			err = p.finish()
		}
		if err != nil {
			return err
		}
		o.Role = "resume"
		if !how.kill {
			o.Takes = cfg.Takes
		}
		if p, err = spawn(ctx, o); err != nil {
			return err
		}
		if err := p.hear(&row); err != nil {
			return err
		}
		row.Left, row.Executions = how.name, count
		return p.finish()
	})
}

// twoSteps is a workflow whose first step does nothing, and whose second one is as given.
func twoSteps(second func(ctx *steps.Context, n int) (int, error)) *workflow.Workflow[int, int] {
	first := steps.New("first", func(_ *steps.Context, n int) (int, error) { return n, nil })
	return workflow.New("of two steps", func(b *workflow.Builder, in workflow.Value[int]) workflow.Value[int] {
		return workflow.Do(b, steps.New("second", second), workflow.Do(b, first, in))
	})
}

// leave is a process that ends when all of its executions are in their second step.
func leave(ctx context.Context, o *order, say func(any) error) error {
	var there atomic.Int64
	all := make(chan struct{})
	flow := twoSteps(func(ctx *steps.Context, n int) (int, error) {
		if there.Add(1) == int64(o.Count) {
			close(all)
		}
		<-ctx.Done()
		return n, ctx.Err()
	})
	e, err := start(ctx, o, flow)
	if err != nil {
		return err
	}
	err = inParallel(o.Callers, o.Count, func(n int) error {
		_, err := workflow.Start(ctx, e.Engine, flow, n)
		return err
	})
	if err != nil {
		return errors.Join(err, e.stop(ctx))
	}
	select {
	case <-all:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := say(there.Load()); err != nil {
		return err
	}
	untilKilled()
	return e.stop(ctx)
}

// resume is a process that goes on with them.
func resume(ctx context.Context, o *order, say func(any) error) error {
	var row UnfinishedRow
	var mu sync.Mutex
	left, inside := o.Count, 0
	ran := make([]int, o.Count)
	all := make(chan struct{})
	flow := twoSteps(func(_ *steps.Context, n int) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		if left == o.Count && inside == 0 {
			row.First = o.since()
		}
		inside++
		row.AtWork = max(row.AtWork, inside)
		if o.Takes > 0 {
			mu.Unlock()
			time.Sleep(o.Takes) // it is a body that takes a while
			mu.Lock()
		}
		inside--
		ran[n]++
		if left--; left == 0 {
			close(all)
		}
		return n, nil
	})
	e, err := start(ctx, o, flow)
	if err != nil {
		return err
	}
	row.Opened = e.opened
	select {
	case <-all:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := e.Stop(ctx); err != nil { // it waits for the last ones to be recorded
		return err
	}
	row.All = o.since()
	if row.Memory, err = resident(); err != nil {
		return err
	}
	for n, times := range ran {
		if times != 1 {
			return fmt.Errorf("the second step of execution %d was made %d times after the restart", n, times)
		}
	}
	if err := e.ended(ctx, o.Count); err != nil {
		return err
	}
	return errors.Join(say(row), e.stop(ctx))
}

// ended says whether all executions have come to their end.
func (i *instance) ended(ctx context.Context, count int) error {
	q := store.Query{States: []store.ExecutionState{store.Done}, Limit: 1000}
	for {
		page, err := i.store.List(ctx, q)
		if err != nil {
			return err
		}
		count -= len(page.Executions)
		if q.Cursor = page.Next; q.Cursor == "" {
			break
		}
	}
	if count != 0 {
		return fmt.Errorf("%d executions are not done", count)
	}
	return nil
}

// inParallel calls a function for each number, by so many callers.
func inParallel(callers, count int, do func(n int) error) error {
	var next atomic.Int64
	errs := make([]error, callers)
	var all sync.WaitGroup
	for c := range callers {
		all.Go(func() {
			for {
				n := int(next.Add(1)) - 1
				if n >= count {
					return
				}
				if errs[c] = do(n); errs[c] != nil {
					next.Store(int64(count))
					return
				}
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}
