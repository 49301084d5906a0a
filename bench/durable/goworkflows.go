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

// GoWorkflows is cschleiden/go-workflows on its SQLite backend.
func GoWorkflows() Contender {
	d := worker.DefaultOptions
	return Contender{
		Name: "go-workflows",
		Setting: fmt.Sprintf("go-workflows %s: its SQLite backend (WAL, one connection), told synchronous in the name of the file, within monoprocess, which wakes the workers "+
			"at once; else as by default: %d pollers for workflows, %d for activities, which poll every %s and %s when they are not woken, tasks side by side without limit, "+
			"a cache of %d workflows (other numbers were no faster); its client waits for results by asking after 1 ms, and then ever more seldom, up to 1 s; executions are kept for good",
			version("github.com/cschleiden/go-workflows"), d.WorkflowPollers, d.ActivityPollers, d.WorkflowPollingInterval, d.ActivityPollingInterval, d.WorkflowExecutorCacheSize),
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
	inner := sqlite.NewSqliteBackend(goWorkflowsFile(folder, sync), sqlite.WithBackendOptions(backend.WithLogger(slog.New(slog.DiscardHandler))))
	b := monoprocess.NewMonoprocessBackend(inner)
	options := worker.DefaultOptions
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

// goWorkflowsFile is the file, as its backend hands it on to the driver.
func goWorkflowsFile(folder string, sync Sync) string {
	return filepath.Join(folder, "goworkflows.db") + "?_pragma=synchronous(" + string(sync) + ")"
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
