package durable

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/cschleiden/go-workflows/backend"
	"github.com/cschleiden/go-workflows/backend/monoprocess"
	"github.com/cschleiden/go-workflows/backend/sqlite"
	"github.com/cschleiden/go-workflows/client"
	"github.com/cschleiden/go-workflows/worker"
	"github.com/cschleiden/go-workflows/workflow"
)

const (
	goWorkflowsPollers = 2
	goWorkflowsPolling = 200 * time.Millisecond
	goWorkflowsCache   = 1024
)

// GoWorkflows is cschleiden/go-workflows on its SQLite backend.
func GoWorkflows() Contender {
	return Contender{
		Name: "go-workflows",
		Setting: fmt.Sprintf("go-workflows %s: its SQLite backend (WAL, one connection) within monoprocess, which wakes the workers at once; %d pollers of each kind, "+
			"which poll every %s when they are not woken, tasks in parallel without limit, a cache of %d workflows; results are waited for with its client, "+
			"which polls after 1 ms, and then ever more seldom; executions are kept for good",
			version("github.com/cschleiden/go-workflows"), goWorkflowsPollers, goWorkflowsPolling, goWorkflowsCache),
		Open: openGoWorkflows,
	}
}

type goWorkflows struct {
	backend io.Closer
	worker  *worker.Worker
	client  *client.Client
	cancel  context.CancelFunc
}

func openGoWorkflows(ctx context.Context, folder string, sync Sync) (Runner, error) {
	inner := sqlite.NewSqliteBackend(filepath.Join(folder, "goworkflows.db")+"?_pragma=synchronous("+string(sync)+")",
		sqlite.WithBackendOptions(backend.WithLogger(slog.New(slog.DiscardHandler))))
	b := monoprocess.NewMonoprocessBackend(inner)
	options := worker.DefaultOptions
	options.WorkflowPollers, options.ActivityPollers = goWorkflowsPollers, goWorkflowsPollers
	options.WorkflowPollingInterval, options.ActivityPollingInterval = goWorkflowsPolling, goWorkflowsPolling
	options.WorkflowExecutorCacheSize = goWorkflowsCache
	w := worker.New(b, &options)
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	err := errors.Join(w.RegisterWorkflow(goWorkflow), w.RegisterActivity(goWorkflowsAdd))
	if err == nil {
		err = w.Start(ctx)
	}
	if err != nil {
		cancel()
		return nil, errors.Join(err, inner.Close())
	}
	return &goWorkflows{inner, w, client.New(b), cancel}, nil
}

func goWorkflow(ctx workflow.Context, n int) (int, error) {
	for range Steps {
		var err error
		if n, err = workflow.ExecuteActivity[int](ctx, workflow.DefaultActivityOptions, goWorkflowsAdd, n).Get(ctx); err != nil {
			return 0, err
		}
	}
	return n, nil
}

func goWorkflowsAdd(_ context.Context, n int) (int, error) { return n + 1, nil }

func (g *goWorkflows) Run(ctx context.Context, n int) (int, error) {
	x, err := g.client.CreateWorkflowInstance(ctx, client.WorkflowInstanceOptions{InstanceID: id(n)}, goWorkflow, n)
	if err != nil {
		return 0, err
	}
	return client.GetWorkflowResult[int](ctx, g.client, x, time.Minute)
}

func (g *goWorkflows) Close(context.Context) error {
	g.cancel()
	return errors.Join(g.worker.WaitForCompletion(), g.backend.Close())
}
