package lockredis

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// succession is a lock that this process hands on by itself: a grant named the waiters
// that stand right behind it, all of this process, and reserved tokens for them. When
// one has ended the next begins here, without a call. So where many callers of a process
// need a lock for next to no time, it goes through their hands at the speed of memory.
//
// Invariants:
//  1. Nobody else gets the lock in between: to the server the first one holds it, as
//     an offer, and the others are the first in its queue.
//  2. One begins only after the one before has been released by its caller, in the
//     order of the queue, and before closes: for that long it goes before others that have
//     come since and rank higher.
//  3. The server hears of a successor's hold when it is extended or released, and knows
//     then that those before have had their turn. From the first such call on nothing is
//     handed on here, and nothing of those before is ever sent.
//  4. When the hold ends in another way, those that have had their turn are still in the
//     server's queue: their end is said, like that of other requests.
type succession struct {
	holder  driver.Hold // who has it now
	until   time.Time   // when the offer lapses
	closes  time.Time
	closed  bool
	first   driver.Token
	waiting reader // the numbers of those whose turn is to come, in order: see requestID
	token   driver.Token
	ttl     time.Duration // that the holder asked for
	begun   []*wait       // the successors that have begun
}

// handingOn is how long a lock is handed on without the server's knowledge.
const handingOn = 5 * time.Millisecond

// briefly is how long holders have a lock at most that is worth handing on here: where
// they take longer a call does not matter.
const briefly = time.Millisecond

// successorsMost is how many successors a grant may name.
const successorsMost = 32

// succeed notes the successors of a grant that was told just now. It requires mu.
func (s *waits) succeed(first *driver.Granted, ttl time.Duration, ids reader) {
	if old := s.successions[first.Key]; old != nil { // of one that is closed parted sees to the rest
		s.forget(old, old.closed)
	}
	s.inLine.Add(1)
	s.successions[first.Key] = &succession{
		holder: first.Hold, until: first.Until, closes: time.Now().Add(s.handingOn),
		first: first.Token, token: first.Token, ttl: ttl, waiting: ids,
	}
}

// handOn releases a hold that has a successor here, which begins. It answers whether it
// did.
func (s *waits) handOn(hold *driver.Hold) bool {
	if s.inLine.Load() == 0 {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.successions[hold.Key]
	if l == nil || hold.Owner != l.holder.Owner || hold.Token != l.holder.Token {
		return false
	}
	now := time.Now()
	// The wall clock goes on while the machine sleeps.
	open := now.Before(l.closes) && now.Round(0).Before(l.closes.Round(0)) && now.Before(l.until)
	for open && !l.closed && l.waiting.more() {
		w := s.byNumber(l.waiting.text())
		l.token++
		if w == nil || len(w.ask.group.at) != 1 || w.ask.req.Keys[w.ask.group.at[0]] != hold.Key {
			continue // it has ended, and has said so or will
		}
		if len(l.begun) == 0 {
			s.wake(l.until.Add(time.Millisecond))
		}
		l.begun = append(l.begun, w)
		l.holder = driver.Hold{Key: hold.Key, Owner: w.ask.req.Owner, Generation: w.ask.req.Generation, Token: l.token}
		l.ttl = w.ask.req.TTL
		w.ask.group.hub.pay(1)
		s.finish(w, append(w.holds, driver.Granted{Hold: l.holder, Offer: true, Until: l.until}), nil)
		return true
	}
	return false
}

// ending is a succession of whose current hold the server is told. At is that hold's
// place in the call.
type ending struct {
	*succession

	at int
}

// gone is a token that no hold has.
const gone driver.Token = 1

// part is to be called before the server is told of holds. From then on those are not
// handed on here. It returns what may be sent: a hold that has ended here is changed in it
// to one that is not known, since to the server it may be the current one, and one that
// has no token to the one that has the lock.
func (s *waits) part(holds []driver.Hold) (sent []driver.Hold, list []ending) {
	if s.inLine.Load() == 0 {
		return holds, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	sent = holds
	change := func(i int, token driver.Token) {
		if sent[i].Token == token {
			return
		}
		if &sent[0] == &holds[0] {
			sent = slices.Clone(holds)
		}
		sent[i].Token = token
	}
	for i := range holds {
		l := s.successions[holds[i].Key]
		switch token := holds[i].Token; {
		case l == nil, token != 0 && token < l.first, token > l.holder.Token:
		case (token == 0 || token == l.holder.Token) && holds[i].Owner == l.holder.Owner:
			l.closed = true
			list = append(list, ending{l, i})
			change(i, l.holder.Token)
		default:
			change(i, gone)
		}
	}
	return sent, list
}

// parted notes what the server has said of the current hold of a succession.
func (s *waits) parted(e ending, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(e.succession, known)
}

// forget ends a succession. If the server has not been told of its last hold, those that
// have had their turn may still be in its queue. It requires mu.
func (s *waits) forget(l *succession, known bool) {
	if s.successions[l.holder.Key] == l {
		delete(s.successions, l.holder.Key)
		s.inLine.Add(-1)
	}
	if !known {
		s.endBegun(l)
	}
}

// endBegun has the end of those said that have had their turn. It requires mu.
func (s *waits) endBegun(l *succession) {
	for _, w := range l.begun {
		e := w.leaving()
		s.left[e.name()] = &e
		s.wake(time.Now())
	}
	l.begun = nil
}

// overtaken ends the succession of a key that the server has given on without having been
// told of the last hold: it has lapsed there, was deleted or freed by somebody else. It
// requires mu.
func (s *waits) overtaken(key string) {
	if l := s.successions[key]; l != nil && !l.closed {
		l.closed = true
		s.endBegun(l)
	}
}

// allOvertaken ends all successions: the server may have forgotten their locks.
func (s *waits) allOvertaken() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.successions {
		s.overtaken(key)
	}
}

// regranted sees to a grant that was made to a request which has had its turn.
func (s *waits) regranted(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, l := range s.successions {
		if slices.ContainsFunc(l.begun, func(w *wait) bool { return w.ask.id == id }) {
			s.overtaken(key)
			s.endBegun(l)
		}
	}
}

// doubt sees to those that have had their turn where the server may not have been told of
// the last hold.
func (s *waits) doubt(list []ending) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range list {
		s.endBegun(e.succession)
	}
}

// lapsed forgets the successions whose offers have lapsed, and returns when the next one
// does. It requires mu.
func (s *waits) lapsed(now time.Time) (next time.Time) {
	for _, l := range s.successions {
		if at := l.until.Add(time.Millisecond); now.After(l.until) {
			s.forget(l, false)
		} else if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	return next
}

// current is the hold of a succession that the server does not know of yet, and the time
// to live that it asked for.
func (s *waits) current(key string) (hold driver.Hold, ttl time.Duration, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.successions[key]
	if l == nil || l.closed {
		return driver.Hold{}, 0, false
	}
	return l.holder, l.ttl, true
}

// tellOf tells the server, beside the caller, who has a lock that is handed on here: it is
// asked. What is released meanwhile is known then, too.
func (p *Provider) tellOf(key string) {
	hold, ttl, ok := p.waits.current(key)
	if !ok || p.life.enter() != nil {
		return
	}
	go func() {
		defer p.life.leave()
		ctx, cancel := context.WithTimeout(context.Background(), tickTime)
		defer cancel()
		if _, err := p.Extend(ctx, ttl, []driver.Hold{hold}); err != nil {
			p.log.Debug("lockredis: it could not be said who has a lock; it is known when that is released or extended", "key", key, "error", err)
		}
	}()
}

const (
	// sureSoon is how long is waited at most for what is only looked at, sureAtLast until it
	// is surely known: what was handed on has been told of by then, or has lapsed.
	sureSoon   = 50 * time.Millisecond
	sureAtLast = 5 * time.Second
)

// UnsureError means that it could not be found out who holds a lock: the process that has
// it neither answered nor let it lapse.
type UnsureError struct{ Key string }

func (e *UnsureError) Error() string {
	return fmt.Sprintf("lockredis: it could not be found out who holds %q", e.Key)
}

// untilSure asks until the answer is sure, or the time is up.
func (p *Provider) untilSure(ctx context.Context, bound time.Duration, ask func() (unsure bool, err error)) (unsure bool, err error) {
	var deadline time.Time
	for times := 1; ; times++ {
		unsure, err = ask()
		if err != nil || !unsure {
			return unsure, err
		}
		if times == 1 {
			deadline = time.Now().Add(bound)
		} else if !time.Now().Before(deadline) {
			return true, nil
		}
		if err := p.pause(ctx, times, deadline); err != nil {
			return true, err
		}
	}
}

// mayName is how many successors the grant may name that a release makes, none where they
// would not come to begin here, and how many patient requests there are at least for them
// to go along: where others want the lock, too, those of this process are to stand
// together.
func (s *waits) mayName(g *group) (successors, company int) {
	if len(g.places) > 1 {
		return 0, 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.watched[g.places[0].lock]
	if v == nil {
		return 0, 0
	}
	v.brief = time.Since(v.granted) <= s.briefly
	if !v.brief {
		return 0, 0
	}
	return successorsMost, v.count
}
