// Package engine drives executions: it turns the machine's commands into calls
// of steps, writes of the store and timers, and their ends into the machine's
// events.
//
// What happens to an execution is put into its run's mail, and handled by one
// goroutine at a time. A run at which nothing happens has no goroutine; a step's body
// runs in the goroutine that has handled what led to it, which lets others handle what
// comes meanwhile, so that a body can be cancelled and left behind.
package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/lockstep-dev/lockstep/container"
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
	// ErrTurned is the cause that ends the context of an attempt beside which another
	// one has failed.
	ErrTurned = errors.New("workflow: another branch of the execution has failed")
	// ErrDeadline is the cause that ends the context of an attempt whose execution did
	// not end by its deadline.
	ErrDeadline = errors.New("workflow: the execution did not end by its deadline")
	// ErrIDConflict means that the id was used with another input or workflow.
	ErrIDConflict = errors.New("workflow: execution id in use with another input")
	// ErrLostLease is the cause that ends contexts when the engine's lease has run out:
	// another instance may go on with its executions.
	ErrLostLease = errors.New("workflow: the engine has lost its lease")
)

// Config is what an engine needs. Package workflow fills in its defaults.
type Config struct {
	Store       store.Store
	Codec       store.Codec
	Container   *container.Container
	Plans       map[string]*plan.Plan
	Logger      *slog.Logger
	Node        string
	Lease       time.Duration
	LockLease   time.Duration
	CancelGrace time.Duration
	// RestAfter is how long an execution stays here at which nothing happens; zero is
	// for as long as it is this engine's.
	RestAfter time.Duration
	// MaxClaimed bounds how many executions are at work here that were claimed; zero is
	// without a bound.
	MaxClaimed int
	Retention  Retention
	Keeper     Keeper // nil: the engine runs no guards
	// Queues are those that it serves.
	Queues []Queue
}

// Retention says how long finished executions are kept.
type Retention struct {
	Given     time.Duration // those whose id the caller gave
	Generated time.Duration // those with an id of ours, whose result nobody fetched
	// MostGenerated bounds how many of those are kept.
	MostGenerated int
}

// Engine drives executions.
type Engine struct {
	cfg       Config
	info      store.Info
	me        store.Instance
	timers    *timers
	workers   workers
	turns     turns
	macs      sync.Pool
	ids       ids
	hashed    []byte // before each input: the name of the codec
	waits     waiters
	tickets   tickets
	senders   senders
	atWork    atWork
	unfetched unfetched
	deafen    func()             // ends what the keeper tells
	servers   map[string]*server // of queues, by name

	mu      sync.Mutex
	started bool
	running bool
	leased  bool // the lease is to be given back
	lost    bool // its lease
	stopped bool
	serving bool           // queues
	made    sync.WaitGroup // attempts of queues
	runs    map[store.Key]*Run
	// interrupted has the keys of the runs that a stop left unfinished.
	interrupted []store.Key
	// creating has the keys whose creation the store has not answered yet; the
	// channel closes when the run is in runs, or is none.
	creating map[store.Key]chan struct{}
	// doubts are executions that may be this engine's, and that nothing here drives,
	// with the time since when.
	doubts  map[store.Key]time.Time
	ended   sync.WaitGroup // runs
	helpers sync.WaitGroup // the engine's own goroutines
	claims  chan struct{}  // something may be claimed
	claimID uint64         // of the next claim; the claiming goroutine's
	// succeeds says that nobody else of this node is alive.
	succeeds bool

	stop context.CancelCauseFunc // interrupts everything
	base context.Context         //nolint:containedctx // the lifetime of what the engine runs
	past context.Context         //nolint:containedctx // base without its end
	// life is that of the engine's own goroutines: it ends after base.
	life context.Context //nolint:containedctx // as its comment says
	die  context.CancelFunc
}

// New returns an engine. It starts nothing.
func New(cfg Config) *Engine {
	named := cfg.Node != ""
	if !named {
		cfg.Node = uuid.NewString()
	}
	e := &Engine{
		cfg: cfg, info: cfg.Store.Describe(), me: store.Instance{Node: cfg.Node, Incarnation: uuid.NewString()},
		runs: make(map[store.Key]*Run), creating: make(map[store.Key]chan struct{}),
		claims: make(chan struct{}, 1), claimID: 1,
	}
	// One process at a time has such a store: the one that had this name has ended.
	e.succeeds = named && e.info.Durable && !e.info.Shared
	if cfg.Codec != nil {
		e.hashed = []byte(cfg.Codec.Name() + "\x00")
	}
	e.servers = newServers(e, cfg.Queues)
	if e.atWork.most = int64(cfg.MaxClaimed); cfg.MaxClaimed == 0 {
		e.atWork.most = math.MaxInt64
	}
	e.timers = newTimers()
	e.turns.e = e
	e.base, e.stop = context.WithCancelCause(context.Background())
	if cfg.Container != nil {
		e.base = container.WithContext(e.base, cfg.Container)
	}
	e.past = context.WithoutCancel(e.base)
	e.life, e.die = context.WithCancel(context.Background())
	return e
}

// Start makes the engine take executions, and go on with those that nobody drives. An
// engine is started once.
func (e *Engine) Start(ctx context.Context) error {
	e.mu.Lock()
	before := e.started || e.stopped
	e.started = true
	e.mu.Unlock()
	if before {
		return fmt.Errorf("%w: it was started before; make a new one", ErrNotRunning)
	}
	if err := e.openLease(ctx); err != nil {
		e.mu.Lock()
		e.started = false // nothing was begun: it may be tried again
		e.mu.Unlock()
		return err
	}
	if e.cfg.Keeper != nil {
		deafen := e.cfg.Keeper.Listen(e.tickets.tell)
		e.mu.Lock()
		e.deafen = deafen
		e.mu.Unlock()
	}
	resume, err := e.restore(ctx)
	e.mu.Lock()
	switch {
	case e.lost:
		err = ErrLostLease
	case e.stopped:
		err = fmt.Errorf("%w: it was stopped while it started", ErrNotRunning)
	case err == nil:
		e.running, e.serving = true, true
		e.helpers.Go(e.claimWhatIsLeft)
		for _, s := range e.servers {
			e.helpers.Go(s.serve)
		}
	}
	e.mu.Unlock()
	if err != nil {
		e.Stop(past(ctx))
		return fmt.Errorf("workflow: start: %w", err)
	}
	resume()
	return nil
}

// past is a context that has ended.
func past(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	return ctx
}

// Stop takes no more executions, waits until those that run have ended or ctx
// has, and then interrupts the rest. It returns the keys of what was interrupted.
func (e *Engine) Stop(ctx context.Context) []store.Key {
	e.mu.Lock()
	e.running, e.stopped = false, true
	// What waits for a queue here goes on elsewhere, where the store outlives the process:
	// it rests. Else it comes to its end by what this engine makes of the queues.
	e.serving = e.serving && !e.info.Durable
	leased, deafen := e.leased, e.deafen
	e.leased = false
	e.mu.Unlock()
	drained := make(chan struct{})
	go func() {
		e.ended.Wait()
		e.mu.Lock()
		e.serving = false
		e.mu.Unlock()
		e.made.Wait()
		close(drained)
	}()
	select {
	case <-drained:
	case <-ctx.Done():
	}
	e.interrupt(ErrInterrupted)
	<-drained
	e.timers.stop()
	e.workers.stop()
	if deafen != nil {
		deafen()
	}
	e.die()
	e.helpers.Wait()
	if leased {
		e.closeLease(ctx)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	slices.SortFunc(e.interrupted, compareKeys)
	return e.interrupted
}

// interrupt ends the contexts of everything that runs, and the runs.
func (e *Engine) interrupt(cause error) {
	e.stop(cause)
	e.mu.Lock()
	e.serving = false
	runs := make([]*Run, 0, len(e.runs))
	for _, r := range e.runs {
		r.share()
		runs = append(runs, r)
	}
	e.mu.Unlock()
	for _, r := range runs {
		r.post(interrupted{cause})
	}
}

func compareKeys(a, b store.Key) int {
	return cmp.Or(cmp.Compare(a.Workflow, b.Workflow), cmp.Compare(a.ID, b.ID))
}

// Find returns the run of an execution that this engine drives, or nil.
func (e *Engine) Find(key store.Key) *Run {
	e.mu.Lock()
	defer e.mu.Unlock()
	r := e.runs[key]
	if r != nil {
		r.share()
	}
	return r
}

// Forget lets a finished execution with a generated id go, once its result has
// been handed over. When that fails it goes with its retention.
func (e *Engine) Forget(ctx context.Context, x *End) {
	if !x.Generated || x.State == store.Failed || x.Parent != nil {
		return
	}
	e.unfetched.remove(x.Key)
	e.forget(ctx, x.Key, x.RunUID)
}

func (e *Engine) forget(ctx context.Context, key store.Key, runUID string) {
	if err := e.cfg.Store.Forget(ctx, key, runUID); err != nil && !errors.Is(err, store.ErrClosed) {
		e.cfg.Logger.Warn("workflow: could not let a finished execution go; it goes with its retention", "execution", key.String(), "error", err)
	}
}

// Plan returns the plan that the engine runs under the name.
func (e *Engine) Plan(name string) *plan.Plan { return e.cfg.Plans[name] }
