package storesqlite

import (
	"context"
	"encoding/binary"
	"sync"

	"github.com/lockstep-dev/lockstep/store"
)

// Create implements [store.Store].
func (s *Store) Create(ctx context.Context, x *store.Snapshot) (existing *store.Snapshot, err error) {
	err = s.do(ctx, func(w *writer) error {
		existing = nil
		if err := w.sweep(); err != nil {
			return err
		}
		for {
			if added, err := w.add(x); added || err != nil {
				return err
			}
			at, err := w.find(x.Key)
			switch {
			case err != nil:
				return err
			case at == nil: // it had expired
				continue
			case at.run == x.RunUID:
				return nil
			}
			existing, err = w.conn.load(at.seq)
			return err
		}
	})
	return existing, err
}

// add keeps a new execution, unless there is one with its key.
func (w *writer) add(x *store.Snapshot) (added bool, err error) {
	if w.entries[x.Key] != nil {
		return false, nil
	}
	if !x.Owner.None() && !w.leases(x.Owner) {
		there, err := w.find(x.Key)
		if there == nil && err == nil {
			err = store.ErrInstance
		}
		return false, err
	}
	owner, err := w.instance(x.Owner)
	if err != nil {
		return false, err
	}
	workflow, plan, err := w.planNumber(store.PlanID{Workflow: x.Workflow, Fingerprint: x.Fingerprint})
	if err != nil {
		return false, err
	}
	e := &entry{Key: x.Key, seq: w.lastSeq + 1, plan: plan, run: x.RunUID, owner: owner, epoch: 1, revision: 1, head: x.Head, messages: int64(len(x.Inbox)), packed: newPacked()}
	rest := e.packed.pack(x.Cells)
	e.head.Output = nil
	e.hasOutput(x.Output)
	input := bytesValue(x.Input)
	if e.largeInput = len(x.Input) > longest; e.largeInput {
		input = elsewhere
	}
	w.settle(e)
	h := &e.head
	rows, err := w.conn.exec(insertExecution, e.seq, x.ID, workflow, plan, x.RunUID, x.Codec, input, bytesValue(x.InputHash),
		boolValue(x.Generated), timeBytes(x.CreatedAt), timeValue(x.Deadline), parentValue(x.Parent),
		numberOf(owner), int64(1), int64(1), string(h.State), timeValue(h.DueAt), boolValue(h.Unsettled), timeValue(h.CancelledAt),
		timeValue(h.FinishedAt), timeValue(h.ForgetAt), e.output(), int64(h.Frames), boolValue(false), timeValue(e.ready), timeValue(e.expires),
		boolValue(h.Holding), []byte(e.packed), e.laterValue())
	if rows == 0 || err != nil {
		return false, err
	}
	w.lastSeq = e.seq
	if err := w.putLarge(e, x); err != nil {
		return false, err
	}
	if err := w.putCells(e, rest); err != nil {
		return false, err
	}
	e.messages = 0
	for _, m := range x.Inbox {
		if err := w.addTo(e, m); err != nil {
			return false, err
		}
	}
	if err := w.addTasks(e, x.Tasks); err != nil {
		return false, err
	}
	w.entries[e.Key] = e
	if e.head.State.Finished() {
		w.note(notice{Notice: store.Notice{Finished: e.Key}, not: x.Owner})
	}
	return true, nil
}

// putLarge writes what of a new execution is not in its row.
func (w *writer) putLarge(e *entry, x *store.Snapshot) (err error) {
	if e.largeInput {
		_, err = w.conn.exec(putLarge, e.seq, int64(inputPart), x.Input)
	}
	if e.large && err == nil {
		_, err = w.conn.exec(putLarge, e.seq, int64(outputPart), x.Output)
	}
	return err
}

// planNumber returns the numbers of a workflow and a plan, which are given when there are
// none.
func (w *writer) planNumber(id store.PlanID) (workflow, plan int64, err error) {
	workflow, ok := w.workflows[id.Workflow]
	if !ok {
		workflow = int64(len(w.workflows)) + 1
		if _, err := w.conn.exec(addWorkflow, workflow, id.Workflow); err != nil {
			return 0, 0, err
		}
		w.noteWorkflow(workflow, id.Workflow)
	}
	plan, ok = w.plans[id]
	if !ok {
		plan = int64(len(w.plans)) + 1
		if _, err := w.conn.exec(addPlan, plan, workflow, id.Fingerprint); err != nil {
			return 0, 0, err
		}
		w.plans[id] = plan
	}
	return workflow, plan, nil
}

// putCells changes cells in their table, the last of several with one id.
func (w *writer) putCells(e *entry, cells []store.Cell) (err error) {
	for i := range cells {
		if c := &cells[i]; c.Data != nil {
			_, err = w.conn.exec(putCell, e.seq, int64(c.ID), c.Data)
		} else {
			_, err = w.conn.exec(deleteCell, e.seq, int64(c.ID))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Commit implements [store.Store].
func (s *Store) Commit(ctx context.Context, writes []store.Write) []error {
	errs := make([]error, len(writes))
	if len(writes) == 0 {
		return errs
	}
	var wait sync.WaitGroup
	list, jobs := make([]job, len(writes)), make([]*job, len(writes))
	for i := range writes {
		list[i] = job{gone: ctx.Err, run: func(w *writer) error { return w.make(&writes[i]) }, wait: &wait}
		jobs[i] = &list[i]
	}
	s.doAll(ctx, jobs, false)
	for i := range list {
		errs[i] = list[i].err
	}
	return errs
}

// make makes a write, or refuses it.
func (w *writer) make(wr *store.Write) error {
	e, err := w.find(wr.Key)
	switch {
	case err != nil:
		return err
	case e == nil:
		return store.ErrNotFound
	}
	found := e.fence()
	switch {
	case found == wr.Fence && !found.Owner.None():
		return w.change(e, wr)
	case e.repeats(wr):
		return nil
	}
	return &store.FencedError{Key: wr.Key, Wrote: wr.Fence, Found: found}
}

func (w *writer) change(e *entry, wr *store.Write) error {
	before, writer := *e, e.owner
	e.last = lastWrite{owner: e.owner, epoch: e.epoch, revision: e.revision, id: wr.ID}
	e.revision++
	e.head = wr.Head
	e.head.Output = nil
	if e.large || e.short != nil || wr.Head.Output != nil {
		if err := w.setOutput(e, wr.Head.Output); err != nil {
			return err
		}
	}
	if err := w.putCells(e, e.packed.pack(wr.Cells)); err != nil {
		return err
	}
	if err := w.consume(e, wr.Consumed); err != nil {
		return err
	}
	for _, id := range wr.Dropped {
		if err := w.dropTask(e, id); err != nil {
			return err
		}
	}
	if err := w.addTasks(e, wr.Tasks); err != nil {
		return err
	}
	e.claim = 0
	if wr.Release {
		e.owner = nil
	}
	w.settle(e)
	if e.head.State.Finished() && !before.head.State.Finished() {
		w.note(notice{Notice: store.Notice{Finished: e.Key}, not: writer.Instance})
	}
	if e.advances(&before) {
		return w.advance(e)
	}
	return w.save(e)
}

// advances says that only what [writer.advance] writes has changed.
func (e *entry) advances(before *entry) bool {
	h, b := &e.head, &before.head
	return e.owner == before.owner && e.claim == before.claim && e.ready.Equal(before.ready) && e.later == before.later && e.expires.Equal(before.expires) &&
		!e.large && e.short == nil && !before.large && before.short == nil && e.takes == before.takes && e.released == before.released &&
		h.State == b.State && h.Unsettled == b.Unsettled && h.Holding == b.Holding &&
		h.CancelledAt.Equal(b.CancelledAt) && h.FinishedAt.Equal(b.FinishedAt) && h.ForgetAt.Equal(b.ForgetAt)
}

// Forget implements [store.Store].
func (s *Store) Forget(ctx context.Context, key store.Key, runUID string) error {
	return s.do(ctx, func(w *writer) error {
		e, err := w.find(key)
		switch {
		case err != nil:
			return err
		case e == nil || e.run != runUID:
			return nil
		case !e.head.State.Finished() || e.head.Unsettled:
			return store.ErrUnsettled
		}
		return w.delete(e)
	})
}

// parentValue writes a parent as its frame, its node, and its names with their lengths.
func parentValue(p *store.Parent) any {
	if p == nil {
		return nil
	}
	b := binary.AppendUvarint(nil, uint64(p.Place.Frame))
	b = binary.AppendVarint(b, int64(p.Place.Node))
	for _, s := range []string{p.Workflow, p.ID, p.RunUID} {
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	return b
}

func asParent(b []byte) *store.Parent {
	if b == nil {
		return nil
	}
	p := new(store.Parent)
	frame, n := binary.Uvarint(b)
	node, m := binary.Varint(b[max(n, 0):])
	p.Place = store.Place{Frame: store.FrameID(frame), Node: int(node)}
	b = b[max(n, 0)+max(m, 0):]
	for _, s := range []*string{&p.Workflow, &p.ID, &p.RunUID} {
		length, n := binary.Uvarint(b)
		if n <= 0 || length > uint64(len(b)-n) {
			break // the file is damaged
		}
		*s, b = string(b[n:n+int(length)]), b[n+int(length):]
	}
	return p
}
