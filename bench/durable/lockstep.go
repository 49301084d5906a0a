package durable

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store/storesqlite"
	"github.com/lockstep-dev/lockstep/workflow"
)

// Lockstep is this library's engine as it is by default: an execution with a generated id
// is deleted once its result was fetched.
func Lockstep() Contender {
	return Contender{
		Name: NameLockstep,
		Setting: "storesqlite and the engine by default; generated ids: an execution is deleted once its result was fetched, in a write of its own, the fifth; " +
			"each write but that is of one row of 200 to 300 bytes with its cells, and the first and the last two change indexes, too, two or three entries each",
		Open: openLockstep(false),
	}
}

// LockstepKept is the same with ids of the caller's, whose executions are kept.
func LockstepKept() Contender {
	return Contender{
		Name:    "lockstep-kept",
		Setting: "the same with ids of the caller's: executions are kept for 24 h, as by default, and none is deleted in the run; four writes",
		Open:    openLockstep(true),
	}
}

type lockstep struct {
	store  *storesqlite.Store
	engine *workflow.Engine
	flow   *workflow.Workflow[int, int]
	kept   bool
}

func openLockstep(kept bool) func(ctx context.Context, folder string, sync Sync) (Runner, error) {
	return func(ctx context.Context, folder string, sync Sync) (Runner, error) {
		cfg := storesqlite.Config{Sync: storesqlite.Full}
		if sync == Normal {
			cfg.Sync = storesqlite.Relaxed
		}
		add := func(_ *steps.Context, n int) (int, error) { return n + 1, nil }
		flow := workflow.New("three-steps", func(b *workflow.Builder, in workflow.Value[int]) workflow.Value[int] {
			for i := range Steps {
				in = workflow.Do(b, steps.New(fmt.Sprint("step ", i), add), in)
			}
			return in
		})
		s, err := storesqlite.Open(filepath.Join(folder, "lockstep.db"), cfg)
		if err != nil {
			return nil, err
		}
		e, err := workflow.NewEngine(workflow.Config{Store: s, Workflows: workflow.Set{flow}, Logger: slog.New(slog.DiscardHandler)})
		if err == nil {
			err = e.Start(ctx)
		}
		if err != nil {
			return nil, errors.Join(err, s.Close(ctx))
		}
		return &lockstep{s, e, flow, kept}, nil
	}
}

func (l *lockstep) Run(ctx context.Context, n int) (int, error) {
	if l.kept {
		return workflow.Run(ctx, l.engine, l.flow, n, workflow.WithExecutionID(id(n)))
	}
	return workflow.Run(ctx, l.engine, l.flow, n)
}

func (l *lockstep) Close(ctx context.Context) error {
	return errors.Join(l.engine.Stop(ctx), l.store.Close(ctx))
}

// id is the id of the execution on n, as long as those that are generated.
func id(n int) string { return fmt.Sprintf("01a22349-822b-7412-93ef-%012d", n) }
