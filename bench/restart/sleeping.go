package restart

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/workflow"
)

// SleepingRow is about executions that sleep for long.
type SleepingRow struct {
	Executions int `json:"executions"`
	// Inserted is how long it took to start them, and the memory is that of the process
	// which did, and of the one after it.
	Inserted time.Duration `json:"inserted"`
	// CPU is what it took of the processors: where others want them too, the time is no
	// measure.
	CPU      time.Duration `json:"cpu"`
	Memory   Memory        `json:"memory"`
	Opened   time.Duration `json:"opened"`
	Reopened Memory        `json:"reopened"`
	// Late is by how much bodies ran after their time: of executions that were started
	// when all the others slept, in the same process and in the one after it, and that were
	// started in that one.
	Late Late `json:"late"`
}

// Late has the largest of what was watched.
type Late struct {
	Same  time.Duration `json:"same"`
	After time.Duration `json:"after"`
	Fresh time.Duration `json:"fresh"`
}

// apart is the time between two that are watched.
const apart = 200 * time.Millisecond

// soon is when an execution falls due that is started to be watched, and that does not stay
// in its engine's memory until then.
func (o *order) soon() time.Duration { return o.Rest + 3*apart }

func runSleeping(ctx context.Context, cfg *Config, r *Report) error {
	row := &SleepingRow{}
	err := cfg.inFolder(func(dir string) error {
		o := cfg.order("sleep", dir, cfg.Sleeping)
		cfg.tellf("%d executions that sleep", o.Count)
		p, err := spawn(ctx, o)
		if err != nil {
			return err
		}
		if err := p.hear(row); err != nil {
			return err
		}
		cfg.tellf("inserted in %s; the process is killed, and the next one wakes some of them", row.Inserted.Round(time.Millisecond))
		if err := p.kill(); err != nil {
			return err
		}
		o.Role = "wake"
		if p, err = spawn(ctx, o); err != nil {
			return err
		}
		var woken SleepingRow
		if err := p.hear(&woken); err != nil {
			return err
		}
		row.Opened, row.Reopened = woken.Opened, woken.Memory
		row.Late.After, row.Late.Fresh = woken.Late.After, woken.Late.Fresh
		return p.finish()
	})
	if err != nil {
		return err
	}
	row.Executions = cfg.Sleeping
	r.Sleeping = row
	r.budget("sleeping.insert.s", row.Inserted.Seconds(), 60*cfg.Slack)
	r.budget("sleeping.memory.MiB", max(row.Memory.Most, row.Reopened.Most), 200*cfg.Slack)
	r.budget("sleeping.late.ms", ms(max(row.Late.Same, row.Late.After, row.Late.Fresh)), 100*cfg.Slack)
	return nil
}

// sleeper is a workflow that sleeps until its input, and then runs a step.
func sleeper(wake func(until time.Time)) *workflow.Workflow[time.Time, time.Time] {
	step := steps.New("wake", func(_ *steps.Context, until time.Time) (time.Time, error) {
		wake(until)
		return until, nil
	})
	return workflow.New("sleeper", func(b *workflow.Builder, in workflow.Value[time.Time]) workflow.Value[time.Time] {
		workflow.SleepUntil(b, in)
		return workflow.Do(b, step, in)
	})
}

// alarm hears of those that wake.
type alarm chan time.Duration

func (a alarm) wake(until time.Time) { a <- time.Since(until) }

// most returns by how much the latest of so many was late.
func (a alarm) most(ctx context.Context, o *order) (time.Duration, error) {
	var all []time.Duration
	for range o.Probes {
		select {
		case late := <-a:
			all = append(all, late)
		case <-time.After(time.Minute + 2*o.Away):
			return 0, fmt.Errorf("%d of %d have woken", len(all), o.Probes)
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	if first := slices.Min(all); first < 0 {
		return 0, fmt.Errorf("one has woken %s before its time", -first)
	}
	return slices.Max(all), nil
}

// fallAsleep is a process that starts executions which sleep.
func fallAsleep(ctx context.Context, o *order, say func(any) error) error {
	woken := make(alarm, o.Probes)
	flow := sleeper(woken.wake)
	e, err := start(ctx, o, flow)
	if err != nil {
		return err
	}
	var row SleepingRow
	began, before := time.Now(), processorTime()
	dues := make([]time.Duration, o.Count) // from an hour to a day and an hour
	order := rand.New(rand.NewPCG(1, 2))   //nolint:gosec // times to repeat, not a secret
	for i := range dues {
		dues[i] = time.Hour + time.Duration(order.Int64N(int64(24*time.Hour)))
	}
	err = inParallel(o.Callers, o.Count, func(n int) error {
		_, err := workflow.Start(ctx, e.Engine, flow, began.Add(dues[n]))
		return err
	})
	row.Inserted, row.CPU = time.Since(began), processorTime()-before
	if err != nil {
		return errors.Join(err, e.stop(ctx))
	}
	now := time.Now()
	for i := range o.Probes {
		for _, due := range []time.Time{now.Add(o.soon() + time.Duration(i)*apart), now.Add(o.Away + time.Duration(i)*apart)} {
			if _, err := workflow.Start(ctx, e.Engine, flow, due); err != nil {
				return err
			}
		}
	}
	if row.Late.Same, err = woken.most(ctx, o); err != nil {
		return err
	}
	if row.Memory, err = resident(); err != nil {
		return err
	}
	if err := say(row); err != nil {
		return err
	}
	untilKilled()
	return e.stop(ctx)
}

// wakeUp is the process after it.
func wakeUp(ctx context.Context, o *order, say func(any) error) error {
	woken := make(alarm, 2*o.Probes)
	flow := sleeper(woken.wake)
	e, err := start(ctx, o, flow)
	if err != nil {
		return err
	}
	row := SleepingRow{Opened: e.opened}
	if row.Late.After, err = woken.most(ctx, o); err != nil {
		return err
	}
	for i := range o.Probes {
		if _, err := workflow.Start(ctx, e.Engine, flow, time.Now().Add(o.soon()+time.Duration(i)*apart)); err != nil {
			return err
		}
	}
	if row.Late.Fresh, err = woken.most(ctx, o); err != nil {
		return err
	}
	if row.Memory, err = resident(); err != nil {
		return err
	}
	return errors.Join(say(row), e.stop(ctx))
}
