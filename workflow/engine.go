package workflow

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"runtime/debug"
	"slices"
	"strconv"
	"time"

	"github.com/lockstep-dev/lockstep/container"
	"github.com/lockstep-dev/lockstep/internal/engine"
	"github.com/lockstep-dev/lockstep/internal/plan"
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store"
)

// The values that hold where [Config] names no others.
const (
	DefaultLockLease     = 30 * time.Second
	DefaultLease         = 5 * time.Second
	DefaultCancelGrace   = 5 * time.Second
	DefaultRestAfter     = 5 * time.Second
	DefaultMaxInputBytes = 16 << 20
	DefaultMaxIDBytes    = 1 << 10
	DefaultRetention     = 24 * time.Hour
	DefaultMaxUnfetched  = 100_000
	DefaultMaxClaimed    = 1000
	unfetchedRetention   = 10 * time.Minute
)

// Config is what an [Engine] needs. Store is required.
type Config struct {
	// Container is what steps resolve services from; nil is an empty one.
	Container *container.Container
	// Store keeps the executions. The engine does not close it.
	Store store.Store
	// Workflows are what the engine runs.
	Workflows Set
	// Codec turns values into bytes; nil is [store.JSON].
	Codec store.Codec
	// Logger defaults to [slog.Default].
	Logger *slog.Logger
	// Node names this engine over restarts. One that comes back with it goes on at once
	// with what it had, on a durable store that one process has at a time, and has again the
	// locks in memory that its executions held; elsewhere it waits for the lease of the one
	// before. No two engines may have one name at a time.
	// Empty is a name of its own for each engine.
	Node string
	// Lease is how long other instances on the store leave the engine's executions
	// alone when nothing is heard of it; zero is [DefaultLease].
	Lease time.Duration
	// AllowLocalLocks lets guards take locks that protect this process only, although
	// other processes share the store.
	AllowLocalLocks bool
	// LockLease is how long a lock of an execution outlives its last renewal;
	// zero is [DefaultLockLease].
	LockLease time.Duration
	// CancelGrace is how long a body whose context has ended is waited for before
	// it is left behind; zero is [DefaultCancelGrace].
	CancelGrace time.Duration
	// Queues are those of steps made [steps.OnQueue] that the engine serves, whoever drives
	// the executions; nil is [steps.BackgroundQueue] alone. Each workflow of the engine may
	// have steps on queues that others serve.
	Queues []Queue
	// RestAfter is how long an execution stays in this process's memory that waits for a
	// time, a child or a message, and at which nothing happens; one that comes to a sleep
	// that is longer is let go at once. The store then gives it to whichever engine asks
	// when its time or the message has come. What holds or wants a lock stays with its
	// engine, as does what a caller here waits for, and everything on a store that is not
	// durable. Zero is [DefaultRestAfter].
	RestAfter time.Duration
	// MaxClaimed is how many executions may be at work here that the engine goes on with
	// because nobody drives them: those that a process has left which died, and those whose
	// time or message has come. While there are as many it takes on no more, and they wait
	// in the store: what is kept there may be far more than fits into memory. What waits for
	// a time, a lock, a child or a message is not at work. Nobody waits behind the bound who
	// holds locks, or whom a caller here waits for; and when nothing has come on for half a
	// lease, a hundred more are taken on; where most of them wait for others to be tried one
	// at a time, because they may have killed their process, the next hundred come the later
	// the more there are. Executions that are started here are not bounded.
	// Zero is [DefaultMaxClaimed].
	MaxClaimed int
	// Retention is how long a finished execution is kept whose id the caller gave;
	// zero is [DefaultRetention]. A failed one is kept for good.
	Retention time.Duration
	// MaxUnfetched is how many finished executions with generated ids are kept whose
	// results nobody has fetched, for ten minutes at most; of more, those that the
	// engine finished first go. Zero is [DefaultMaxUnfetched].
	MaxUnfetched int
	// MaxInputBytes limits an encoded input; zero is [DefaultMaxInputBytes].
	MaxInputBytes int
	// MaxIDBytes limits an execution id; zero is [DefaultMaxIDBytes].
	MaxIDBytes int
}

// Engine runs workflows. It is a value: two engines in one process do not see
// each other. Its methods may be called concurrently.
type Engine struct {
	inner    *engine.Engine
	codec    store.Codec
	plans    map[string]*plan.Plan
	maxInput int
	maxID    int
}

// NewEngine returns an engine. It starts nothing. It returns [*ConfigError] for
// what cannot be.
func NewEngine(cfg Config) (*Engine, error) {
	if cfg.Store == nil {
		return nil, &ConfigError{"Store", "nil", "a store, such as storemem.New()"}
	}
	plans := make(map[string]*plan.Plan, len(cfg.Workflows))
	for i, w := range cfg.Workflows {
		field := fmt.Sprintf("Workflows[%d]", i)
		if w == nil || w.definition() == nil {
			return nil, &ConfigError{field, "nil", "a workflow made by New or Build"}
		}
		if _, taken := plans[w.Name()]; taken {
			return nil, &ConfigError{field, strconv.Quote(w.Name()), "a name that no other workflow of the engine has"}
		}
		plans[w.Name()] = w.definition()
	}
	for i, w := range cfg.Workflows {
		if child, missing := missingChild(plans, w.definition()); missing {
			return nil, &ConfigError{fmt.Sprintf("Workflows[%d]", i), strconv.Quote(w.Name()), fmt.Sprintf(
				"the workflow %q that it calls among the engine's, with the definition that it was composed with", child)}
		}
	}
	for field, d := range map[string]time.Duration{
		"Lease": cfg.Lease, "LockLease": cfg.LockLease, "CancelGrace": cfg.CancelGrace, "RestAfter": cfg.RestAfter, "Retention": cfg.Retention,
	} {
		if d < 0 {
			return nil, &ConfigError{field, d.String(), "zero or more"}
		}
	}
	for field, n := range map[string]int{"MaxInputBytes": cfg.MaxInputBytes, "MaxIDBytes": cfg.MaxIDBytes, "MaxUnfetched": cfg.MaxUnfetched, "MaxClaimed": cfg.MaxClaimed} {
		if n < 0 {
			return nil, &ConfigError{field, strconv.Itoa(n), "zero or more"}
		}
	}
	if err := checkQueues(&cfg, plans); err != nil {
		return nil, err
	}
	cfg.setDefaults()
	if cfg.LockLease < 4*cfg.Lease {
		return nil, &ConfigError{"LockLease", cfg.LockLease.String(), fmt.Sprintf(
			"at least four times Lease (%s): an execution's locks must outlast the time in which another instance takes it over", cfg.Lease)}
	}
	return &Engine{
		inner: engine.New(engine.Config{
			Store: cfg.Store, Codec: cfg.Codec, Container: cfg.Container, Plans: plans, Logger: cfg.Logger,
			Node: cfg.Node, Lease: cfg.Lease, LockLease: cfg.LockLease, CancelGrace: cfg.CancelGrace, RestAfter: cfg.RestAfter, MaxClaimed: cfg.MaxClaimed,
			Keeper:    &keeper{container: cfg.Container, shared: cfg.Store.Describe().Shared && !cfg.AllowLocalLocks},
			Queues:    queues(cfg.Queues),
			Retention: engine.Retention{Given: cfg.Retention, Generated: unfetchedRetention, MostGenerated: cfg.MaxUnfetched},
		}),
		codec: cfg.Codec, plans: plans, maxInput: cfg.MaxInputBytes, maxID: cfg.MaxIDBytes,
	}, nil
}

func (cfg *Config) setDefaults() {
	if cfg.Container == nil {
		cfg.Container = container.New()
	}
	if cfg.Codec == nil {
		cfg.Codec = store.JSON{}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	setDefault(&cfg.Lease, DefaultLease)
	setDefault(&cfg.LockLease, DefaultLockLease)
	setDefault(&cfg.CancelGrace, DefaultCancelGrace)
	setDefault(&cfg.RestAfter, DefaultRestAfter)
	setDefault(&cfg.Retention, DefaultRetention)
	setDefault(&cfg.MaxUnfetched, DefaultMaxUnfetched)
	setDefault(&cfg.MaxClaimed, DefaultMaxClaimed)
	setDefault(&cfg.MaxInputBytes, DefaultMaxInputBytes)
	setDefault(&cfg.MaxIDBytes, DefaultMaxIDBytes)
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Start makes the engine take executions. On a durable store that one process has at a
// time it first takes the locks again that executions held in memory when the process
// before died: it returns when each is taken or known to be lost, or ctx has ended. An engine that was stopped,
// or whose start has failed for another reason than its lease, is not started again.
func (e *Engine) Start(ctx context.Context) error {
	return e.inner.Start(ctx)
}

// Stop drains the engine: it takes no more executions, and waits for those that
// run. When ctx ends first, the contexts of what still runs end with
// [ErrInterrupted], and a [*UnfinishedError] names those executions. On a store
// that does not outlive the process their locks are released, since nobody can go
// on with them.
func (e *Engine) Stop(ctx context.Context) error {
	left := e.inner.Stop(ctx)
	if len(left) == 0 {
		return nil
	}
	err := &UnfinishedError{}
	for _, k := range left {
		err.Executions = append(err.Executions, Ref{Workflow: k.Workflow, ID: k.ID})
	}
	return err
}

// check finds the plan of a workflow, if this engine runs that very one.
func (e *Engine) check(w Definition) (*plan.Plan, error) {
	def := w.definition()
	if def == nil {
		return nil, &NotRegisteredError{Workflow: "", Known: e.names()}
	}
	own := e.plans[def.Name]
	if own == nil || own.Fingerprint != def.Fingerprint {
		return nil, &NotRegisteredError{Workflow: def.Name, Known: e.names(), Differs: own != nil}
	}
	return own, nil
}

func (e *Engine) names() []string { return slices.Sorted(maps.Keys(e.plans)) }

// encodeInput checks everything that can be wrong before anything runs. The identity is
// what tells the input from others, where that is not its encoding.
func encodeInput[In any](e *Engine, name string, input In) (data, identity []byte, err error) {
	data, err = encode(e.codec, input)
	if c, ok := e.codec.(store.CanonicalCodec); ok && err == nil {
		identity, err = encode(canonical{c}, input)
	}
	if err != nil {
		return nil, nil, &InputError{Workflow: name, Type: fmt.Sprintf("%T", input), Err: err}
	}
	if len(data) > e.maxInput {
		return nil, nil, &LimitError{What: "input of " + strconv.Quote(name), Bytes: len(data), Limit: e.maxInput, Field: "MaxInputBytes"}
	}
	return data, identity, nil
}

// canonical encodes as the codec does for those who compare.
type canonical struct{ store.CanonicalCodec }

func (c canonical) Encode(v any) ([]byte, error) { return c.Canonical(v) }

// encode guards against a type whose own encoding panics.
func encode[T any](c store.Codec, v T) (data []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &steps.PanicError{Value: p, Stack: debug.Stack()}
		}
	}()
	return encodeValue(c, v)
}
