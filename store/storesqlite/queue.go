package storesqlite

import (
	"cmp"
	"context"
	"database/sql/driver"
	"slices"
	"strings"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

// turns have the places of workflows in the rounds of queues: at the end of the round when
// the first of a workflow's tasks comes, and after each that is taken. They are in memory:
// when the store is opened a round begins.
type turns struct {
	last   uint64
	queues map[string]map[string]uint64 // by queue and workflow
}

// admit notes that a workflow has a task that may be taken.
func (t *turns) admit(queue, workflow string) {
	if _, ok := t.queues[queue][workflow]; !ok {
		t.behind(queue, workflow)
	}
}

// behind puts a workflow at the end of the round.
func (t *turns) behind(queue, workflow string) {
	if t.queues == nil {
		t.queues = map[string]map[string]uint64{}
	}
	round := t.queues[queue]
	if round == nil {
		round = map[string]uint64{}
		t.queues[queue] = round
	}
	t.last++
	round[workflow] = t.last
}

// dismiss notes that a workflow has no task that may be taken.
func (t *turns) dismiss(queue, workflow string) {
	if delete(t.queues[queue], workflow); len(t.queues[queue]) == 0 {
		delete(t.queues, queue)
	}
}

// Take implements [store.TaskQueue].
func (s *Store) Take(ctx context.Context, t store.Take) (list []store.Taken, pause time.Duration, err error) {
	err = s.do(ctx, func(w *writer) error {
		var err error
		list, pause, err = w.take(&t)
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	return list, pause, nil
}

func (w *writer) take(ask *store.Take) (taken []store.Taken, pause time.Duration, err error) {
	if err := w.lapse(); err != nil {
		return nil, 0, err
	}
	by, ok := w.instances[ask.Instance]
	if !ok || !by.drives() {
		return nil, 0, store.ErrInstance
	}
	if err := w.ripen(ask.Queue); err != nil {
		return nil, 0, err
	}
	limit := cmp.Or(max(ask.Limit, 0), 1)
	var list []taskID
	if ask.ID != 0 { // of the same call
		if list, err = w.taskIDs(tasksOfCall, by.number, numberValue(ask.ID), ask.Queue, int64(limit)); err != nil {
			return nil, 0, err
		}
	}
	fresh, pause, err := w.choose(ask, limit-len(list))
	if err != nil {
		return nil, 0, err
	}
	for _, id := range fresh {
		if err := w.takeOne(id, by, ask.ID); err != nil {
			return nil, 0, err
		}
	}
	for _, id := range append(list, fresh...) {
		if taken, err = w.readTaken(taken, id); err != nil {
			return nil, 0, err
		}
	}
	return taken, pause, nil
}

// choose says which tasks are to be taken, of as many as there is room for, and how long
// the queue's pace has the next one wait.
func (w *writer) choose(ask *store.Take, room int) (list []taskID, pause time.Duration, err error) {
	now := time.Now()
	var paused bool
	var last time.Time
	err = w.conn.query(readQueue, func(row []driver.Value) error {
		paused, last = asBool(row[0]), asTime(row[1])
		return nil
	}, ask.Queue)
	if err != nil || paused {
		return nil, 0, err
	}
	if ask.Most > 0 {
		done, err := w.numbers(countDoing, ask.Queue)
		if err != nil {
			return nil, 0, err
		}
		room = min(room, ask.Most-int(done[0]))
	}
	if room <= 0 {
		return nil, 0, nil
	}
	spaced := room
	if ask.Pace > 0 {
		if spaced = 1; now.Before(last.Add(ask.Pace)) && !last.After(now) { // else the clock was set back
			spaced = 0
		}
	}
	lanes, err := w.lanes(ask, min(room, spaced+1))
	if err != nil {
		return nil, 0, err
	}
	for len(list) < spaced {
		l := w.first(ask.Queue, lanes)
		if l == nil {
			break
		}
		list = append(list, l.tasks[0].taskID)
		l.tasks = l.tasks[1:]
		w.turns.behind(ask.Queue, l.workflow)
	}
	if len(list) > 0 {
		last = now
		if _, err := w.conn.exec(paceQueue, ask.Queue, timeBytes(now)); err != nil {
			return nil, 0, err
		}
	}
	if ask.Pace > 0 && len(list) < room && w.first(ask.Queue, lanes) != nil {
		pause = max(0, last.Add(ask.Pace).Sub(now))
	}
	return list, pause, nil
}

// lane has the first tasks of a plan that may be taken, in order.
type lane struct {
	workflow string
	tasks    []waitingTask
}

type waitingTask struct {
	taskID
	rank, added int64
}

func (w *writer) lanes(ask *store.Take, most int) (list []*lane, err error) {
	empty := map[string]bool{}
	for _, id := range ask.Plans {
		plan, ok := w.plans[id]
		if !ok {
			continue
		}
		l := &lane{workflow: id.Workflow}
		err := w.conn.query(firstTasks, func(row []driver.Value) error {
			l.tasks = append(l.tasks, waitingTask{taskID{asInt(row[0]), asText(row[1])}, asInt(row[2]), asInt(row[3])})
			return nil
		}, ask.Queue, plan, int64(most))
		if err != nil {
			return nil, err
		}
		if len(l.tasks) == 0 {
			if _, seen := empty[id.Workflow]; !seen {
				empty[id.Workflow] = true
			}
			continue
		}
		empty[id.Workflow] = false
		w.turns.admit(ask.Queue, id.Workflow)
		list = append(list, l)
	}
	for workflow, none := range empty {
		if none {
			w.turns.dismiss(ask.Queue, workflow)
		}
	}
	return list, nil
}

// first returns the lane with the next task, or nil.
func (w *writer) first(queue string, lanes []*lane) (best *lane) {
	round := w.turns.queues[queue]
	for _, l := range lanes {
		if len(l.tasks) == 0 {
			continue
		}
		if best == nil {
			best = l
			continue
		}
		a, b := &l.tasks[0], &best.tasks[0]
		if cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(round[l.workflow], round[best.workflow]), cmp.Compare(a.added, b.added)) < 0 {
			best = l
		}
	}
	return best
}

// ripen lets the tasks of a queue be taken whose time has come.
func (w *writer) ripen(queue string) error {
	type ripe struct {
		taskID
		priority int64
	}
	var list []ripe
	err := w.conn.query(dueTasks, func(row []driver.Value) error {
		list = append(list, ripe{taskID{asInt(row[0]), asText(row[1])}, asInt(row[2])})
		return nil
	}, queue, timeBytes(time.Now()))
	if err != nil {
		return err
	}
	for _, t := range list {
		if _, err := w.conn.exec(readyTask, ^t.priority, t.seq, t.id); err != nil {
			return err
		}
		w.note(notice{Notice: store.Notice{Queue: queue}})
	}
	return nil
}

// Pause implements [store.TaskQueue].
func (s *Store) Pause(ctx context.Context, queue string, paused bool) error {
	return s.do(ctx, func(w *writer) error {
		if !paused {
			w.note(notice{Notice: store.Notice{Queue: queue}})
		}
		_, err := w.conn.exec(pauseQueue, queue, boolValue(paused))
		return err
	})
}

// Queues implements [store.TaskQueue].
func (s *Store) Queues(ctx context.Context) (list []store.QueueState, err error) {
	err = s.do(ctx, func(w *writer) error {
		list = nil
		if err := w.lapse(); err != nil {
			return err
		}
		if err := w.eachQueue(w.ripen); err != nil {
			return err
		}
		states := map[string]*store.QueueState{}
		state := func(v driver.Value) *store.QueueState {
			name := asText(v)
			if states[name] == nil {
				states[name] = &store.QueueState{Name: name}
			}
			return states[name]
		}
		err := w.conn.query(countTasksOfQueues, func(row []driver.Value) error {
			q, n := state(row[0]), int(asInt(row[2]))
			switch asInt(row[1]) {
			case toTake:
				q.Waiting = n
			case later:
				q.Later = n
			default:
				q.Doing = n
			}
			return nil
		})
		if err != nil {
			return err
		}
		err = w.conn.query(pausedQueues, func(row []driver.Value) error {
			state(row[0]).Paused = true
			return nil
		})
		for _, q := range states {
			list = append(list, *q)
		}
		slices.SortFunc(list, func(a, b store.QueueState) int { return strings.Compare(a.Name, b.Name) })
		return err
	})
	return list, err
}
