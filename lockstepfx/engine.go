package lockstepfx

import (
	"context"
	"fmt"

	"go.uber.org/fx"

	"github.com/lockstep-dev/lockstep/container"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/store/storemem"
	"github.com/lockstep-dev/lockstep/workflow"
)

// engineParams is what the engine takes from the graph.
type engineParams struct {
	fx.In

	Life      fx.Lifecycle
	Log       logging
	Container *container.Container
	Store     store.Store           `optional:"true"`
	Workflows []workflow.Definition `group:"lockstep.workflows"`
	// Locks are closed after the engine has stopped, since they are made first.
	Locks *locking.Service `optional:"true"`
}

// Engine provides *workflow.Engine. What cfg leaves empty comes from the graph:
// the container, the logger, and the [store.Store], or an in-memory one when there
// is none. The workflows are those of cfg and those that [Workflows] adds.
//
// The engine starts with the application. When the application stops it drains;
// what has not ended within fx's stop timeout is interrupted, and the error names
// it.
func Engine(cfg workflow.Config) fx.Option {
	return fx.Module("lockstep.engine",
		fx.Provide(func(p engineParams) (*workflow.Engine, error) { return newEngine(cfg, p) }),
		fx.Invoke(func(*workflow.Engine) {}),
	)
}

func newEngine(cfg workflow.Config, p engineParams) (*workflow.Engine, error) {
	if cfg.Container == nil {
		cfg.Container = p.Container
	}
	if cfg.Logger == nil {
		cfg.Logger = p.Log.Logger
	}
	if cfg.Store == nil {
		cfg.Store = p.Store
	}
	if cfg.Store == nil {
		own := storemem.New()
		cfg.Store = own
		p.Life.Append(fx.StopHook(own.Close))
	}
	cfg.Workflows = append(append(workflow.Set{}, cfg.Workflows...), p.Workflows...)
	e, err := workflow.NewEngine(cfg)
	if err != nil {
		return nil, fmt.Errorf("lockstepfx: %w", err)
	}
	p.Life.Append(fx.Hook{
		OnStart: e.Start,
		OnStop:  func(ctx context.Context) error { return e.Stop(ctx) },
	})
	return e, nil
}

// Workflows adds workflows to the engine.
func Workflows(defs ...workflow.Definition) fx.Option {
	opts := make([]fx.Option, len(defs))
	for i, d := range defs {
		opts[i] = fx.Provide(fx.Annotate(func() workflow.Definition { return d }, fx.ResultTags(workflowsGroup)))
	}
	return fx.Options(opts...)
}
