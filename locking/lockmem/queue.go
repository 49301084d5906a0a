package lockmem

import (
	"cmp"
	"iter"
	"slices"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// waiter is a request that waits. It stands in the line of each of its keys.
type waiter struct {
	ticket uint64
	req    driver.Request
	done   chan struct{} // closed when grant and err are final
	grant  driver.Grant
	err    error
}

// settle answers the waiter, which must be in no line any more. It requires the
// provider's mutex.
func (w *waiter) settle(grant driver.Grant, err error) {
	w.grant, w.err = grant, err
	close(w.done)
}

// settled requires the provider's mutex.
func (w *waiter) settled() bool {
	select {
	case <-w.done:
		return true
	default:
		return false
	}
}

// queue is who waits. The provider's mutex guards it.
type queue struct {
	lines  map[string][]*waiter // by key, in the order of their tickets, none empty
	ticket uint64               // the last one given out
	// changed are the keys on which something happened since their waiters were
	// last looked at.
	changed []string
}

func newQueue() queue {
	return queue{lines: map[string][]*waiter{}}
}

// join puts a request at the end of its keys' lines.
func (q *queue) join(req driver.Request) *waiter {
	q.ticket++
	w := &waiter{ticket: q.ticket, req: req, done: make(chan struct{})}
	for _, key := range req.Keys {
		q.lines[key] = append(q.lines[key], w)
	}
	return w
}

// remove takes a waiter out of its lines.
func (q *queue) remove(w *waiter) {
	for _, key := range w.req.Keys {
		line := q.lines[key]
		i, ok := slices.BinarySearchFunc(line, w.ticket, func(o *waiter, ticket uint64) int {
			return cmp.Compare(o.ticket, ticket)
		})
		switch {
		case !ok:
		case len(line) == 1:
			delete(q.lines, key)
		default:
			q.lines[key] = slices.Delete(line, i, i+1)
		}
	}
}

// touch notes that something happened to a key.
func (q *queue) touch(key string) {
	if len(q.lines[key]) > 0 {
		q.changed = append(q.changed, key)
	}
}

// due returns the waiters of all changed keys in the order of their tickets, and
// forgets the changes.
func (q *queue) due() []*waiter {
	var due []*waiter
	for _, key := range q.changed {
		due = append(due, q.lines[key]...)
	}
	if len(q.changed) > 1 {
		slices.SortFunc(due, func(a, b *waiter) int { return cmp.Compare(a.ticket, b.ticket) })
		due = slices.Compact(due)
	}
	q.changed = nil
	return due
}

// all returns every waiter once.
func (q *queue) all() iter.Seq[*waiter] {
	return func(yield func(*waiter) bool) {
		for key, line := range q.lines {
			for _, w := range line {
				if w.req.Keys[0] == key && !yield(w) {
					return
				}
			}
		}
	}
}

// serve grants, in the order of their tickets, every waiter whose keys are all
// available, and sends away those that a later generation of their owner has
// overtaken. It requires the mutex.
//
// A waiter that lacks one key does not keep others from its other keys.
func (p *Provider) serve(now time.Time) {
	for len(p.queue.changed) > 0 {
		for _, w := range p.queue.due() {
			p.try(w, now)
		}
	}
}

func (p *Provider) try(w *waiter, now time.Time) {
	grant, busy, err := p.take(&w.req, now)
	if busy != nil {
		return
	}
	p.queue.remove(w)
	w.settle(grant, err)
}

// take gives the request its keys if all of them are available, and returns the
// lock that is in the way if not. It requires the mutex.
func (p *Provider) take(req *driver.Request, now time.Time) (grant driver.Grant, busy *entry, err error) {
	if busy, err = p.table.judge(req); busy != nil || err != nil {
		return driver.Grant{}, busy, err
	}
	grant = p.table.take(req, now)
	if req.Generation != (driver.Generation{}) {
		for _, key := range req.Keys {
			p.queue.touch(key) // earlier generations that wait there are revoked
		}
	}
	return grant, nil, nil
}

// free frees a key. It requires the mutex; serve must follow.
func (p *Provider) free(e *entry) {
	p.table.remove(e)
	p.queue.touch(e.key)
}
