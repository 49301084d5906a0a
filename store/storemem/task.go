package storemem

import (
	"container/heap"
	"context"
	"slices"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

var _ store.TaskQueue = (*Store)(nil)

// task is in its execution's tasks and in those of its queue, in one of the three
// states that its queue tells apart.
type task struct {
	store.Task
	e       *entry
	queue   *tasks
	added   uint64    // its place among those of one priority
	attempt uint64    // of whoever does it
	unclean bool      // whoever did it before did not put it back
	in      *line     // of its queue, while nobody does it
	at      int       // in that
	doer    *instance // who does it
	call    uint64    // the ID of the call that has taken it
}

// line is a heap of tasks, each of which knows where it is.
type line struct {
	list   []*task
	before func(a, b *task) bool
}

// Len implements [heap.Interface].
func (l *line) Len() int { return len(l.list) }

// Less implements [heap.Interface].
func (l *line) Less(i, j int) bool { return l.before(l.list[i], l.list[j]) }

// Swap implements [heap.Interface].
func (l *line) Swap(i, j int) {
	l.list[i], l.list[j] = l.list[j], l.list[i]
	l.list[i].at, l.list[j].at = i, j
}

// Push implements [heap.Interface].
func (l *line) Push(x any) {
	t, _ := x.(*task)
	t.in, t.at = l, len(l.list)
	l.list = append(l.list, t)
}

// Pop implements [heap.Interface].
func (l *line) Pop() any {
	last := len(l.list) - 1
	t := l.list[last]
	t.in, l.list[last], l.list = nil, nil, l.list[:last]
	return t
}

// first returns nil when there is none.
func (l *line) first() *task {
	if len(l.list) == 0 {
		return nil
	}
	return l.list[0]
}

// offer lets others take the task, now or from its time on.
func (s *Store) offer(t *task, now time.Time) {
	if t.NotBefore.After(now) {
		heap.Push(&t.queue.later, t)
		s.stirred = true
		return
	}
	t.queue.admit(t)
	s.tellQueue(t.queue.name)
}

// withdraw takes the task out of where it is.
func (t *task) withdraw() {
	if t.in != nil {
		t.queue.dismiss(t)
		return
	}
	t.doer.tasks = slices.DeleteFunc(t.doer.tasks, func(o *task) bool { return o == t })
	t.doer = nil
	t.queue.doing--
}

// addTasks adds tasks of an execution, which are copies.
func (s *Store) addTasks(e *entry, list []store.Task) {
	for _, given := range list {
		s.dropTask(e, given.ID)
		q := s.tasksOf(given.Queue)
		s.added++
		t := &task{Task: given, e: e, queue: q, added: s.added}
		e.tasks, e.tasked = append(e.tasks, t), true
		s.offer(t, time.Now())
	}
}

// dropTask rids an execution of a task, if it has it.
func (s *Store) dropTask(e *entry, id string) {
	t := e.task(id)
	if t == nil {
		return
	}
	if t.doer != nil {
		s.tellDropped(t.doer, store.TaskHeld{Key: e.Key, ID: id, Attempt: t.attempt})
	}
	s.endTask(t)
}

func (s *Store) endTask(t *task) {
	t.withdraw()
	t.e.tasks = slices.DeleteFunc(t.e.tasks, func(o *task) bool { return o == t })
	if t.queue.ready > 0 { // there may be room for one more
		s.tellQueue(t.queue.name)
	}
	s.forgetQueue(t.queue)
}

func (e *entry) task(id string) *task {
	for _, t := range e.tasks {
		if t.ID == id {
			return t
		}
	}
	return nil
}

// doing returns the task when the instance does it under the attempt.
func (s *Store) doing(i store.Instance, h store.TaskHeld) *task {
	e := s.find(h.Key)
	if e == nil {
		return nil
	}
	if t := e.task(h.ID); t != nil && t.attempt == h.Attempt && t.doer != nil && t.doer.Instance == i {
		return t
	}
	return nil
}

// Finish implements [store.TaskQueue].
func (s *Store) Finish(ctx context.Context, i store.Instance, h store.TaskHeld, m store.Message) error {
	var c copier
	c.expect(m.Data)
	m.Data = c.copy(m.Data)
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	s.lapse(time.Now())
	t := s.doing(i, h)
	if t == nil {
		if e := s.find(h.Key); e != nil && e.inbox.has(m.ID) {
			return nil
		}
		return &store.TaskLostError{Task: h, Instance: i}
	}
	e := t.e
	s.endTask(t)
	s.deliver(e, m)
	return nil
}

// PutBack implements [store.TaskQueue].
func (s *Store) PutBack(ctx context.Context, i store.Instance, list []store.TaskHeld) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	now := time.Now()
	for _, h := range list {
		if t := s.doing(i, h); t != nil {
			t.withdraw()
			t.unclean = false
			s.offer(t, now)
		}
	}
	return nil
}

// putAllBack lets others take what the instance does.
func (s *Store) putAllBack(i *instance, unclean bool) {
	now := time.Now()
	for len(i.tasks) > 0 {
		t := i.tasks[0]
		t.withdraw()
		t.unclean = unclean
		s.offer(t, now)
	}
}
