package locking

import (
	"container/heap"
	"time"
)

// glance is the longest time between two looks at the clocks while a lock has an
// end: timers stand still while the machine sleeps.
const glance = 500 * time.Millisecond

// agenda is what is to be done with the holds at a provider, the earliest first:
// end, renew, warn. There is one timer for all of them, and no goroutine unless
// something is due. Its fields are guarded by holds.mu.
type agenda struct {
	list  agendaList
	timer *time.Timer
	at    instant       // when the timer fires; zero: it is not set
	skew  time.Duration // of the clocks, when the list was last reckoned
}

func (a *agenda) stop() {
	if a.timer != nil {
		a.timer.Stop()
	}
	a.list, a.at = nil, 0
}

// schedule puts a hold where it belongs in the agenda; it requires mu. A hold that
// has ended, and is kept in mind, waits for its lease to lapse.
func (hs *holds) schedule(h *hold) {
	h.next = h.due()
	if h.cause == nil {
		h.next = earliest(earliest(h.next, h.renewAt), h.warnAt())
	}
	a := &hs.agenda
	switch {
	case h.next == 0:
		hs.unschedule(h)
		return
	case h.place < 0:
		heap.Push(&a.list, h)
	default:
		heap.Fix(&a.list, int(h.place))
	}
	hs.arm()
}

func (hs *holds) unschedule(h *hold) {
	if h.place >= 0 {
		heap.Remove(&hs.agenda.list, int(h.place))
	}
}

// arm makes sure that the timer fires in time; it requires mu. One that is set for
// an earlier moment stays, so that locks which are given back long before their end
// leave the timer alone.
func (hs *holds) arm() {
	a := &hs.agenda
	if hs.closed || len(a.list) == 0 {
		return
	}
	if first := a.list[0].next; a.at != 0 && a.at <= first {
		return
	}
	now := hs.clock.read()
	at := min(a.list[0].next, now.mono.add(glance))
	if a.at != 0 && a.at <= at {
		return
	}
	a.at = at
	if wait := at.sub(now.mono); a.timer == nil {
		a.timer = time.AfterFunc(wait, hs.tick)
	} else {
		a.timer.Reset(wait)
	}
}

// tick does what is due.
func (hs *holds) tick() {
	var over cancellations
	hs.mu.Lock()
	if hs.closed {
		hs.mu.Unlock()
		return
	}
	hs.running++
	defer hs.ended()
	hs.agenda.at = 0
	now := hs.clock.read()
	hs.reckon(now)
	var due renewals
	for list := &hs.agenda.list; len(*list) > 0 && (*list)[0].next <= now.mono; {
		h := (*list)[0]
		switch {
		case h.over(now):
			hs.lapse(h, now, &over)
			continue
		case h.renewAt != 0 && h.renewAt <= now.mono:
			due.add(h, now)
		}
		hs.warn(h, now)
		hs.schedule(h)
	}
	hs.renewDue(due, now)
	hs.arm()
	hs.mu.Unlock()
	over.tell()
}

// reckon looks whether the clocks have gone on alike, and moves all ends where they
// have not; it requires mu.
func (hs *holds) reckon(now reading) {
	a := &hs.agenda
	if apart := now.skew() - a.skew; apart.Abs() < time.Millisecond {
		return
	}
	a.skew = now.skew()
	for _, h := range a.list {
		h.until.reckon(now)
		h.next = earliest(h.next, h.until.mono)
	}
	heap.Init(&a.list)
}

// lapse ends a hold that is over; it requires mu.
func (hs *holds) lapse(h *hold, now reading, over *cancellations) {
	lives := h.cause == nil
	if h.maximum && (h.cut || now.mono >= h.renewTo) {
		hs.end(h, ErrMaxHold, over)
		if lives {
			hs.giveBackLater(h)
		}
	}
	hs.end(h, ErrLockLost, over)
	hs.forget(h)
}

// fate returns why a hold has ended, or nil. It goes by the clocks, whether the
// timer has fired or not.
func (hs *holds) fate(h *hold) error {
	var over cancellations
	now := hs.clock.read()
	hs.mu.Lock()
	if h.cause == nil && h.over(now) {
		hs.lapse(h, now, &over)
	}
	cause := h.cause
	hs.mu.Unlock()
	over.tell()
	return cause
}

// agendaList implements [heap.Interface] and tells each hold its place.
type agendaList []*hold

var _ heap.Interface = (*agendaList)(nil)

func (l agendaList) Len() int           { return len(l) }
func (l agendaList) Less(i, j int) bool { return l[i].next < l[j].next }

func (l agendaList) Swap(i, j int) {
	l[i], l[j] = l[j], l[i]
	l[i].place, l[j].place = int32(i), int32(j)
}

// Push implements [heap.Interface].
func (l *agendaList) Push(x any) {
	h, ok := x.(*hold)
	if !ok {
		return
	}
	h.place = int32(len(*l))
	*l = append(*l, h)
}

// Pop implements [heap.Interface].
func (l *agendaList) Pop() any {
	last := len(*l) - 1
	h := (*l)[last]
	(*l)[last] = nil
	*l = (*l)[:last]
	h.place = -1
	return h
}
