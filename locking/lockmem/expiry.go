package lockmem

import (
	"container/heap"
	"time"
)

// lapse frees what has reached its end, and serves those that waited for it. It
// requires the mutex.
func (p *Provider) lapse(now time.Time) {
	for len(p.table.ends) > 0 && !now.Before(p.table.ends[0].until) {
		p.free(p.table.ends[0])
	}
	p.serve(now)
}

// tick is the timer's callback. It does what every call does on its way in and
// out, so one that comes late or once too often is harmless.
func (p *Provider) tick() {
	p.mu.Lock()
	p.clock.fired()
	p.mu.Unlock()
	p.catchUp()
}

// catchUp is a call that asks for nothing.
func (p *Provider) catchUp() {
	if now, err := p.enter(); err == nil {
		p.leave(now)
	}
}

// clock is the one timer of a provider. The zero value has none yet.
type clock struct {
	timer *time.Timer
	at    time.Time // when it fires, zero when it does not
}

// arm makes the timer fire at the given moment, or earlier: one that is set for
// an earlier moment stays, so that locks which are freed long before their end
// leave the timer alone. A zero moment asks for nothing.
func (c *clock) arm(now, at time.Time, fire func()) {
	if at.IsZero() || !c.at.IsZero() && !at.Before(c.at) {
		return
	}
	c.at = at
	if c.timer == nil {
		c.timer = time.AfterFunc(at.Sub(now), fire)
		return
	}
	c.timer.Reset(at.Sub(now))
}

// fired notes that the timer is not set any more.
func (c *clock) fired() { c.at = time.Time{} }

func (c *clock) stop() {
	if c.timer != nil {
		c.timer.Stop()
	}
	*c = clock{}
}

// ends orders the locks that expire, the earliest first. It implements
// [heap.Interface] and tells each entry its place.
type ends []*entry

var _ heap.Interface = (*ends)(nil)

func (s ends) Len() int           { return len(s) }
func (s ends) Less(i, j int) bool { return s[i].until.Before(s[j].until) }

func (s ends) Swap(i, j int) {
	s[i], s[j] = s[j], s[i]
	s[i].place, s[j].place = i, j
}

// Push implements [heap.Interface].
func (s *ends) Push(x any) {
	e, ok := x.(*entry)
	if !ok {
		return
	}
	e.place = len(*s)
	*s = append(*s, e)
}

// Pop implements [heap.Interface].
func (s *ends) Pop() any {
	last := len(*s) - 1
	e := (*s)[last]
	(*s)[last] = nil
	*s = (*s)[:last]
	e.place = -1
	return e
}
