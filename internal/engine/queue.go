package engine

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
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
	// last is the ID of the last call, and not before a time is the next one made. They are
	// the serving goroutine's.
	last   uint64
	notYet time.Time

	mu    sync.Mutex
	doing map[store.TaskHeld]*doing
	// early are tasks that were dropped while a call was under way, which may have taken
	// them; nil when none is.
	early map[store.TaskHeld]bool
	// missed says that meanwhile others may have been dropped that nobody was told of.
	missed bool
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

// rouseAll has all queues looked at.
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
//
// While an attempt is made here that may have killed a process, none is taken: those that
// are held when it does it again would count as killers, too (I11).
func (s *server) take() (pause time.Duration) {
	room, ok := s.mayTake()
	if !ok {
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
	all, back, missed := s.enter(list)
	s.putBack(back)
	if missed {
		s.lookForDropped()
	}
	for _, d := range all {
		s.begin(d)
	}
	return pause
}

func (s *server) mayTake() (room int, ok bool) {
	s.e.mu.Lock()
	serving := s.e.serving
	s.e.mu.Unlock()
	if !serving || s.e.turns.taken() || time.Now().Before(s.notYet) {
		return 0, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if room = s.q.Workers - len(s.doing); room <= 0 {
		return 0, false
	}
	s.early = map[store.TaskHeld]bool{}
	return room, true
}

// enter notes what was taken, before anything of it is done. What is not to be done here
// goes back: what cannot be read, and of those that may have killed a process all but one,
// and that one, too, when it is not its turn.
func (s *server) enter(list []store.Taken) (all []*doing, back []store.TaskHeld, missed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range list {
		d := &doing{s: s, t: list[i], drop: make(chan struct{})}
		h := d.t.Held()
		if err := d.read(); err != nil {
			s.e.cfg.Logger.Error("workflow: a task cannot be done here: what it says cannot be read; it is left to others", "task", h.String(), "error", err)
			s.notYet = time.Now().Add(s.e.cfg.Lease)
			back = append(back, h)
			continue
		}
		if d.order.Suspect && !d.t.Unclean {
			if d.turn = s.e.turns.take(); !d.turn {
				back = append(back, h)
				continue
			}
		}
		if s.early[h] {
			d.gone.Do(func() { close(d.drop) })
		}
		s.doing[h] = d
		all = append(all, d)
	}
	missed = s.missed
	s.early, s.missed = nil, false
	return all, back, missed
}

// putBack lets others take tasks. It returns when that is so, or the engine has ended.
func (s *server) putBack(list []store.TaskHeld) {
	for pause := commitPause; len(list) > 0; pause = min(2*pause, time.Second) {
		err := s.from.PutBack(s.e.life, s.e.me, list)
		if err == nil || errors.Is(err, store.ErrClosed) || s.e.life.Err() != nil {
			return // what is left is put back with the lease's end
		}
		s.e.cfg.Logger.Warn("workflow: could not put tasks back; trying again", "queue", s.q.Name, "error", err)
		select {
		case <-time.After(pause):
		case <-s.e.life.Done():
		}
	}
}

// begin has an attempt made.
func (s *server) begin(d *doing) {
	s.e.mu.Lock()
	serving := s.e.serving
	if serving {
		s.e.made.Add(1)
	}
	s.e.mu.Unlock()
	if !serving {
		s.putBack([]store.TaskHeld{d.t.Held()})
		s.leave(d)
		return
	}
	go func() {
		defer s.e.made.Done()
		d.do()
		s.leave(d)
	}()
}

// leave notes that a task is not done here any more.
func (s *server) leave(d *doing) {
	s.mu.Lock()
	delete(s.doing, d.t.Held())
	s.mu.Unlock()
	if d.turn {
		s.e.turns.give()
	}
	s.rouse()
}

// dropped is told by the store: a task that is done here is not to be done any more.
func (e *Engine) dropped(h store.TaskHeld) {
	for _, s := range e.servers {
		s.mu.Lock()
		if d := s.doing[h]; d != nil {
			d.gone.Do(func() { close(d.drop) })
		} else if s.early != nil {
			s.early[h] = true
		}
		s.mu.Unlock()
	}
}

// lookForDropped finds what the store may not have told of.
func (e *Engine) lookForDropped() {
	for _, s := range e.servers {
		s.mu.Lock()
		s.missed = s.early != nil
		s.mu.Unlock()
		s.lookForDropped()
	}
}

func (s *server) lookForDropped() {
	s.mu.Lock()
	list := slices.Collect(maps.Values(s.doing))
	s.mu.Unlock()
	for _, d := range list {
		x, err := s.e.cfg.Store.Load(s.e.life, d.t.Key)
		stands := err == nil && x.RunUID == d.t.RunUID && slices.ContainsFunc(x.Tasks, func(t store.Task) bool {
			return t.ID == d.t.ID && bytes.Equal(t.Data, d.t.Data)
		})
		if !stands && (err == nil || errors.Is(err, store.ErrNotFound)) {
			d.gone.Do(func() { close(d.drop) })
		}
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
