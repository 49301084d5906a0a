package storemem

import "time"

// An execution is in at most one queue of each kind.
const (
	inLine = iota
	inExpiry
	queues
)

// queue has executions in the order of a time, the earliest first: a binary heap. An
// execution knows its place in it, so that it can be moved and taken out.
type queue struct {
	place int // which of an execution's places is the one in this queue; one higher than the index
	items []queued
}

type queued struct {
	at time.Time
	e  *entry
}

// first returns nil when there is none.
func (q *queue) first() (*entry, time.Time) {
	if len(q.items) == 0 {
		return nil, time.Time{}
	}
	return q.items[0].e, q.items[0].at
}

// has tells the time that the execution is in the queue with.
func (q *queue) has(e *entry) (time.Time, bool) {
	at := e.places[q.place]
	if at == 0 {
		return time.Time{}, false
	}
	return q.items[at-1].at, true
}

// set puts the execution into the queue, or moves it. It answers true when the first
// of the queue is not what it was.
func (q *queue) set(e *entry, at time.Time) bool {
	i := e.places[q.place] - 1
	if i < 0 {
		i = len(q.items)
		q.items = append(q.items, queued{})
	} else if q.items[i].at.Equal(at) {
		return false
	}
	q.put(i, queued{at, e})
	if last := q.down(q.up(i)); i == 0 || last == 0 {
		return true
	}
	return false
}

// remove takes the execution out. It answers true when it was the first.
func (q *queue) remove(e *entry) bool {
	i := e.places[q.place] - 1
	if i < 0 {
		return false
	}
	e.places[q.place] = 0
	last := len(q.items) - 1
	moved := q.items[last]
	q.items[last] = queued{}
	q.items = q.items[:last]
	if i < last {
		q.put(i, moved)
		q.down(q.up(i))
	}
	return i == 0
}

func (q *queue) put(i int, item queued) {
	q.items[i] = item
	item.e.places[q.place] = i + 1
}

func (q *queue) up(i int) int {
	item := q.items[i]
	for i > 0 {
		parent := (i - 1) / 2
		if !item.at.Before(q.items[parent].at) {
			break
		}
		q.put(i, q.items[parent])
		i = parent
	}
	q.put(i, item)
	return i
}

func (q *queue) down(i int) int {
	item := q.items[i]
	for {
		child := 2*i + 1
		if child >= len(q.items) {
			break
		}
		if child+1 < len(q.items) && q.items[child+1].at.Before(q.items[child].at) {
			child++
		}
		if !q.items[child].at.Before(item.at) {
			break
		}
		q.put(i, q.items[child])
		i = child
	}
	q.put(i, item)
	return i
}

// chain has executions in no order.
type chain struct{ first *entry }

// moveTo takes the execution out of its chain, and puts it into another; nil is none.
func (e *entry) moveTo(c *chain) {
	if e.in == c {
		return
	}
	if e.in != nil {
		if e.prev == nil {
			e.in.first = e.next
		} else {
			e.prev.next = e.next
		}
		if e.next != nil {
			e.next.prev = e.prev
		}
	}
	e.in, e.prev, e.next = c, nil, nil
	if c == nil {
		return
	}
	if e.next = c.first; e.next != nil {
		e.next.prev = e
	}
	c.first = e
}
