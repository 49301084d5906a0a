package engine

import (
	"container/heap"
	"sync"
	"time"
)

// timers wakes runs when something of theirs is due: one timer for all of them.
type timers struct {
	mu    sync.Mutex
	list  dueList
	timer *time.Timer
	next  time.Time // when the timer goes off; zero when it does not
	over  bool
}

func newTimers() *timers {
	t := &timers{}
	t.timer = time.AfterFunc(time.Hour, t.fire)
	t.timer.Stop()
	return t
}

// set has the run woken at the time; zero is never. What was set before is forgotten.
func (t *timers) set(r *Run, at time.Time) {
	if at.Equal(r.wakeAt) {
		return
	}
	r.share()
	t.mu.Lock()
	defer t.mu.Unlock()
	r.wakeAt = at
	switch {
	case at.IsZero():
		if r.place > 0 {
			heap.Remove(&t.list, r.place-1)
		}
	case r.place > 0:
		t.list[r.place-1].at = at
		heap.Fix(&t.list, r.place-1)
	default:
		heap.Push(&t.list, due{at, r})
	}
	t.arm()
}

// went notes that the run's timer has gone off, unless it was set again since.
func (t *timers) went(r *Run) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r.place == 0 {
		r.wakeAt = time.Time{}
	}
}

// arm requires mu.
func (t *timers) arm() {
	if t.over || len(t.list) == 0 {
		return
	}
	if first := t.list[0].at; t.next.IsZero() || first.Before(t.next) {
		t.next = first
		t.timer.Reset(time.Until(first))
	}
}

func (t *timers) fire() {
	now := time.Now()
	var woken []*Run
	t.mu.Lock()
	t.next = time.Time{}
	for len(t.list) > 0 && !t.list[0].at.After(now) {
		woken = append(woken, heap.Pop(&t.list).(due).run) //nolint:forcetypeassert // the only type pushed
	}
	t.arm()
	t.mu.Unlock()
	for _, r := range woken {
		r.post(woke{})
	}
}

func (t *timers) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
	t.timer.Stop()
}

type due struct {
	at  time.Time
	run *Run
}

// dueList has the runs by time. Each knows its place, counted from 1.
type dueList []due

// Len implements [heap.Interface].
func (l dueList) Len() int { return len(l) }

// Less implements [heap.Interface].
func (l dueList) Less(i, j int) bool { return l[i].at.Before(l[j].at) }

// Swap implements [heap.Interface].
func (l dueList) Swap(i, j int) {
	l[i], l[j] = l[j], l[i]
	l[i].run.place, l[j].run.place = i+1, j+1
}

// Push implements [heap.Interface].
func (l *dueList) Push(x any) {
	d := x.(due) //nolint:forcetypeassert // the only type pushed
	d.run.place = len(*l) + 1
	*l = append(*l, d)
}

// Pop implements [heap.Interface].
func (l *dueList) Pop() any {
	last := (*l)[len(*l)-1]
	last.run.place = 0
	*l = (*l)[:len(*l)-1]
	return last
}
