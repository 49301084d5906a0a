package storesqlite

import (
	"context"
	"database/sql/driver"
	"slices"
	"sync"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

// mostNotices is how many notices wait for a watcher to hear them. When there are more
// they are dropped, and it is told that it has missed some.
const mostNotices = 4096

// notice is what some watchers are told after a commit: all of them, only those of an
// instance, or those of all but one.
type notice struct {
	store.Notice
	only, not store.Instance
}

func (n *notice) concerns(i store.Instance) bool {
	return (n.only.None() || n.only == i) && (n.not.None() || n.not != i)
}

// note has watchers told of something once it is committed.
func (w *writer) note(n notice) {
	if w.s.watch.any() {
		w.notices = append(w.notices, n)
	}
}

// watchers are the calls of Watch that go on.
type watchers struct {
	mu   sync.Mutex
	list []*watcher
}

func (ws *watchers) any() bool {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	return len(ws.list) > 0
}

func (ws *watchers) tell(notices []notice) {
	if len(notices) == 0 {
		return
	}
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, w := range ws.list {
		for i := range notices {
			if notices[i].concerns(w.by) {
				w.add(notices[i].Notice)
			}
		}
	}
}

// miss tells all that they may have missed something.
func (ws *watchers) miss() {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, w := range ws.list {
		w.missed = true
		w.rouse()
	}
}

func (ws *watchers) begin(w *watcher) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.list = append(ws.list, w)
}

func (ws *watchers) end(w *watcher) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.list = slices.DeleteFunc(ws.list, func(other *watcher) bool { return other == w })
}

// heard appends what there is to tell, and keeps the memory of the list for what comes.
func (ws *watchers) heard(w *watcher, list []store.Notice) []store.Notice {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if w.missed {
		list = append(list, store.Notice{Missed: true})
	}
	if w.claimable {
		list = append(list, store.Notice{Claimable: true})
	}
	list = append(list, w.notices...)
	w.missed, w.claimable, w.notices = false, false, w.notices[:0]
	return list
}

// watcher is one call of Watch. Its fields belong to who has the mutex, but for wake.
type watcher struct {
	by        store.Instance
	wake      chan struct{}
	notices   []store.Notice
	missed    bool
	claimable bool
}

func (w *watcher) rouse() {
	select {
	case w.wake <- struct{}{}:
	default: // it is awake
	}
}

func (w *watcher) add(n store.Notice) {
	switch {
	case n.Claimable:
		w.claimable = true
	case len(w.notices) == mostNotices:
		w.notices, w.missed = append(w.notices[:0], n), true
	default:
		w.notices = append(w.notices, n)
	}
	w.rouse()
}

// Watch implements [store.Store]. It tells what the calls of this process bring about, and
// when an execution or a task falls due, or a lease lapses.
func (s *Store) Watch(ctx context.Context, i store.Instance, tell func(store.Notice)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-s.done:
		return store.ErrClosed
	default:
	}
	if s.readOnly {
		return ErrReadOnly
	}
	w := &watcher{by: i, wake: make(chan struct{}, 1), missed: true}
	w.rouse()
	s.watch.begin(w)
	defer s.watch.end(w)
	// What falls due was not looked for while nobody listened.
	if err := s.do(ctx, (*writer).ring); err != nil {
		return err
	}
	var heard []store.Notice
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.done:
			return store.ErrClosed
		case <-w.wake:
		}
		heard = s.watch.heard(w, heard[:0])
		for _, n := range heard {
			if ctx.Err() != nil {
				break
			}
			tell(n)
		}
	}
}

// due has the writer look again at a time, or before.
func (w *writer) due(at time.Time) {
	if w.alarmAt.IsZero() || at.Before(w.alarmAt) {
		w.alarmAt, w.stirred = at, true
	}
}

// setAlarm sets the alarm anew, as long as somebody is there to be told.
func (w *writer) setAlarm() {
	if w.stirred = false; w.s.watch.any() {
		w.alarm.Reset(max(time.Until(w.alarmAt), time.Millisecond))
	}
}

// lookAhead finds out when the next execution or task falls due, or the next lease ends.
func (w *writer) lookAhead() error {
	now := time.Now()
	w.alarmAt = time.Time{}
	w.due(now.Add(never))
	sooner := func(row []driver.Value) error { //nolint:unparam // as queries call it
		w.due(asTime(row[0]))
		return nil
	}
	for _, plan := range w.plans {
		if err := w.conn.query(readyLater, sooner, plan, timeBytes(now)); err != nil {
			return err
		}
	}
	err := w.conn.query(firstLater, func(row []driver.Value) error {
		w.due(time.Unix(asInt(row[0]), 0))
		return nil
	})
	if err != nil {
		return err
	}
	for _, i := range w.leased {
		w.due(i.until)
	}
	return w.eachQueue(func(queue string) error { return w.conn.query(laterTask, sooner, queue) })
}

// eachQueue calls a function for each queue that has tasks whose time is to come.
func (w *writer) eachQueue(do func(queue string) error) error {
	var list []string
	err := w.conn.query(queuesLater, func(row []driver.Value) error {
		list = append(list, asText(row[0]))
		return nil
	})
	for _, queue := range list {
		if err == nil {
			err = do(queue)
		}
	}
	return err
}

// ring tells what has fallen due, and looks ahead. Of what is much it does a step, and has
// the alarm ring for the next one, so that calls go between.
func (w *writer) ring() error {
	w.alarmAt = time.Time{}
	if !w.s.watch.any() {
		return nil
	}
	if err := w.lapse(); err != nil {
		return err
	}
	if _, err := w.approach(); err != nil {
		return err
	}
	claimable, err := w.claimable()
	if err != nil {
		return err
	}
	if !claimable { // else who claims goes on with it
		if _, err := w.move(); err != nil {
			return err
		}
		if claimable, err = w.claimable(); err != nil {
			return err
		}
	}
	if claimable {
		w.note(notice{Notice: store.Notice{Claimable: true}})
	}
	if err := w.eachQueue(w.ripen); err != nil {
		return err
	}
	if err := w.lookAhead(); err != nil {
		return err
	}
	if len(w.moving) > 0 && !claimable {
		w.due(time.Now())
	}
	return nil
}

// claimable says that there is something that may be claimed, of whatever plan.
func (w *writer) claimable() (bool, error) {
	now := timeBytes(time.Now())
	for _, plan := range w.plans {
		list, err := w.numbers(readyOfPlan, plan, now, int64(1))
		if len(list) > 0 || err != nil {
			return true, err
		}
	}
	return false, nil
}
