package lockmem

import (
	"container/heap"
	"slices"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// The classes of requests: each goes before all of the next one.
const (
	compensating = iota
	holding      // its owner, or one around it, holds something
	plain
)

// classBits is where the class stands in a score, above the number.
const classBits = 56

// score is a place in the order of all requests: its class, then the number in
// which it came. The lowest goes first.
type score uint64

func (s score) class() int     { return int(s >> classBits) }
func (s score) number() uint64 { return uint64(s & (1<<classBits - 1)) }

// last is behind everybody of a class who waits.
func last(class int) score { return score(class+1)<<classBits - 1 }

// bid is a request beside the locks of its keys; nil stands for a key that has
// none.
type bid struct {
	req   *driver.Request
	locks []*lock
	score score
}

// holdsUp says that an owner gives nothing back before the request is answered.
func (b *bid) holdsUp(owner string) bool {
	return owner != driver.Anonymous && (b.req.Owner == owner || slices.Contains(b.req.Enclosing, owner))
}

// waiter is a request that waits, or did: a ticket's place is kept while its offer
// or its hold stands.
type waiter struct {
	bid

	request driver.Request // which bid points to
	since   time.Time
	state   waitState
	places  []place // in the lines, one for each lock
	ups     []up    // one for each owner that it holds up

	// done is closed when grant and err are final. A ticket has none.
	done   chan struct{}
	grant  driver.Grant
	err    error
	ticket string

	// What searches note: the number of the last one that came by.
	asked, walked uint64
	fit           bool // it is among those that fit
}

// waitState is what has become of a waiter.
type waitState int

const (
	arriving waitState = iota // or aside, until others were served: it stands in no line
	waiting
	offered
	claimed
	ended
)

// isTicket says that nobody waits for the answer on its stack.
func (w *waiter) isTicket() bool { return w.done == nil }

// settle answers who waits on its stack.
func (w *waiter) settle(grant driver.Grant, err error) {
	if w.done != nil {
		w.grant, w.err = grant, err
		close(w.done)
	}
}

// line is who waits for a key, the first of them first. It implements
// [heap.Interface] and tells each its place.
type line []*place

// place is where a waiter stands in a line.
type place struct {
	w  *waiter
	at int
}

var _ heap.Interface = (*line)(nil)

func (s line) Len() int           { return len(s) }
func (s line) Less(i, j int) bool { return s[i].w.score < s[j].w.score }

func (s line) Swap(i, j int) {
	s[i], s[j] = s[j], s[i]
	s[i].at, s[j].at = i, j
}

// Push implements [heap.Interface].
func (s *line) Push(x any) {
	pl, ok := x.(*place)
	if !ok {
		return
	}
	pl.at = len(*s)
	*s = append(*s, pl)
}

// Pop implements [heap.Interface].
func (s *line) Pop() any {
	last := len(*s) - 1
	pl := (*s)[last]
	(*s)[last] = nil
	*s = (*s)[:last]
	return pl
}

// first is who goes first, or nil.
func (s line) first() *waiter {
	if len(s) == 0 {
		return nil
	}
	return s[0].w
}

// up lists a waiter under an owner that it holds up.
type up struct {
	w          *waiter
	owner      string
	next, prev *up
}

// upList is the waiters that hold up an owner, in the order in which they came.
type upList struct{ first, last *up }

// queue is who waits. The provider's mutex guards it.
type queue struct {
	number uint64 // the last one given out
	ups    map[string]upList
	search uint64 // the number of the last search for a circle, or for who waits for whom
	walk   uint64 // the number of the last walk through those who may go on
}

func newQueue() queue { return queue{ups: map[string]upList{}} }

// next is the score of a request that comes now.
func (q *queue) next(class int) score {
	q.number++
	return score(class)<<classBits | score(q.number)
}

// join puts a waiter into the lines of all its keys, which get locks.
func (p *Provider) join(w *waiter) {
	w.state = waiting
	if w.places == nil {
		w.places = make([]place, len(w.request.Keys))
	}
	for i, key := range w.request.Keys {
		l := p.table.lock(key)
		w.locks[i], w.places[i].w = l, w
		heap.Push(&l.line, &w.places[i])
	}
	if w.ups == nil {
		w.ups = make([]up, 0, 1+len(w.request.Enclosing))
		for owner := range heldUp(&w.request) {
			w.ups = append(w.ups, up{w: w, owner: owner})
		}
	}
	for i := range w.ups {
		p.queue.list(&w.ups[i])
	}
}

// heldUp are the owners that a request holds up, each once.
func heldUp(req *driver.Request) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		if req.Owner != driver.Anonymous && !yield(req.Owner) {
			return
		}
		for i, owner := range req.Enclosing {
			switch {
			case owner == req.Owner, owner == driver.Anonymous, slices.Contains(req.Enclosing[:i], owner):
			case !yield(owner):
				return
			}
		}
	}
}

// quit takes a waiter out of all lines. Where a key is free that lets others go on.
func (p *Provider) quit(w *waiter) {
	for i, l := range w.locks {
		heap.Remove(&l.line, w.places[i].at)
		p.changes.freed(l)
		p.table.drop(l)
	}
	for i := range w.ups {
		p.queue.unlist(&w.ups[i])
	}
}

func (q *queue) list(u *up) {
	s := q.ups[u.owner]
	u.next, u.prev = nil, s.last
	if s.last == nil {
		s.first = u
	} else {
		s.last.next = u
	}
	s.last = u
	q.ups[u.owner] = s
}

func (q *queue) unlist(u *up) {
	s := q.ups[u.owner]
	if u.prev == nil {
		s.first = u.next
	} else {
		u.prev.next = u.next
	}
	if u.next == nil {
		s.last = u.prev
	} else {
		u.next.prev = u.prev
	}
	if s.first == nil {
		delete(q.ups, u.owner)
	} else {
		q.ups[u.owner] = s
	}
	u.next, u.prev = nil, nil
}
