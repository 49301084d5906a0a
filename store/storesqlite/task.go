package storesqlite

import (
	"context"
	"database/sql/driver"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

// line is where a task of a queue is.
type line = int64

const (
	toTake line = iota // in the order of priorities, and of those in which they were added
	later              // by the time from which it may be taken
	doing
)

// task is what the writer knows of a task, for as long as it is at it.
type task struct {
	e         *entry
	id, queue string
	priority  int64
	notBefore time.Time
	line      line
	attempt   uint64 // of whoever does it, or did it last
	doer      *instance
}

// rank is the place of a task that nobody does: a higher priority goes first.
func (t *task) rank() any {
	if t.line == later {
		return timeBytes(t.notBefore)
	}
	return ^t.priority
}

// addTasks adds tasks to an execution, each in the place of one with its ID.
func (w *writer) addTasks(e *entry, list []store.Task) error {
	now := time.Now()
	for i := range list {
		given := &list[i]
		if err := w.dropTask(e, given.ID); err != nil {
			return err
		}
		t := task{e: e, queue: given.Queue, priority: int64(given.Priority), notBefore: given.NotBefore}
		w.offer(&t, now)
		w.lastTask++
		_, err := w.conn.exec(putTask, e.seq, given.ID, given.Queue, int64(given.Priority), timeValue(given.NotBefore), bytesValue(given.Data),
			t.line, t.rank(), w.lastTask, e.plan)
		if err != nil {
			return err
		}
		e.tasks++
	}
	return nil
}

// offer says in which line a task is that nobody does.
func (w *writer) offer(t *task, now time.Time) {
	t.line = toTake
	if t.notBefore.After(now) {
		t.line = later
		w.due(t.notBefore)
		return
	}
	w.turns.admit(t.queue, t.e.Workflow)
	w.note(notice{Notice: store.Notice{Queue: t.queue}})
}

// task returns a task of an execution, or nil.
func (w *writer) task(e *entry, id string) (t *task, err error) {
	if e.tasks == 0 {
		return nil, nil //nolint:nilnil // there is none
	}
	err = w.conn.query(findTask, func(row []driver.Value) error {
		t = &task{
			e: e, id: id, queue: asText(row[0]), priority: asInt(row[1]), notBefore: asTime(row[2]), line: asInt(row[3]),
			attempt: asNumber(row[4]), doer: w.numbered[asInt(row[5])],
		}
		return nil
	}, e.seq, id)
	return t, err
}

// dropTask rids an execution of a task, if it has it.
func (w *writer) dropTask(e *entry, id string) error {
	t, err := w.task(e, id)
	if t == nil || err != nil {
		return err
	}
	if t.doer != nil {
		w.note(notice{Notice: store.Notice{Dropped: store.TaskHeld{Key: e.Key, ID: id, Attempt: t.attempt}}, only: t.doer.Instance})
	}
	return w.endTask(t)
}

func (w *writer) endTask(t *task) error {
	t.e.tasks--
	if t.line == doing { // there may be room for one more
		w.note(notice{Notice: store.Notice{Queue: t.queue}})
	}
	_, err := w.conn.exec(deleteTask, t.e.seq, t.id)
	return err
}

// dropAll rids an execution of its tasks.
func (w *writer) dropAll(e *entry) error {
	var ids []string
	err := w.conn.query(readTasks, func(row []driver.Value) error {
		ids = append(ids, asText(row[0]))
		return nil
	}, e.seq)
	for _, id := range ids {
		if err == nil {
			err = w.dropTask(e, id)
		}
	}
	return err
}

// doing returns the task when the instance does it under the attempt. The execution is nil
// when there is none.
func (w *writer) doing(i store.Instance, h store.TaskHeld) (*entry, *task, error) {
	e, err := w.find(h.Key)
	if e == nil || err != nil {
		return nil, nil, err
	}
	t, err := w.task(e, h.ID)
	if t == nil || err != nil || t.attempt != h.Attempt || t.doer == nil || t.doer.Instance != i {
		return e, nil, err
	}
	return e, t, nil
}

// taskID names a task in the file.
type taskID struct {
	seq int64
	id  string
}

func (w *writer) taskIDs(q statement, args ...any) (list []taskID, err error) {
	err = w.conn.query(q, func(row []driver.Value) error {
		list = append(list, taskID{asInt(row[0]), asText(row[1])})
		return nil
	}, args...)
	return list, err
}

// takeOne has an instance do a task, under the next attempt.
func (w *writer) takeOne(id taskID, by *instance, call uint64) error {
	e, err := w.findBySeq(id.seq)
	if e == nil || err != nil {
		return err // it is expired, and its tasks with it
	}
	e.takes++
	if _, err := w.conn.exec(setTakes, numberValue(e.takes), e.seq); err != nil {
		return err
	}
	_, err = w.conn.exec(takeTask, numberValue(e.takes), by.number, numberValue(call), id.seq, id.id)
	return err
}

// readTaken appends a task as it was taken.
func (w *writer) readTaken(list []store.Taken, id taskID) ([]store.Taken, error) {
	err := w.conn.query(readTaken, func(row []driver.Value) error {
		list = append(list, store.Taken{
			Task: store.Task{ID: id.id, Queue: asText(row[3]), Priority: int(asInt(row[4])), NotBefore: asTime(row[5]), Data: asBytes(row[6])},
			Key:  store.Key{Workflow: asText(row[0]), ID: asText(row[1])}, RunUID: asText(row[2]), Attempt: asNumber(row[7]), Unclean: asBool(row[8]),
		})
		return nil
	}, id.seq, id.id)
	return list, err
}

// Finish implements [store.TaskQueue].
func (s *Store) Finish(ctx context.Context, i store.Instance, h store.TaskHeld, m store.Message) error {
	return s.do(ctx, func(w *writer) error {
		if err := w.lapse(); err != nil {
			return err
		}
		e, t, err := w.doing(i, h)
		if err != nil {
			return err
		}
		if t != nil {
			if err := w.endTask(t); err != nil {
				return err
			}
			return w.deliver(e, m)
		}
		if e != nil && e.messages > 0 {
			if done, err := w.hasMessage(e, m.ID); done || err != nil {
				return err
			}
		}
		return &store.TaskLostError{Task: h, Instance: i}
	})
}

// PutBack implements [store.TaskQueue].
func (s *Store) PutBack(ctx context.Context, i store.Instance, list []store.TaskHeld) error {
	return s.do(ctx, func(w *writer) error {
		for _, h := range list {
			_, t, err := w.doing(i, h)
			if t == nil && err == nil {
				continue
			}
			if err == nil {
				err = w.putBack(t, false)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func (w *writer) putBack(t *task, unclean bool) error {
	w.offer(t, time.Now())
	_, err := w.conn.exec(putTaskBack, t.line, t.rank(), boolValue(unclean), t.e.seq, t.id)
	return err
}

// putAllBack lets others take what the instance does.
func (w *writer) putAllBack(i *instance, unclean bool) error {
	list, err := w.taskIDs(tasksOfDoer, i.number)
	if err != nil {
		return err
	}
	for _, id := range list {
		e, err := w.findBySeq(id.seq)
		if e == nil && err == nil {
			continue // it has expired, and its tasks with it
		}
		if err != nil {
			return err
		}
		t, err := w.task(e, id.id)
		if err == nil && t != nil {
			err = w.putBack(t, unclean)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
