package storemem

import (
	"cmp"
	"slices"
	"sort"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

// mostInChunk bounds a chunk of the timeline.
const mostInChunk = 256

// timeline has all executions by the time of their creation, the earliest first, in
// chunks of which none is empty. Most come at the end.
type timeline struct {
	chunks []*chunk
	spare  *chunk // one that was emptied
}

type chunk struct{ entries []*entry }

// moment is a place in the timeline: that of an execution, there or not.
type moment struct {
	at  time.Time
	key store.Key
}

func (e *entry) moment() moment { return moment{e.CreatedAt, e.Key} }

func (m moment) compare(o moment) int {
	return cmp.Or(m.at.Compare(o.at), cmp.Compare(m.key.Workflow, o.key.Workflow), cmp.Compare(m.key.ID, o.key.ID))
}

// chunkOf returns the index of the chunk in which the moment is, or would be.
func (t *timeline) chunkOf(m moment) int {
	after := sort.Search(len(t.chunks), func(i int) bool { return t.chunks[i].entries[0].moment().compare(m) > 0 })
	return max(after-1, 0)
}

// before returns how many entries of the chunk are before the moment.
func (c *chunk) before(m moment) int {
	return sort.Search(len(c.entries), func(i int) bool { return c.entries[i].moment().compare(m) >= 0 })
}

func (t *timeline) insert(e *entry) {
	if len(t.chunks) == 0 {
		t.chunks = append(t.chunks, t.fresh())
	}
	m, n := e.moment(), len(t.chunks)-1
	c := t.chunks[n]
	at := len(c.entries)
	if at > 0 && c.entries[at-1].moment().compare(m) > 0 {
		n = t.chunkOf(m)
		c = t.chunks[n]
		at = c.before(m)
	}
	if len(c.entries) == mostInChunk {
		next := t.split(n, at)
		if at >= len(c.entries) {
			at -= len(c.entries)
			c = next
		}
	}
	c.entries = slices.Insert(c.entries, at, e)
	e.chunk = c
}

// fresh returns a chunk with nothing in it.
func (t *timeline) fresh() *chunk {
	c := t.spare
	if t.spare = nil; c == nil {
		c = &chunk{}
	}
	return c
}

// split makes room in the n-th chunk, which is full, by a new one behind it: with its
// second half, or with nothing when what comes is at its end.
func (t *timeline) split(n, at int) *chunk {
	c, next := t.chunks[n], t.fresh()
	if at < mostInChunk {
		next.entries = append(next.entries, c.entries[mostInChunk/2:]...)
		clear(c.entries[mostInChunk/2:])
		c.entries = c.entries[:mostInChunk/2]
		for _, e := range next.entries {
			e.chunk = next
		}
	}
	t.chunks = slices.Insert(t.chunks, n+1, next)
	return next
}

func (t *timeline) remove(e *entry) {
	c := e.chunk
	if len(c.entries) == 1 {
		n := t.chunkOf(e.moment())
		t.chunks = slices.Delete(t.chunks, n, n+1)
		c.entries[0] = nil
		c.entries, t.spare = c.entries[:0], c
		return
	}
	i := slices.Index(c.entries, e)
	c.entries = slices.Delete(c.entries, i, i+1)
}

// latest yields executions from the last one before the moment on, the latest first;
// nil is the end of the timeline.
func (t *timeline) latest(from *moment, yield func(*entry) bool) {
	n := len(t.chunks) - 1
	if n < 0 {
		return
	}
	at := len(t.chunks[n].entries)
	if from != nil {
		n = t.chunkOf(*from)
		at = t.chunks[n].before(*from)
	}
	for {
		for at--; at >= 0; at-- {
			if !yield(t.chunks[n].entries[at]) {
				return
			}
		}
		if n--; n < 0 {
			return
		}
		at = len(t.chunks[n].entries)
	}
}
