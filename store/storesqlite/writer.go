package storesqlite

import (
	"cmp"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

// job is a call that changes something. Its run is called in a transaction, and again in
// another one when that was not committed; it sets what it answers afresh each time. An
// error of the file must be returned as it is: with any other one nothing was changed.
type job struct {
	gone  func() error // says that the caller's context has ended
	run   func(w *writer) error
	begun atomic.Bool // by the writer, or by the caller, who has given up
	err   error
	wait  *sync.WaitGroup // for the writer to be done with it
}

// do has the writer do something, and waits for its commit. While it is queued the context
// counts; after that the call is answered within the time that a commit takes: what it was
// given is in use as long.
func (s *Store) do(ctx context.Context, run func(w *writer) error) error {
	return s.doOne(ctx, run, false)
}

// doFirst is do for a call that waits for none before it.
func (s *Store) doFirst(ctx context.Context, run func(w *writer) error) error {
	return s.doOne(ctx, run, true)
}

func (s *Store) doOne(ctx context.Context, run func(w *writer) error, first bool) error {
	var wait sync.WaitGroup
	j := job{gone: ctx.Err, run: run, wait: &wait}
	s.doAll(ctx, []*job{&j}, first)
	return j.err
}

func (s *Store) doAll(ctx context.Context, jobs []*job, first bool) {
	if err := s.enqueue(ctx, jobs, first); err != nil {
		for _, j := range jobs {
			j.err = err
		}
		return
	}
	stop := context.AfterFunc(ctx, func() {
		for _, j := range jobs {
			if j.begun.CompareAndSwap(false, true) {
				j.err = ctx.Err()
				j.wait.Done()
			}
		}
	})
	jobs[0].wait.Wait()
	stop()
}

func (s *Store) enqueue(ctx context.Context, jobs []*job, first bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return store.ErrClosed
	case s.readOnly:
		return ErrReadOnly
	}
	jobs[0].wait.Add(len(jobs))
	if first {
		s.queue = slices.Insert(s.queue, 0, jobs...)
	} else {
		s.queue = append(s.queue, jobs...)
	}
	if len(s.queue) >= s.wakeAt {
		s.rouse()
	}
	return nil
}

func (s *Store) rouse() {
	select {
	case s.wake <- struct{}{}:
	default: // it is awake
	}
}

// writer is what the writing goroutine has.
type writer struct {
	s    *Store
	conn *conn // nil after a failure, until it is opened again

	entries   map[store.Key]*entry
	instances map[store.Instance]*instance
	numbered  map[int64]*instance
	leased    []*instance // those that have a lease
	moving    []*move
	workflows map[string]int64
	names     map[int64]string // of workflows, by number
	plans     map[store.PlanID]int64
	lastSeq   int64
	lastTask  int64
	opening   int64 // of this process, among those that have had instances
	turns     turns
	expiry    time.Time // before which nothing expires, when known
	known     bool      // expiry is

	// commit commits the transaction; tests put faults before and after it.
	commit func() error

	jobs      []*job        // has room for a group
	commits   int           // how many there were
	lastGroup int           // how many calls were in the last one
	lastTook  time.Duration // how long that took
	expected  int           // how many calls are on their way, as far as it can be told
	patience  *time.Timer   // for them

	notices []notice
	alarm   *time.Timer
	alarmAt time.Time // when it is to ring; zero is never
	stirred bool      // it is to be set
}

func newWriter(s *Store) *writer {
	w := &writer{s: s}
	w.commit = func() error {
		_, err := w.conn.exec(commitTx)
		return err
	}
	return w
}

// open opens the file, and reads what the writer knows of it.
func (w *writer) open() (err error) {
	mode := "FULL"
	if w.s.cfg.Sync == Relaxed {
		mode = "NORMAL"
	}
	c, err := connect(w.s.path, "mode=rw", append(common(), "synchronous = "+mode, fmt.Sprint("cache_size = -", writerCache),
		fmt.Sprint("wal_autocheckpoint = ", checkpoint), fmt.Sprint("journal_size_limit = ", longestLog))...)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			w.conn = nil
			err = errors.Join(err, c.close())
		}
	}()
	if err := c.writable(); err != nil {
		return err
	}
	version, id, err := c.check()
	if err != nil {
		return err
	}
	if w.s.id != "" && w.s.id != id {
		return &ForeignError{Path: w.s.path, Found: fmt.Sprintf("it is the store %q, and was %q", id, w.s.id)}
	}
	if w.s.id == "" { // it never changes after the store was opened
		w.s.id = id
	}
	if err := c.script("PRAGMA journal_mode = WAL"); err != nil { // whoever has looked into it may have left another
		return err
	}
	if err := c.migrate(migrations, version); err != nil {
		return err
	}
	w.conn = c
	return w.learn()
}

// learn reads what the writer knows.
func (w *writer) learn() error {
	w.entries = map[store.Key]*entry{}
	w.instances, w.numbered, w.leased = map[store.Instance]*instance{}, map[int64]*instance{}, nil
	w.workflows, w.names, w.plans = map[string]int64{}, map[int64]string{}, map[store.PlanID]int64{}
	w.moving, w.known, w.turns = nil, false, turns{}
	var before int64
	for _, q := range []struct {
		statement
		note func(row []driver.Value) error
	}{
		{allWorkflows, func(row []driver.Value) error {
			w.noteWorkflow(asInt(row[0]), asText(row[1]))
			return nil
		}},
		{allPlans, func(row []driver.Value) error {
			w.plans[store.PlanID{Workflow: w.names[asInt(row[1])], Fingerprint: asText(row[2])}] = asInt(row[0])
			return nil
		}},
		{allInstances, func(row []driver.Value) error {
			w.noteInstance(&instance{
				Instance: store.Instance{Node: asText(row[1]), Incarnation: asText(row[2])}, number: asInt(row[0]),
				state: leaseState(asInt(row[3])), until: asTime(row[4]), opening: asInt(row[5]),
			})
			before = max(before, asInt(row[5]))
			return nil
		}},
		{owners, func(row []driver.Value) error {
			if i := w.numbered[asInt(row[0])]; i != nil && (i.state == lapsed || i.state == ended) {
				w.moving = append(w.moving, &move{of: i})
			}
			return nil
		}},
		{lastExecution, func(row []driver.Value) error { w.lastSeq = max(w.lastSeq, asInt(row[0])); return nil }},
		{lastTask, func(row []driver.Value) error { w.lastTask = max(w.lastTask, asInt(row[0])); return nil }},
	} {
		if err := w.conn.query(q.statement, q.note); err != nil {
			return err
		}
	}
	w.opening = cmp.Or(w.opening, before+1) // it is the same when the file is opened again
	return nil
}

func (w *writer) noteWorkflow(number int64, name string) {
	w.workflows[name], w.names[number] = number, name
}

// write is the writing goroutine.
func (s *Store) write() {
	w := s.w
	w.alarm, w.patience = time.NewTimer(time.Hour), time.NewTimer(time.Hour)
	w.alarm.Stop()
	w.patience.Stop()
	defer w.alarm.Stop()
	for {
		select {
		case <-s.done:
			s.finish()
			return
		case <-s.wake:
		case <-w.alarm.C:
			w.rung()
		}
		for s.waiting() {
			w.group()
			select {
			case <-w.alarm.C: // what is due does not wait until there are no calls
				w.rung()
			default:
			}
		}
	}
}

// rung does what the alarm has rung for.
func (w *writer) rung() {
	w.attempt([]*job{w.own((*writer).ring)}, false)
	w.after()
	if w.alarmAt.IsZero() && w.s.watch.any() { // it has failed; the next call shows why
		w.due(time.Now().Add(time.Second))
		w.setAlarm()
	}
}

// waiting says that there are calls to be made.
func (s *Store) waiting() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.closed && len(s.queue) > 0
}

func (s *Store) queued() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.queue)
}

// own is something that the writer does of its own accord.
func (w *writer) own(run func(w *writer) error) *job {
	j := &job{gone: background.Err, run: run, wait: new(sync.WaitGroup)}
	j.wait.Add(1)
	return j
}

// next takes calls off the queue, as many as there is room for, and adds those to a group
// whose callers have not given up.
func (s *Store) next(group []*job, room int) []*job {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return group
	}
	n := min(len(s.queue), room)
	for _, j := range s.queue[:n] {
		if j.begun.CompareAndSwap(false, true) {
			group = append(group, j)
		}
	}
	rest := copy(s.queue, s.queue[n:])
	clear(s.queue[rest:])
	s.queue = s.queue[:rest]
	return group
}

// finish ends the store: what is queued was not begun.
func (s *Store) finish() {
	s.mu.Lock()
	queue := s.queue
	s.queue = nil
	s.mu.Unlock()
	for _, j := range queue {
		if j.begun.CompareAndSwap(false, true) {
			j.err = store.ErrClosed
			j.wait.Done()
		}
	}
	s.failure = s.closeAll()
	close(s.ended)
}

func (w *writer) begin() error {
	if w.conn == nil {
		if err := w.open(); err != nil {
			return err
		}
	}
	if _, err := w.conn.exec(begin); err != nil {
		if !errors.Is(err, ErrLocked) {
			w.drop()
		}
		return err
	}
	return nil
}

// rollback ends a transaction of which nothing is to stay. What the writer knows may be of
// that transaction, and is read again.
func (w *writer) rollback() error {
	// Some errors have rolled back by themselves: then there is nothing left to do, and
	// what follows shows whether the connection can be used.
	_, _ = w.conn.exec(rollbackTx)
	if err := w.learn(); err != nil {
		w.drop()
		return err
	}
	return nil
}

// doubt answers calls whose commit has failed. The file is opened again, and what stands in
// it is what has become of them. The readers' connections stay: as long as one is open the
// database does not take for committed what it finds at the end of its log, and may not
// have reached the disk.
func (w *writer) doubt(jobs []*job, err error) {
	failed := &FileError{Path: w.s.path, Doing: "commit to", Unknown: true, Err: err}
	if inner, ok := errors.AsType[*FileError](err); ok {
		failed.Err = inner.Err
	}
	_, _ = w.conn.exec(rollbackTx) // as far as there is anything left to roll back
	w.drop()
	if err := w.open(); err != nil {
		failed.Err = errors.Join(failed.Err, err) // the next call tries again
	}
	w.s.watch.miss()
	answer(jobs, failed)
}

// drop closes the connection after a failure.
func (w *writer) drop() {
	_ = w.conn.close() // what has failed was told
	w.conn = nil
}

// mostKnown bounds how many executions the writer knows from one group to the next.
const mostKnown = 16 << 10

// forgetSome forgets half of what the writer knows when it is too much: any half, which
// costs less than to note what is used.
func (w *writer) forgetSome() {
	if len(w.entries) <= mostKnown {
		return
	}
	for key := range w.entries {
		if len(w.entries) <= mostKnown/2 {
			return
		}
		delete(w.entries, key)
	}
}
