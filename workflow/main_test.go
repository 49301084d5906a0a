package workflow_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lockstep-dev/lockstep/container"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/store/storemem"
	"github.com/lockstep-dev/lockstep/workflow"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errBoom = errors.New("boom")

var quiet = slog.New(slog.DiscardHandler)

// journal is what the bodies of a test have done, in order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) addf(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, fmt.Sprintf(format, args...))
}

func (j *journal) all() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.lines)
}

func (j *journal) count(line string) (n int) {
	for _, l := range j.all() {
		if l == line {
			n++
		}
	}
	return n
}

func (j *journal) want(t *testing.T, lines ...string) {
	t.Helper()
	if got := j.all(); !slices.Equal(got, lines) {
		t.Errorf("what happened:\n\t%q\nwant:\n\t%q", got, lines)
	}
}

// text is the kind of step that most tests use.
type text = *steps.Step[string, string]

// doing is a step that appends its name to its input, and notes what it does.
func doing(j *journal, name string, opts ...steps.Option) text {
	opts = append([]steps.Option{steps.Undo(func(ctx *steps.Context, out string) error {
		j.addf("undo %s(%s) %s", name, out, ctx.Outcome())
		return nil
	})}, opts...)
	return steps.New(name, func(_ *steps.Context, in string) (string, error) {
		j.addf("do %s(%s)", name, in)
		return in + name, nil
	}, opts...)
}

// failing is a step that fails every time.
func failing(j *journal, name string, err error, opts ...steps.Option) text {
	return body(j, name, func(*steps.Context) error { return err }, opts...)
}

// body is a step whose invoke is fn.
func body(j *journal, name string, fn func(ctx *steps.Context) error, opts ...steps.Option) text {
	opts = append([]steps.Option{steps.Undo(func(ctx *steps.Context, out string) error {
		j.addf("undo %s(%s) %s", name, out, ctx.Outcome())
		return nil
	})}, opts...)
	return steps.New(name, func(ctx *steps.Context, in string) (string, error) {
		j.addf("do %s(%s)", name, in)
		if err := fn(ctx); err != nil {
			return "lost", err
		}
		return in + name, nil
	}, opts...)
}

// inTurn is a workflow of steps that hand their output on.
func inTurn(list ...text) *workflow.Workflow[string, string] {
	return workflow.New("w", func(b *workflow.Builder, in workflow.Value[string]) workflow.Value[string] {
		for _, s := range list {
			in = workflow.Do(b, s, in)
		}
		return in
	})
}

// rig is an engine with what it needs.
type rig struct {
	*workflow.Engine

	locks *locking.Service
	store *storemem.Store // nil when the test has brought its own
}

// start starts an engine that is stopped at the test's end, on a store in memory
// when the configuration names none.
func start(t *testing.T, cfg workflow.Config) *rig {
	t.Helper()
	return startWith(t, cfg, locking.Config{})
}

// startWith is start with lock providers of the test's own.
func startWith(t *testing.T, cfg workflow.Config, lockCfg locking.Config) *rig {
	t.Helper()
	ctx := t.Context()
	lockCfg.Logger = quiet
	locks, err := locking.New(ctx, lockCfg)
	if err != nil {
		t.Fatal(err)
	}
	var st *storemem.Store
	if cfg.Store == nil {
		st = storemem.New()
		cfg.Store = st
	}
	cfg.Container = container.New()
	container.MustRegister(cfg.Container, locking.ServiceKey, locks)
	cfg.Logger = quiet
	e, err := workflow.NewEngine(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := e.Stop(ctx); err != nil && !errors.Is(err, workflow.ErrInterrupted) {
			t.Error("stop:", err)
		}
		if err := locks.Close(ctx); err != nil {
			t.Error("close:", err)
		}
	})
	return &rig{e, locks, st}
}

// runs starts an engine with one workflow and runs it once, on the input "-".
func runs(t *testing.T, w *workflow.Workflow[string, string], opts ...workflow.RunOption) (*rig, string, error) {
	t.Helper()
	r := start(t, workflow.Config{Workflows: workflow.Set{w}})
	out, err := workflow.Run(t.Context(), r.Engine, w, "-", opts...)
	return r, out, err
}

// begin is workflow.Start that has to succeed.
func begin[In, Out any](t *testing.T, r *rig, w *workflow.Workflow[In, Out], in In, opts ...workflow.RunOption) *workflow.Handle[Out] {
	t.Helper()
	return beginOn(t, r.Engine, w, in, opts...)
}

// beginOn is begin on any engine.
func beginOn[In, Out any](t *testing.T, e *workflow.Engine, w *workflow.Workflow[In, Out], in In, opts ...workflow.RunOption) *workflow.Handle[Out] {
	t.Helper()
	h, err := workflow.Start(t.Context(), e, w, in, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// failure returns the execution's error, which there has to be.
func failure(t *testing.T, err error) *workflow.ExecutionError {
	t.Helper()
	x, ok := errors.AsType[*workflow.ExecutionError](err)
	if !ok {
		t.Fatalf("error %v (%T), want an ExecutionError", err, err)
	}
	return x
}

// node returns what is kept of a node of the workflow's own sequence.
func node(t *testing.T, x *store.Snapshot, i int) store.Node {
	t.Helper()
	for _, c := range x.Cells {
		if c.ID == store.NodeCell(store.Place{Node: i}) {
			n, err := store.DecodeNode(c.Data)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("nothing is kept of node %d", i)
	return store.Node{}
}
