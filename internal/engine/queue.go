package engine

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/lockstep-dev/lockstep/internal/machine"
	"github.com/lockstep-dev/lockstep/store"
)

// Queue is one that an engine serves: it makes attempts of steps that are on it, whoever
// drives their executions.
type Queue struct {
	Name string
	// Workers bounds how many attempts are made here at a time.
	Workers int
	// Most bounds how many are made at a time by all instances; zero is without a bound.
	Most int
	// Pace is the least time between two that are taken by any instances; zero is none.
	Pace time.Duration
}

// server serves a queue.
type server struct {
	e    *Engine
	q    Queue
	from store.TaskQueue
	wake chan struct{}
	last uint64 // the ID of the last call

	mu    sync.Mutex
	doing map[store.TaskHeld]*doing
}

func newServers(e *Engine, queues []Queue) map[string]*server {
	from, ok := e.cfg.Store.(store.TaskQueue)
	if !ok {
		return nil
	}
	servers := make(map[string]*server, len(queues))
	for _, q := range queues {
		servers[q.Name] = &server{e: e, q: q, from: from, wake: make(chan struct{}, 1), doing: map[store.TaskHeld]*doing{}}
	}
	return servers
}

// rouse has a queue looked at, if it is served here.
func (e *Engine) rouse(queue string) {
	if s := e.servers[queue]; s != nil {
		s.rouse()
	}
}

func (e *Engine) rouseAll() {
	for _, s := range e.servers {
		s.rouse()
	}
}

func (s *server) rouse() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// serve takes tasks until the engine has ended.
func (s *server) serve() {
	tick := time.NewTicker(s.e.cfg.Lease / 2)
	defer tick.Stop()
	pace := time.NewTimer(time.Hour)
	defer pace.Stop()
	for {
		if pause := s.take(); pause > 0 {
			pace.Reset(pause)
		}
		select {
		case <-s.e.life.Done():
			return
		case <-tick.C:
		case <-pace.C:
		case <-s.wake:
		}
	}
}

// take takes as many tasks as there is room for. It says how long the queue's pace has the
// next one wait.
func (s *server) take() (pause time.Duration) {
	s.mu.Lock()
	room := s.q.Workers - len(s.doing)
	s.mu.Unlock()
	s.e.mu.Lock()
	running := s.e.running
	s.e.mu.Unlock()
	if room <= 0 || !running {
		return 0
	}
	ask := store.Take{
		Instance: s.e.me, ID: s.last + 1, Queue: s.q.Name, Plans: s.e.planIDs(), Limit: room, Most: s.q.Most, Pace: s.q.Pace,
	}
	list, pause, err := s.from.Take(s.e.life, ask)
	if err != nil {
		if s.e.life.Err() == nil && !errors.Is(err, store.ErrInstance) && !errors.Is(err, store.ErrClosed) {
			s.e.cfg.Logger.Warn("workflow: could not take tasks; trying again", "queue", s.q.Name, "error", err)
		}
		return 0 // the next call has the same ID, and returns what this one may have taken
	}
	s.last++
	for i := range list {
		s.begin(&list[i])
	}
	return pause
}

// begin has an attempt made.
func (s *server) begin(t *store.Taken) {
	d := &doing{s: s, t: *t, drop: make(chan struct{})}
	s.e.mu.Lock()
	if !s.e.running {
		s.e.mu.Unlock()
		return // the lease's end puts it back
	}
	s.e.ended.Add(1)
	s.e.mu.Unlock()
	s.mu.Lock()
	s.doing[t.Held()] = d
	s.mu.Unlock()
	go func() {
		defer s.e.ended.Done()
		d.do()
		s.mu.Lock()
		delete(s.doing, t.Held())
		s.mu.Unlock()
		s.rouse()
	}()
}

// dropped is told by the store: a task that is done here is not to be done any more.
func (e *Engine) dropped(h store.TaskHeld) {
	for _, s := range e.servers {
		s.mu.Lock()
		if d := s.doing[h]; d != nil {
			d.gone.Do(func() { close(d.drop) })
		}
		s.mu.Unlock()
	}
}

// PauseQueue has a queue give no tasks until it goes on, to whichever instance.
func (e *Engine) PauseQueue(ctx context.Context, queue string, paused bool) error {
	from, ok := e.cfg.Store.(store.TaskQueue)
	if !ok {
		return ErrNoQueues
	}
	return from.Pause(ctx, queue, paused)
}

// Queues tells of all queues that have tasks, or are paused.
func (e *Engine) Queues(ctx context.Context) ([]store.QueueState, error) {
	from, ok := e.cfg.Store.(store.TaskQueue)
	if !ok {
		return nil, ErrNoQueues
	}
	return from.Queues(ctx)
}

// ErrNoQueues means that the store keeps no tasks.
var ErrNoQueues = errors.New("workflow: the store has no queues")

// awaitDropped waits, for a while, for whoever does the task of an attempt that was
// cancelled: its body may be running. Nobody may be doing it.
func (r *Run) awaitDropped(at store.Place) {
	n, begun := r.s.Node(at)
	if !begun || n.Invoke.Waits != store.WaitingForQueue {
		return
	}
	r.share()
	time.AfterFunc(r.e.cfg.CancelGrace, func() { r.post(droppedFor{at, n.Attempts}) })
}

// droppedFor is mail: the time is up in which whoever does a task that was dropped may be
// heard of.
type droppedFor struct {
	at      store.Place
	ordinal uint64
}

func (m droppedFor) handle(r *Run) error {
	n, _ := r.s.Node(m.at)
	if n.Invoke.Waits != store.WaitingForQueue || n.Attempts != m.ordinal {
		return nil
	}
	start := machine.StartAttempt{Place: m.at, Phase: machine.Invoke, Number: n.Invoke.Attempts}
	return r.happen(machine.TaskAbandoned{Place: m.at, Failure: failureRecord(r.s.Path(m.at), start, errLeftBehind)})
}
