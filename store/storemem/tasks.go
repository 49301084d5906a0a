package storemem

import (
	"cmp"
	"container/heap"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

// tasks are those of one queue. It is kept while it has some, or has something to
// remember.
type tasks struct {
	name   string
	lanes  map[store.PlanID]*lane
	turns  map[string]*turn // of the workflows that have lanes
	last   uint64           // the last turn that was given
	ready  int              // how many may be taken
	later  line             // whose time has not come, by that time
	doing  int              // how many are being done
	paused bool
	taken  time.Time     // when the last one was
	pace   time.Duration // the slowest that was asked at
}

// lane has the tasks of a plan that may be taken, in the order in which they are.
type lane struct {
	line
	turn *turn
}

// turn is the place of a workflow in the round of those that have tasks to be taken: at
// its end when the first of them comes, and after each that is taken.
type turn struct {
	at    uint64
	lanes int
}

func newTasks(name string) *tasks {
	q := &tasks{name: name, lanes: make(map[store.PlanID]*lane), turns: make(map[string]*turn)}
	q.later.before = func(a, b *task) bool { return a.NotBefore.Before(b.NotBefore) }
	return q
}

func (s *Store) tasksOf(name string) *tasks {
	q, ok := s.tasks[name]
	if !ok {
		q = newTasks(name)
		s.tasks[name] = q
	}
	return q
}

// forgetQueue rids the store of a queue that has nothing, but for when its last task was
// taken, as long as that may matter.
func (s *Store) forgetQueue(q *tasks) {
	if q.ready+q.later.Len()+q.doing == 0 && !q.paused && time.Since(q.taken) >= q.pace {
		delete(s.tasks, q.name)
	}
}

func (t *task) plan() store.PlanID {
	return store.PlanID{Workflow: t.e.Workflow, Fingerprint: t.e.Fingerprint}
}

// next orders the tasks of one workflow.
func next(a, b *task) int {
	return cmp.Or(cmp.Compare(b.Priority, a.Priority), cmp.Compare(a.added, b.added))
}

// admit lets a task be taken.
func (q *tasks) admit(t *task) {
	l, ok := q.lanes[t.plan()]
	if !ok {
		l = &lane{turn: q.turns[t.e.Workflow]}
		if l.turn == nil {
			l.turn = &turn{}
			q.turns[t.e.Workflow] = l.turn
			q.behind(l.turn)
		}
		l.turn.lanes++
		l.before = func(a, b *task) bool { return next(a, b) < 0 }
		q.lanes[t.plan()] = l
	}
	heap.Push(&l.line, t)
	q.ready++
}

// behind puts a workflow at the end of the round.
func (q *tasks) behind(t *turn) {
	q.last++
	t.at = q.last
}

// dismiss takes a task that nobody does out of its line.
func (q *tasks) dismiss(t *task) {
	in := t.in
	heap.Remove(in, t.at)
	if in == &q.later {
		return
	}
	q.ready--
	if in.Len() > 0 {
		return
	}
	l := q.lanes[t.plan()]
	delete(q.lanes, t.plan())
	if l.turn.lanes--; l.turn.lanes == 0 {
		delete(q.turns, t.e.Workflow)
	}
}

// ripen lets those be taken whose time has come.
func (q *tasks) ripen(now time.Time) {
	for t := q.later.first(); t != nil && !t.NotBefore.After(now); t = q.later.first() {
		q.dismiss(t)
		q.admit(t)
	}
}

// first returns the task of some plans that is the next, or nil.
func (q *tasks) first(plans []store.PlanID) (best *task) {
	var since uint64
	for _, id := range plans {
		l := q.lanes[id]
		if l == nil {
			continue
		}
		t := l.first()
		if best == nil || cmp.Or(cmp.Compare(best.Priority, t.Priority), cmp.Compare(l.turn.at, since), cmp.Compare(t.added, best.added)) < 0 {
			best, since = t, l.turn.at
		}
	}
	return best
}

// Take implements [store.TaskQueue].
func (s *Store) Take(ctx context.Context, t store.Take) ([]store.Taken, time.Duration, error) {
	if err := s.enter(ctx); err != nil {
		return nil, 0, err
	}
	list, pause, err := s.takeTasks(&t)
	s.leave()
	for i := range list {
		list[i].Data = slices.Clone(list[i].Data)
	}
	return list, pause, err
}

func (s *Store) takeTasks(ask *store.Take) (taken []store.Taken, pause time.Duration, err error) {
	now := time.Now()
	s.lapse(now)
	by, ok := s.instances[ask.Instance]
	if !ok || !by.drives() {
		return nil, 0, store.ErrInstance
	}
	q := s.tasks[ask.Queue]
	if q == nil {
		return nil, 0, nil
	}
	q.pace = max(q.pace, ask.Pace)
	limit := cmp.Or(max(ask.Limit, 0), 1)
	var list []*task
	for _, t := range by.tasks { // of the same call
		if ask.ID != 0 && t.call == ask.ID && t.queue == q && len(list) < limit {
			list = append(list, t)
		}
	}
	q.ripen(now)
	for len(list) < limit && !q.paused && (ask.Most <= 0 || q.doing < ask.Most) {
		t := q.first(ask.Plans)
		if t == nil {
			break
		}
		if pause = q.tooSoon(ask.Pace, now); pause > 0 {
			break
		}
		s.takeTask(q, t, by, ask.ID, now)
		list = append(list, t)
	}
	taken = make([]store.Taken, len(list))
	for i, t := range list {
		taken[i] = store.Taken{Task: t.Task, Key: t.e.Key, RunUID: t.e.RunUID, Attempt: t.attempt, Unclean: t.unclean}
	}
	return taken, pause, nil
}

// tooSoon says how long it is until a task may be taken at the pace.
func (q *tasks) tooSoon(pace time.Duration, now time.Time) time.Duration {
	if pace <= 0 || q.taken.IsZero() || q.taken.After(now) { // the clock was set back
		return 0
	}
	return max(0, q.taken.Add(pace).Sub(now))
}

// takeTask gives a task that may be taken to an instance.
func (s *Store) takeTask(q *tasks, t *task, by *instance, call uint64, now time.Time) {
	q.behind(q.turns[t.e.Workflow])
	q.dismiss(t)
	t.doer, t.call = by, call
	t.e.takes++
	t.attempt = t.e.takes
	q.doing++
	q.taken = now
	by.tasks = append(by.tasks, t)
}

// Pause implements [store.TaskQueue].
func (s *Store) Pause(ctx context.Context, queue string, paused bool) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	q := s.tasksOf(queue)
	q.paused = paused
	if !paused && q.ready > 0 {
		s.tellQueue(queue)
	}
	s.forgetQueue(q)
	return nil
}

// Queues implements [store.TaskQueue].
func (s *Store) Queues(ctx context.Context) ([]store.QueueState, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.leave()
	now := time.Now()
	s.lapse(now)
	var list []store.QueueState
	for _, q := range s.tasks {
		q.ripen(now)
		if q.ready+q.later.Len()+q.doing > 0 || q.paused {
			list = append(list, store.QueueState{Name: q.name, Waiting: q.ready, Later: q.later.Len(), Doing: q.doing, Paused: q.paused})
		}
	}
	slices.SortFunc(list, func(a, b store.QueueState) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}
