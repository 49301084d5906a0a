// Package engine drives executions: it turns the machine's commands into calls
// of steps, writes of the store and timers, and their ends into the machine's
// events.
//
// An execution is driven by one goroutine, which alone touches its state. A
// step's body runs in another one, so that it can be left behind.
package engine

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/lockstep-dev/lockstep/container"
	"github.com/lockstep-dev/lockstep/internal/machine"
	"github.com/lockstep-dev/lockstep/internal/plan"
	"github.com/lockstep-dev/lockstep/store"
)

var (
	// ErrNotRunning means that the engine was not started, or is being stopped.
	ErrNotRunning = errors.New("workflow: engine is not running")
	// ErrInterrupted ends the contexts of what runs when an engine stops, and is
	// what those get who wait for an execution that did not come to its end.
	ErrInterrupted = errors.New("workflow: interrupted by the engine's stop")
	// ErrCancelled is the cause that ends the context of an attempt whose
	// execution is cancelled.
	ErrCancelled = errors.New("workflow: execution cancelled")
	// ErrIDConflict means that the id was used with another input or workflow.
	ErrIDConflict = errors.New("workflow: execution id in use with another input")
	// ErrNotDriven means that this engine does not drive the execution.
	ErrNotDriven = errors.New("workflow: execution is not running on this engine")
)

// Config is what an engine needs. Package workflow fills in its defaults.
type Config struct {
	Store       store.Store
	Codec       store.Codec
	Container   *container.Container
	Plans       map[string]*plan.Plan
	Logger      *slog.Logger
	LockLease   time.Duration
	CancelGrace time.Duration
	Retention   Retention
}

// Retention says how long finished executions are kept.
type Retention struct {
	Given     time.Duration // those whose id the caller gave
	Generated time.Duration // those with an id of ours, whose result nobody fetched
}

// Engine drives executions.
type Engine struct {
	cfg  Config
	info store.Info
	node string

	mu      sync.Mutex
	running bool
	runs    map[store.Key]*Run
	// interrupted has the keys of the runs that a stop left unfinished.
	interrupted []store.Key
	// creating has the keys whose creation the store has not answered yet; the
	// channel closes when the run is in runs, or is none.
	creating map[store.Key]chan struct{}
	ended    sync.WaitGroup

	stop context.CancelCauseFunc // interrupts everything
	base context.Context         //nolint:containedctx // the lifetime of what the engine runs
}

// New returns an engine. It starts nothing.
func New(cfg Config) *Engine {
	e := &Engine{
		cfg: cfg, info: cfg.Store.Describe(), node: uuid.NewString(),
		runs: make(map[store.Key]*Run), creating: make(map[store.Key]chan struct{}),
	}
	e.base, e.stop = context.WithCancelCause(context.Background())
	if cfg.Container != nil {
		e.base = container.WithContext(e.base, cfg.Container)
	}
	return e
}

// Start makes the engine take executions. An engine is started once.
func (e *Engine) Start(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.running || e.base.Err() != nil {
		return fmt.Errorf("%w: it was started before; make a new one", ErrNotRunning)
	}
	e.running = true
	return nil
}

// Stop takes no more executions, waits until those that run have ended or ctx
// has, and then interrupts the rest. It returns the keys of what was interrupted.
func (e *Engine) Stop(ctx context.Context) []store.Key {
	e.mu.Lock()
	e.running = false
	e.mu.Unlock()
	drained := make(chan struct{})
	go func() {
		e.ended.Wait()
		close(drained)
	}()
	select {
	case <-drained:
	case <-ctx.Done():
	}
	e.stop(ErrInterrupted)
	<-drained
	e.mu.Lock()
	defer e.mu.Unlock()
	slices.SortFunc(e.interrupted, compareKeys)
	return e.interrupted
}

func compareKeys(a, b store.Key) int {
	return cmp.Or(cmp.Compare(a.Workflow, b.Workflow), cmp.Compare(a.ID, b.ID))
}

// Begin creates an execution and drives it. When there is one with its key and
// input already, that one is returned; with another input it is [ErrIDConflict].
// An empty id asks for a generated one.
func (e *Engine) Begin(ctx context.Context, p *plan.Plan, id string, input []byte) (*Run, error) {
	generated := id == ""
	if generated {
		u, err := uuid.NewV7()
		if err != nil {
			return nil, fmt.Errorf("workflow: generate an execution id: %w", err)
		}
		id = u.String()
	}
	r, err := e.admit(p, store.Key{Workflow: p.Name, ID: id})
	if err != nil {
		return nil, err
	}
	if err := r.create(ctx, input, generated); err != nil {
		r.abandon(err)
		return nil, err
	}
	return r, nil
}

// admit registers a run, so that a stop waits for it.
func (e *Engine) admit(p *plan.Plan, key store.Key) (*Run, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.running {
		return nil, ErrNotRunning
	}
	e.ended.Add(1)
	return newRun(e, p, key), nil
}

// create writes the execution with all that follows from its beginning, and
// claims it in the same write.
func (r *Run) create(ctx context.Context, input []byte, generated bool) error {
	now := time.Now()
	x := &store.Execution{
		Key: r.key, RunUID: uuid.NewString(), Fingerprint: r.plan.Fingerprint,
		Codec: r.e.cfg.Codec.Name(), Input: input, InputHash: r.e.hash(input),
		Generated: generated, CreatedAt: now,
		Fence: store.Fence{Owner: r.e.node, Epoch: 1, Revision: 1},
		Head:  store.Head{State: store.NotStarted},
		Nodes: make([]store.Node, len(r.plan.Nodes)),
	}
	for i := range x.Nodes {
		x.Nodes[i].Invoke.State, x.Nodes[i].Compensate.State = store.StepNotStarted, store.StepDormant
	}
	r.x = x
	created, err := r.e.alone(ctx, r.key)
	if err != nil {
		return fmt.Errorf("workflow: create %s: %w", r.key, err)
	}
	defer created()
	if !generated {
		// What is recorded is not decided again: look before deciding.
		existing, err := r.e.cfg.Store.Load(ctx, r.key)
		if err == nil {
			return r.join(existing)
		}
		if !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("workflow: create %s: %w", r.key, err)
		}
	}
	_, commands, err := r.decide(machine.Begun{}, now)
	if err != nil {
		return err
	}
	existing, err := r.e.cfg.Store.Create(ctx, x)
	if err != nil {
		return fmt.Errorf("workflow: create %s: %w", r.key, err)
	}
	if existing != nil {
		return r.join(existing)
	}
	r.e.mu.Lock()
	r.e.runs[r.key] = r
	r.e.mu.Unlock()
	go r.drive(commands)
	return nil
}

// alone waits until nobody else of this engine creates the execution: whoever
// finds it in the store then finds its run too. The answer ends the turn.
func (e *Engine) alone(ctx context.Context, key store.Key) (end func(), err error) {
	for {
		e.mu.Lock()
		other, taken := e.creating[key]
		if !taken {
			mine := make(chan struct{})
			e.creating[key] = mine
			e.mu.Unlock()
			return func() {
				e.mu.Lock()
				delete(e.creating, key)
				e.mu.Unlock()
				close(mine)
			}, nil
		}
		e.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// join makes the run stand for an execution that exists.
func (r *Run) join(existing *store.Execution) error {
	if !hmac.Equal(existing.InputHash, r.x.InputHash) || existing.Codec != r.x.Codec {
		return fmt.Errorf("%w: %s", ErrIDConflict, r.key)
	}
	if existing.State.Finished() {
		r.x, r.errs = existing, nil
		r.end(nil)
		return nil
	}
	r.e.mu.Lock()
	first := r.e.runs[r.key]
	r.e.mu.Unlock()
	if first == nil {
		// It ended between the two look-ups, or nobody drives it.
		again, err := r.e.cfg.Store.Load(context.WithoutCancel(r.e.base), r.key)
		if err != nil || !again.State.Finished() {
			return fmt.Errorf("%w: %s", ErrNotDriven, r.key)
		}
		r.x, r.errs = again, nil
		r.end(nil)
		return nil
	}
	r.first = first
	r.end(nil)
	return nil
}

// hash is what tells inputs apart without keeping their text.
func (e *Engine) hash(input []byte) []byte {
	h := hmac.New(sha256.New, []byte(e.info.ID))
	h.Write([]byte(e.cfg.Codec.Name() + "\x00"))
	h.Write(input)
	return h.Sum(nil)
}

// Find returns the run of an execution that this engine drives, or nil.
func (e *Engine) Find(key store.Key) *Run {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.runs[key]
}

// Load returns what is kept of an execution.
func (e *Engine) Load(ctx context.Context, key store.Key) (*store.Execution, error) {
	return e.cfg.Store.Load(ctx, key)
}

// Forget lets a finished execution with a generated id go, once its result has
// been handed over. When that fails it goes with its retention.
func (e *Engine) Forget(ctx context.Context, x *store.Execution) {
	if !x.Generated || x.State == store.Failed {
		return
	}
	if err := e.cfg.Store.Forget(ctx, x.Key); err != nil && !errors.Is(err, store.ErrClosed) {
		e.cfg.Logger.Warn("workflow: could not let a finished execution go; it goes with its retention", "execution", x.String(), "error", err)
	}
}

// Plan returns the plan that the engine runs under the name.
func (e *Engine) Plan(name string) *plan.Plan { return e.cfg.Plans[name] }
