package storemem

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

// Small pieces of one call are copied into common chunks, which saves allocations. A
// large one has memory of its own: it would be kept for as long as its neighbours.
const (
	largePiece = 512
	chunkSize  = 4096
)

// copier makes copies of bytes. It must be told of all of them first.
type copier struct {
	small int // bytes of small pieces that are to come
	large bool
	spare int // bytes that a chunk is to have beside those
	room  []byte
}

func (c *copier) expect(b []byte) {
	if len(b) <= largePiece {
		c.small += len(b)
	} else {
		c.large = true
	}
}

// short says that the pieces are so few and small that to copy them is as quick as to
// look for where they go.
func (c *copier) short() bool { return !c.large && c.small <= largePiece }

// copyWritten replaces the bytes of what a write brings by copies.
func (c *copier) copyWritten(head *store.Head, list []store.Cell) {
	head.Output = c.copy(head.Output)
	for i := range list {
		list[i].Data = c.copy(list[i].Data)
	}
}

func (c *copier) copy(b []byte) []byte {
	switch {
	case b == nil:
		return nil
	case len(b) == 0:
		return []byte{}
	case len(b) > largePiece:
		return bytes.Clone(b)
	}
	if cap(c.room)-len(c.room) < len(b) {
		c.room = make([]byte, 0, max(min(c.small+c.spare, chunkSize), len(b)))
	}
	c.small -= len(b)
	at := len(c.room)
	c.room = append(c.room, b...)
	return c.room[at:len(c.room):len(c.room)]
}

// own makes a snapshot of views its reader's own, with its cells in order.
func own(x *store.Snapshot) {
	var c copier
	c.expectAll(x)
	c.copyAll(x)
	x.Tasks = copyTasks(x.Tasks)
	slices.SortFunc(x.Tasks, func(a, b store.Task) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortFunc(x.Cells, func(a, b store.Cell) int { return cmp.Compare(a.ID, b.ID) })
}

func (c *copier) expectAll(x *store.Snapshot) {
	c.expect(x.Input)
	c.expect(x.InputHash)
	c.expect(x.Output)
	for i := range x.Cells {
		c.expect(x.Cells[i].Data)
	}
	for i := range x.Inbox {
		c.expect(x.Inbox[i].Data)
	}
}

// copyAll replaces the bytes of the snapshot by copies. Its slices are its own before.
func (c *copier) copyAll(x *store.Snapshot) {
	x.Input, x.InputHash, x.Output = c.copy(x.Input), c.copy(x.InputHash), c.copy(x.Output)
	for i := range x.Cells {
		x.Cells[i].Data = c.copy(x.Cells[i].Data)
	}
	for i := range x.Inbox {
		x.Inbox[i].Data = c.copy(x.Inbox[i].Data)
	}
	if x.Parent != nil {
		parent := *x.Parent
		x.Parent = &parent
	}
}

// copyTasks returns tasks as they are kept, which share nothing with what is given.
func copyTasks(list []store.Task) []store.Task {
	copies := slices.Clone(list)
	for i := range copies {
		copies[i].Data = bytes.Clone(copies[i].Data)
		copies[i].NotBefore = keptTime(copies[i].NotBefore)
	}
	return copies
}

// keptTime is the time as every store keeps it: without a zone, and without the clock
// of this process.
func keptTime(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Round(0)
}

func keptTimes(h *store.Head) {
	h.DueAt, h.CancelledAt = keptTime(h.DueAt), keptTime(h.CancelledAt)
	h.FinishedAt, h.ForgetAt = keptTime(h.FinishedAt), keptTime(h.ForgetAt)
}
