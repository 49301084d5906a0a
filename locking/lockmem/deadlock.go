package lockmem

import (
	"slices"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// member is a waiter of a circle, and what it waits for.
type member struct {
	w    *waiter
	wait driver.Wait
}

// deadlock looks for a circle of owners through a waiter, each of which waits for
// what the next one holds. It returns who is to be given up, and why, or nil.
func (p *Provider) deadlock(w *waiter) (victim *waiter, err *driver.DeadlockError) {
	p.queue.search++
	circle := p.circle(w, &w.bid, nil)
	if circle == nil {
		return nil, nil
	}
	youngest := 0
	for i := range circle {
		if younger(circle[i].w, circle[youngest].w) {
			youngest = i
		}
	}
	err = &driver.DeadlockError{Cycle: make([]driver.Wait, len(circle))}
	for i := range circle {
		err.Cycle[i] = circle[(youngest+i)%len(circle)].wait
	}
	return circle[youngest].w, err
}

// circle follows who waits for whom, until it is back at an owner that the start
// holds up. An anonymous owner is many: nobody knows what one of them waits for.
func (p *Provider) circle(w *waiter, start *bid, path []member) []member {
	w.asked = p.queue.search
	for _, l := range w.locks {
		if l == nil || !l.held || l.owner == w.request.Owner {
			continue
		}
		path := append(slices.Clip(path), member{w, driver.Wait{Owner: w.request.Owner, Key: l.key, Holder: l.owner}})
		if start.holdsUp(l.owner) {
			return path
		}
		for u := p.queue.ups[l.owner].first; u != nil; u = u.next {
			if u.w.asked == p.queue.search {
				continue
			}
			if found := p.circle(u.w, start, path); found != nil {
				return found
			}
		}
	}
	return nil
}

// younger says who of two is rather given up: one that does not compensate, then
// one outside executions, then the later birth, then who came last.
func younger(a, b *waiter) bool {
	switch ca, cb := a.score.class() == compensating, b.score.class() == compensating; {
	case ca != cb:
		return cb
	case (a.request.Born == 0) != (b.request.Born == 0):
		return a.request.Born == 0
	case a.request.Born != b.request.Born:
		return a.request.Born > b.request.Born
	}
	return a.score.number() > b.score.number()
}
