package lockmem

import (
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// waiter is a request that waits. Grant and err are set before done is closed,
// under the provider's mutex.
type waiter struct {
	req        driver.Request
	done       chan struct{}
	grant      driver.Grant
	err        error
	prev, next *waiter
}

// list has the waiters in the order in which they came.
type list struct{ first, last *waiter }

func (l *list) push(w *waiter) {
	w.prev = l.last
	if l.last != nil {
		l.last.next = w
	} else {
		l.first = w
	}
	l.last = w
}

func (l *list) remove(w *waiter) {
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		l.first = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		l.last = w.prev
	}
}

// grantWaiters serves every waiter whose keys are available. A waiter that one
// key holds up does not hold up others at another key. It requires mu.
func (p *Provider) grantWaiters(now time.Time) {
	for w := p.waiters.first; w != nil; {
		next := w.next
		grant, busy, err := p.try(&w.req, now)
		if busy == nil {
			p.waiters.remove(w)
			w.grant, w.err = grant, err
			close(w.done)
		}
		w = next
	}
}
