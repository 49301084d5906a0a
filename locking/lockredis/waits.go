package lockredis

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// wait is a request of this process that stands in a queue, or is about to. Its
// fields but for done are guarded by waits.mu until it is settled.
type wait struct {
	ask     *ask
	done    chan struct{}    // gets something when holds and err are final
	holds   []driver.Granted // of a ticket: what is offered to it, or was when it ended
	err     error
	asked   time.Time // it was surely not granted before
	settled bool
	came    time.Time // stating it again changes nothing
	dropped bool      // the caller does not wait any more
	began   bool      // the server has said that it waits
	missed  bool      // it had not begun when all were stated again
	offered bool      // a ticket may claim the holds
}

// lapses says that a ticket's offer has surely ended on the server, or may have.
func (w *wait) lapses(now time.Time) bool {
	return w.offered && slices.ContainsFunc(w.holds, func(g driver.Granted) bool {
		return !g.Until.IsZero() && now.After(g.Until)
	})
}

// waits is who waits in this process, and on which locks.
//
// A wait is entered before its request is sent, so that a grant which overtakes
// the answer finds it.
type waits struct {
	process string // the name of this one

	mu      sync.Mutex
	byID    map[string]*wait
	watched map[string]*watched // by lock
	queued  atomic.Int64        // waits that the server has put into a queue
	wake    func(at time.Time)  // tells the clock that something is due
	arm     func(lock string)   // has the server tell when another program frees a lock
	// left are requests that have ended, and that the server may not know of.
	left map[string]*leaving
	// offers are the tickets that have them, by what is offered.
	offers map[offerKey]*wait
	// successions are the locks that this process hands on by itself, by key. There are
	// inLine of them.
	successions map[string]*succession
	inLine      atomic.Int64
	// Tests change these.
	handingOn, briefly time.Duration
}

// watched is a lock that somebody here waits for.
type watched struct {
	group group // the lock alone
	count int
	due   time.Time // when its holder may have lapsed; zero: it does not
	alien bool      // its holder is another program, which tells nobody of its release
	// granted is when somebody here got it last.
	granted time.Time
	brief   bool // whoever had it last here had it for a moment only
}

func newWaits(process string, wake func(time.Time), arm func(string)) *waits {
	return &waits{
		process: process, byID: map[string]*wait{}, watched: map[string]*watched{}, wake: wake, arm: arm,
		left: map[string]*leaving{}, offers: map[offerKey]*wait{}, successions: map[string]*succession{},
		handingOn: handingOn, briefly: briefly,
	}
}

// byNumber finds a wait by the number of its request: see requestID. It requires mu.
func (s *waits) byNumber(number string) *wait {
	var room [64]byte
	return s.byID[string(append(append(append(room[:0], s.process...), '.'), number...))]
}

// add enters a request that is about to be sent.
func (s *waits) add(a *ask) *wait {
	w := a.room
	if w == nil {
		w = &wait{}
	}
	w.ask, w.done, w.asked = a, getSignal(), time.Now()
	w.came = w.asked
	s.mu.Lock()
	s.byID[a.id] = w
	s.mu.Unlock()
	return w
}

// drop takes a wait out. It answers true when the wait was settled before: holds
// and err are then what counts.
func (s *waits) drop(w *wait) (settled bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.settled {
		return true
	}
	s.remove(w)
	w.dropped = true
	return false
}

// remove requires mu.
func (s *waits) remove(w *wait) {
	delete(s.byID, w.ask.id)
	s.unlist(w)
	if w.began {
		s.queued.Add(-1)
		s.unwatch(w.ask.group)
	}
}

// settle answers a wait, if it still is there. The successors are those that its grant
// names.
func (s *waits) settle(id string, holds []driver.Granted, successors reader, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.byID[id]
	if w == nil {
		return
	}
	for i := range holds {
		s.overtaken(holds[i].Key)
	}
	if successors.more() {
		s.succeed(&holds[0], w.ask.req.TTL, successors)
	}
	s.finish(w, holds, err)
}

// finish requires mu.
func (s *waits) finish(w *wait, holds []driver.Granted, err error) {
	if err == nil && w.began {
		now := time.Now()
		for i := range w.ask.group.places {
			s.watched[w.ask.group.places[i].lock].granted = now
		}
	}
	s.remove(w)
	s.answer(w, holds, err)
}

// answer says to the caller of a wait, if he is still there, what has come of it. It
// requires mu.
func (s *waits) answer(w *wait, holds []driver.Granted, err error) {
	if w.dropped {
		return
	}
	w.holds, w.err, w.settled = holds, err, true
	w.done <- struct{}{} // it has room for one
}

// begin notes that the server has put a request into the queue.
func (s *waits) begin(w *wait, got *answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byID[w.ask.id] != w { // it has ended: a ticket may be claimed before its Enqueue is answered
		return
	}
	if got.place > 0 {
		w.ask.place = got.place
	}
	if !w.began {
		w.began = true
		s.queued.Add(1)
		s.watch(w.ask.group)
	}
	if got.kind == answerWaiting {
		lock := w.ask.group.places[got.busy].lock
		s.see(lock, got.left, got.alien)
		if got.alien {
			s.arm(lock)
		}
	}
	if got.more {
		s.wake(time.Now())
	}
}

// watch requires mu.
func (s *waits) watch(g *group) {
	for _, pl := range g.places {
		v := s.watched[pl.lock]
		if v == nil {
			v = &watched{group: group{hub: g.hub, places: []place{pl}}}
			s.watched[pl.lock] = v
		}
		v.count++
	}
	s.wake(time.Now().Add(tickInterval))
}

// unwatch requires mu.
func (s *waits) unwatch(g *group) {
	for _, pl := range g.places {
		if v := s.watched[pl.lock]; v != nil {
			if v.count--; v.count == 0 {
				delete(s.watched, pl.lock)
			}
		}
	}
}

// busy says that a request for a lock can go along with the next release, which is
// soon: a crowd waits here, or the lock is handed on here.
func (s *waits) busy(key, lock string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.successions[key]; l != nil && !l.closed && l.waiting.more() {
		return true
	}
	v := s.watched[lock]
	return v != nil && (v.count >= crowd || v.brief && v.count >= 2)
}

// see notes what is known of a lock's holder; it requires mu.
func (s *waits) see(lock string, left time.Duration, alien bool) {
	v := s.watched[lock]
	if v == nil {
		return
	}
	v.alien = alien
	v.due = time.Time{}
	if left >= 0 {
		v.due = time.Now().Add(left + time.Millisecond)
		s.wake(v.due)
	}
}

// find returns a wait that is there, and the moment before which it was surely not
// granted.
func (s *waits) find(id string) (a *ask, since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.byID[id]
	if w == nil {
		return nil, time.Time{}
	}
	since = w.asked
	if mark := w.ask.group.hub.mark; mark.After(since) {
		since = mark
	}
	return w.ask, since
}
