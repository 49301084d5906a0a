package workflow

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/lockstep-dev/lockstep/internal/engine"
	"github.com/lockstep-dev/lockstep/internal/plan"
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store"
)

// DefaultWorkers is how many steps of a queue an engine runs at a time where [Queue] says
// nothing.
const DefaultWorkers = 16

// Queue says how an engine serves a queue. All engines that serve one should say the same
// of Limit and Interval, which are about all of them together.
type Queue struct {
	Name string
	// Workers is how many steps of the queue this engine runs at a time; zero is
	// [DefaultWorkers].
	Workers int
	// Limit bounds how many steps of the queue all engines run at a time; zero is without a
	// bound.
	Limit int
	// Interval is the least time from the beginning of a step of the queue to that of the
	// next, over all engines; zero is none.
	Interval time.Duration
}

// QueueState tells of a queue: see [Engine.Queues].
type QueueState = store.QueueState

// PauseQueue has no engine on the store begin with a step of the queue, until
// [Engine.ResumeQueue]. What runs goes on. To drain a queue, pause it and wait until
// nothing of it is being done.
func (e *Engine) PauseQueue(ctx context.Context, queue string) error {
	return queueError("pause", e.inner.PauseQueue(ctx, queue, true), queue)
}

// ResumeQueue is the reverse of [Engine.PauseQueue].
func (e *Engine) ResumeQueue(ctx context.Context, queue string) error {
	return queueError("resume", e.inner.PauseQueue(ctx, queue, false), queue)
}

func queueError(doing string, err error, queue string) error {
	if err != nil {
		return fmt.Errorf("workflow: %s queue %q: %w", doing, queue, err)
	}
	return nil
}

// Queues tells of each queue on the store that has steps waiting or running, or is paused,
// in the order of their names.
func (e *Engine) Queues(ctx context.Context) ([]QueueState, error) {
	list, err := e.inner.Queues(ctx)
	if err != nil {
		return nil, fmt.Errorf("workflow: list queues: %w", err)
	}
	return list, nil
}

// checkQueues returns [*ConfigError] for queues that cannot be served.
func checkQueues(cfg *Config, plans map[string]*plan.Plan) error {
	_, keeps := cfg.Store.(store.TaskQueue)
	for name, p := range plans {
		for i := range p.Nodes {
			if s := p.Nodes[i].Step; s != nil && s.Queue != nil && !keeps {
				return &ConfigError{"Store", fmt.Sprintf("%T", cfg.Store), fmt.Sprintf(
					"one that implements store.TaskQueue: step %q of workflow %q is on the queue %q", s.Name, name, s.Queue.Name)}
			}
		}
	}
	seen := make(map[string]bool, len(cfg.Queues))
	for i, q := range cfg.Queues {
		field := fmt.Sprintf("Queues[%d]", i)
		switch {
		case q.Name == "":
			return &ConfigError{field + ".Name", `""`, "the name of a queue"}
		case seen[q.Name]:
			return &ConfigError{field + ".Name", strconv.Quote(q.Name), "a name that no other queue of the engine has"}
		case q.Workers < 0:
			return &ConfigError{field + ".Workers", strconv.Itoa(q.Workers), "zero or more"}
		case q.Limit < 0:
			return &ConfigError{field + ".Limit", strconv.Itoa(q.Limit), "zero or more"}
		case q.Interval < 0:
			return &ConfigError{field + ".Interval", q.Interval.String(), "zero or more"}
		case !keeps:
			return &ConfigError{"Store", fmt.Sprintf("%T", cfg.Store), "one that implements store.TaskQueue: the engine is to serve queues"}
		}
		seen[q.Name] = true
	}
	return nil
}

func queues(list []Queue) []engine.Queue {
	if list == nil {
		list = []Queue{{Name: steps.BackgroundQueue}}
	}
	all := make([]engine.Queue, len(list))
	for i, q := range list {
		all[i] = engine.Queue{Name: q.Name, Workers: q.Workers, Most: q.Limit, Pace: q.Interval}
		setDefault(&all[i].Workers, DefaultWorkers)
	}
	return all
}
