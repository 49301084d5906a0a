package storemem

import (
	"context"
	"slices"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

// mostNotices is how many notices wait for a watcher to hear them. When there are more
// they are dropped, and it is told that it has missed some.
const mostNotices = 4096

// watcher is one call of Watch. Its fields belong to who has the store's mu, but for
// wake.
type watcher struct {
	by        store.Instance
	wake      chan struct{}
	notices   []store.Notice
	missed    bool
	claimable bool
}

// Watch implements [store.Store]. Beside what calls bring about, it tells when an
// execution or a task falls due, or a lease lapses.
func (s *Store) Watch(ctx context.Context, i store.Instance, tell func(store.Notice)) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	w := &watcher{by: i, wake: make(chan struct{}, 1), missed: true}
	w.wake <- struct{}{}
	s.watchers = append(s.watchers, w)
	s.stirred = true
	s.leave()
	defer s.unwatch(w)

	var heard []store.Notice
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.done:
			return store.ErrClosed
		case <-w.wake:
		}
		heard = s.take(w, heard[:0])
		for _, n := range heard {
			if ctx.Err() != nil {
				break
			}
			tell(n)
		}
	}
}

// take appends what there is to tell, and keeps the memory of the list for what comes.
func (s *Store) take(w *watcher, list []store.Notice) []store.Notice {
	s.mu.Lock()
	defer s.mu.Unlock()
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

func (s *Store) unwatch(w *watcher) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watchers = slices.DeleteFunc(s.watchers, func(other *watcher) bool { return other == w })
	if len(s.watchers) == 0 && s.alarm != nil {
		s.alarm.Stop()
	}
}

func (w *watcher) rouse() {
	select {
	case w.wake <- struct{}{}:
	default: // it is awake
	}
}

func (w *watcher) note(n store.Notice) {
	if len(w.notices) == mostNotices {
		w.notices, w.missed = w.notices[:0], true
	}
	w.notices = append(w.notices, n)
	w.rouse()
}

func (s *Store) tellMessage(owner *instance, key store.Key) {
	for _, w := range s.watchers {
		if w.by == owner.Instance {
			w.note(store.Notice{Message: key})
		}
	}
}

// tellFinished tells everybody but the writer, who knows.
func (s *Store) tellFinished(key store.Key, writer *instance) {
	for _, w := range s.watchers {
		if writer == nil || w.by != writer.Instance {
			w.note(store.Notice{Finished: key})
		}
	}
}

func (s *Store) tellDropped(doer *instance, t store.TaskHeld) {
	for _, w := range s.watchers {
		if w.by == doer.Instance {
			w.note(store.Notice{Dropped: t})
		}
	}
}

func (s *Store) tellQueue(name string) {
	for _, w := range s.watchers {
		w.note(store.Notice{Queue: name})
	}
}

func (s *Store) tellClaimable() {
	for _, w := range s.watchers {
		if !w.claimable {
			w.claimable = true
			w.rouse()
		}
	}
}

// setAlarm has the store look again when the next execution falls due or the next lease
// ends, as long as somebody is there to be told. What is due by now was told.
func (s *Store) setAlarm() {
	if len(s.watchers) == 0 || s.closed {
		return
	}
	now := time.Now()
	var next time.Time
	consider := func(at time.Time) {
		if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	for _, p := range s.plans {
		for _, line := range p.lines() {
			if e, at := line.first(); e != nil && at.After(now) {
				consider(at)
			}
		}
	}
	for _, i := range s.leased {
		consider(i.until)
	}
	for _, q := range s.tasks {
		if t := q.later.first(); t != nil && t.NotBefore.After(now) {
			consider(t.NotBefore)
		}
	}
	switch {
	case next.IsZero():
		if s.alarm != nil {
			s.alarm.Stop()
		}
	case s.alarm == nil:
		s.alarm = time.AfterFunc(next.Sub(now), s.ring)
	default:
		s.alarm.Reset(next.Sub(now))
	}
}

// anyClaimable says that an execution may be claimed.
func (s *Store) anyClaimable(now time.Time) bool {
	for _, p := range s.plans {
		for _, line := range p.lines() {
			if e, at := line.first(); e != nil && !at.After(now) {
				return true
			}
		}
	}
	return false
}

// ring is called when something has fallen due.
func (s *Store) ring() {
	s.mu.Lock()
	defer s.leave()
	if s.closed {
		return
	}
	now := time.Now()
	s.lapse(now)
	if s.anyClaimable(now) {
		s.tellClaimable()
	}
	for _, q := range s.tasks {
		if t := q.later.first(); t != nil && !t.NotBefore.After(now) {
			s.tellQueue(q.name)
		}
	}
	s.stirred = true
}
