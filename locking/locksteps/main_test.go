package locksteps_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lockstep-dev/lockstep/container"
	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockmem"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
	"github.com/lockstep-dev/lockstep/locking/locksteps"
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/store/storemem"
	"github.com/lockstep-dev/lockstep/workflow"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errBoom = errors.New("boom")

// patience bounds every wait for something that has to come.
const patience = 20 * time.Second

// rig is a lock service, and an engine once start was called.
type rig struct {
	*testing.T

	locks  *locking.Service
	engine *workflow.Engine
}

// onEach checks a rule with locks in memory and with locks on Redis.
func onEach(t *testing.T, rule func(r *rig)) {
	t.Helper()
	t.Run("memory", func(t *testing.T) {
		rule(newRig(t, lockmem.New(lockmem.Config{})))
	})
	t.Run("redis", func(t *testing.T) {
		rule(newRig(t, lockredis.New(lockredis.Config{RedisURL: redistest.Start(t).URL()})))
	})
}

func newRig(t *testing.T, provider driver.Provider) *rig {
	t.Helper()
	locks, err := locking.New(t.Context(), locking.Config{
		Logger:    slog.New(slog.DiscardHandler),
		Providers: []locking.Registration{{ID: "main", IsDefault: true, Provider: provider}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := locks.Close(context.Background()); err != nil {
			t.Error("close:", err)
		}
	})
	return &rig{T: t, locks: locks}
}

// start starts the engine.
func (r *rig) start(workflows ...workflow.Definition) {
	r.Helper()
	c := container.New()
	container.MustRegister(c, locking.ServiceKey, r.locks)
	r.startWith(workflow.Config{Container: c, Workflows: workflows})
}

func (r *rig) startWith(cfg workflow.Config) {
	r.Helper()
	cfg.Store, cfg.Logger = storemem.New(), slog.New(slog.DiscardHandler)
	var err error
	if r.engine, err = workflow.NewEngine(cfg); err != nil {
		r.Fatal(err)
	}
	if err := r.engine.Start(r.Context()); err != nil {
		r.Fatal(err)
	}
	e := r.engine
	r.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := e.Stop(ctx); err != nil {
			r.Error("stop:", err)
		}
	})
}

// flow is the kind of workflow that the tests use.
type flow = *workflow.Workflow[string, string]

// begin starts an execution.
func (r *rig) begin(w flow) *workflow.Handle[string] {
	r.Helper()
	h, err := workflow.Start(r.Context(), r.engine, w, "-")
	if err != nil {
		r.Fatal(err)
	}
	return h
}

// end waits for the end of an execution.
func (r *rig) end(h *workflow.Handle[string]) error {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	_, err := h.Wait(ctx)
	if ctx.Err() != nil {
		r.Fatalf("the execution has not ended within %s", patience)
	}
	return err
}

// run starts the engine with one workflow and runs it once.
func (r *rig) run(parts ...part) error {
	r.Helper()
	w := inTurn("w", parts...)
	r.start(w)
	return r.end(r.begin(w))
}

// await waits for a signal of a step.
func (r *rig) await(what string, ch <-chan struct{}) {
	r.Helper()
	select {
	case <-ch:
	case <-time.After(patience):
		r.Fatalf("not within %s: %s", patience, what)
	}
}

// want expects an error that matches, or none where target is nil; of an execution,
// that all its compensations succeeded.
func (r *rig) want(err, target error) {
	r.Helper()
	x, ok := errors.AsType[*workflow.ExecutionError](err)
	if !errors.Is(err, target) || (ok && x.State != store.Reverted) {
		r.Errorf("got error %v, want %v", err, target)
	}
}

// wantFailed expects that a compensation failed.
func (r *rig) wantFailed(err, target error) {
	r.Helper()
	x, ok := errors.AsType[*workflow.ExecutionError](err)
	if !errors.Is(err, target) || !ok || x.State != store.Failed {
		r.Errorf("got error %v, want %v and a compensation that failed", err, target)
	}
}

// free tells whether anybody could have the key.
func (r *rig) free(key string) bool {
	r.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	lock, err := r.locks.TryAcquire(ctx, locking.Keys(key), locking.WithOwner("probe"))
	if err != nil {
		r.want(err, locking.ErrNotAcquired)
		return false
	}
	if err := lock.Release(ctx); err != nil {
		r.Error("probe:", err)
	}
	return true
}

func (r *rig) wantFree(when, key string) {
	r.Helper()
	if !r.free(key) {
		r.Errorf("%s, %q is held", when, key)
	}
}

func (r *rig) wantHeld(when, key string) {
	r.Helper()
	if r.free(key) {
		r.Errorf("%s, %q is free", when, key)
	}
}

// outsider takes a key outside all executions.
func (r *rig) outsider(key string) *locking.Lock {
	r.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	lock, err := r.locks.Acquire(ctx, locking.Keys(key), locking.WithOwner("outsider"), locking.Wait(patience))
	if err != nil {
		r.Errorf("the outsider did not get %q: %v", key, err)
	}
	return lock
}

// part is a piece of a workflow.
type part func(b *workflow.Builder)

func inTurn(name string, parts ...part) flow {
	return workflow.New(name, func(b *workflow.Builder, in workflow.Value[string]) workflow.Value[string] {
		for _, p := range parts {
			p(b)
		}
		return in
	})
}

// acquire takes "k".
func acquire(opts ...steps.Option) part {
	return acquireWith(locksteps.AcquireInput{Keys: locking.Keys("k")}, opts...)
}

func acquireWith(in locksteps.AcquireInput, opts ...steps.Option) part {
	return acquireInto(nil, in, opts...)
}

// acquireInto also tells the step's output.
func acquireInto(out *locksteps.Acquired, in locksteps.AcquireInput, opts ...steps.Option) part {
	return ready(steps.With(locksteps.Acquire, opts...), in, out)
}

// release gives "k" back.
func release(opts ...steps.Option) part {
	return releaseInto(nil, locksteps.ReleaseInput{Keys: locking.Keys("k")}, opts...)
}

func releaseInto(out *bool, in locksteps.ReleaseInput, opts ...steps.Option) part {
	return ready(steps.With(locksteps.Release, opts...), in, out)
}

// ready is one of the ready-made steps, and another one that tells its output.
func ready[In, Out any](step *steps.Step[In, Out], in In, out *Out) part {
	return func(b *workflow.Builder) {
		v := workflow.Do(b, step, workflow.Const(b, in))
		if out == nil {
			return
		}
		workflow.Do(b, steps.New("tell-"+step.Name(), func(_ *steps.Context, v Out) (struct{}, error) {
			*out = v
			return struct{}{}, nil
		}), v)
	}
}

// do is a step that calls fn.
func do(name string, fn func(ctx *steps.Context) error, opts ...steps.Option) part {
	return func(b *workflow.Builder) {
		workflow.Do(b, steps.New(name, func(ctx *steps.Context, _ struct{}) (struct{}, error) {
			return struct{}{}, fn(ctx)
		}, opts...), workflow.Const(b, struct{}{}))
	}
}

// see is a step that looks at something, and cannot fail.
func see(name string, fn func()) part {
	return do(name, func(*steps.Context) error { fn(); return nil })
}

// fail is a step that fails.
func fail() part { return do("fail", func(*steps.Context) error { return errBoom }) }

// undoing is a step that looks at something when it is undone.
func undoing(name string, fn func()) part {
	return do(name, func(*steps.Context) error { return nil }, steps.Undo(func(*steps.Context, struct{}) error { fn(); return nil }))
}

// journal is what has happened, in order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
}

func (j *journal) want(t *testing.T, lines ...string) {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	if !slices.Equal(j.lines, lines) {
		t.Errorf("what happened: %q, want %q", j.lines, lines)
	}
}
