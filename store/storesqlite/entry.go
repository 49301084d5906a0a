package storesqlite

import (
	"bytes"
	"database/sql/driver"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

// entry is what the writer knows of one execution: what it decides by.
type entry struct {
	store.Key

	seq             int64 // its number in the file
	plan            int64
	run             string
	owner           *instance // nil is nobody
	epoch, revision uint64
	last            lastWrite

	head  store.Head // without its output
	short []byte     // the output, where it is short
	large bool       // it is in the table of what is large
	// largeInput says that the input is there.
	largeInput bool

	// packed are those of its cells that are in its row.
	packed packed

	released bool
	ready    time.Time // from when on it may be claimed; zero while it may not be
	later    int64     // or the second in which that is looked at again; zero for what is not far away
	expires  time.Time // when it is deleted; zero while there is something to do for it
	takes    uint64    // how often one of its tasks was taken
	claim    uint64    // what it was claimed by, unless it was written since; zero is none
	unclean  bool      // what that claim has answered
	next     bool      // too, as long as it is in memory

	messages    int64 // how many there are
	lastMessage int64 // the number of the last one that came
	tasks       int64 // how many there are
}

// lastWrite is the write that was made last.
type lastWrite struct {
	owner           *instance
	epoch, revision uint64
	id              uint64
}

// fence returns what stands. An instance that was ended owns nothing any more.
func (e *entry) fence() store.Fence {
	f := store.Fence{Epoch: e.epoch, Revision: e.revision}
	if e.owner != nil && e.owner.state != ended {
		f.Owner = e.owner.Instance
	}
	return f
}

// repeats says that the write is the one that was made last.
func (e *entry) repeats(w *store.Write) bool {
	l := &e.last
	return l.owner != nil && l.id == w.ID && l.revision == w.Fence.Revision && l.epoch == w.Fence.Epoch && l.owner.Instance == w.Fence.Owner
}

// active says that there is something to do for the execution.
func (e *entry) active() bool {
	return !e.head.State.Finished() || e.head.Unsettled || e.messages > 0
}

// atOnce says that an active execution which nobody drives may be claimed at once,
// whenever it is due.
func (e *entry) atOnce() bool {
	return e.owner != nil || e.released || e.messages > 0 || (e.head.DueAt.IsZero() && e.head.State.Finished())
}

// claimable says that anybody may claim the execution now.
func (e *entry) claimable(now time.Time) bool {
	if !e.active() || e.owner.drives() {
		return false
	}
	return e.atOnce() || (!e.head.DueAt.IsZero() && !e.head.DueAt.After(now))
}

// settle sets from when on the execution may be claimed, and when it expires. It is called
// after every change, before it is written.
func (w *writer) settle(e *entry) {
	e.expires = time.Time{}
	if e.head.State.Finished() && !e.head.Unsettled {
		e.expires = e.head.ForgetAt
	}
	if !e.expires.IsZero() && w.known && e.expires.Before(w.expiry) {
		w.expiry = e.expires
	}
	before := e.ready
	e.ready, e.later = time.Time{}, 0
	if !e.active() || e.owner.drives() {
		return
	}
	now := keptTime(time.Now())
	e.ready = e.head.DueAt
	if e.atOnce() && (e.ready.IsZero() || e.ready.After(now)) {
		e.ready = now
		if !before.IsZero() && before.Before(now) {
			e.ready = before // it has waited since
		}
	}
	switch {
	case e.ready.IsZero(): // until there is a message
	case e.ready.After(now):
		w.postpone(e, now)
	default:
		w.note(notice{Notice: store.Notice{Claimable: true}})
	}
}

// find returns the execution with the key, or nil.
func (w *writer) find(key store.Key) (*entry, error) {
	e, ok := w.entries[key]
	if !ok {
		var err error
		if e, err = w.read(key); e == nil || err != nil {
			return nil, err
		}
		w.entries[key] = e
	}
	if !e.expires.IsZero() && !e.expires.After(time.Now()) {
		return nil, w.delete(e)
	}
	return e, nil
}

// findBySeq returns the execution with the number.
func (w *writer) findBySeq(seq int64) (*entry, error) {
	var key store.Key
	err := w.conn.query(keyOfExecution, func(row []driver.Value) error {
		key = store.Key{Workflow: w.names[asInt(row[0])], ID: asText(row[1])}
		return nil
	}, seq)
	if err != nil {
		return nil, err
	}
	return w.find(key)
}

func (w *writer) read(key store.Key) (e *entry, err error) {
	workflow, ok := w.workflows[key.Workflow]
	if !ok {
		return nil, nil //nolint:nilnil // there is none
	}
	err = w.conn.query(findExecution, func(row []driver.Value) error {
		e = &entry{
			Key: key, seq: asInt(row[0]), plan: asInt(row[1]), run: asText(row[2]), owner: w.numbered[asInt(row[3])],
			epoch: asNumber(row[4]), revision: asNumber(row[5]),
			last: lastWrite{w.numbered[asInt(row[6])], asNumber(row[7]), asNumber(row[8]), asNumber(row[9])},
			head: store.Head{
				State: store.ExecutionState(asText(row[10])), DueAt: asTime(row[11]), Unsettled: asBool(row[12]), CancelledAt: asTime(row[13]),
				FinishedAt: asTime(row[14]), ForgetAt: asTime(row[15]), Frames: uint32(asInt(row[17])), Holding: asBool(row[25]),
			},
			short: asBytes(row[16]), released: asBool(row[18]), ready: asTime(row[19]), expires: asTime(row[20]), takes: asNumber(row[21]),
			claim: asNumber(row[22]), unclean: asBool(row[23]), largeInput: asText(row[24]) == "integer", packed: asBytes(row[26]), later: asInt(row[27]),
		}
		_, e.large = row[16].(int64)
		return e.packed.check(w.s.path)
	}, key.ID, workflow)
	if e == nil || err != nil {
		return nil, err
	}
	err = w.conn.query(countMessages, func(row []driver.Value) error {
		e.messages, e.lastMessage = asInt(row[0]), asInt(row[1])
		return nil
	}, e.seq)
	if err != nil {
		return nil, err
	}
	err = w.conn.query(countTasks, func(row []driver.Value) error {
		e.tasks = asInt(row[0])
		return nil
	}, e.seq)
	return e, err
}

// numberOf is the number of an instance, or none.
func numberOf(i *instance) any {
	if i == nil {
		return nil
	}
	return i.number
}

// save writes all of an execution that may have changed, but for its messages, its tasks, and
// its cells that are not packed.
func (w *writer) save(e *entry) error {
	h, l := &e.head, &e.last
	var claim any
	if e.claim != 0 {
		claim = numberValue(e.claim)
	}
	_, err := w.conn.exec(setExecution, numberOf(e.owner), numberValue(e.epoch), numberValue(e.revision),
		numberOf(l.owner), numberValue(l.epoch), numberValue(l.revision), numberValue(l.id),
		string(h.State), timeValue(h.DueAt), boolValue(h.Unsettled), timeValue(h.CancelledAt), timeValue(h.FinishedAt), timeValue(h.ForgetAt),
		e.output(), int64(h.Frames), boolValue(e.released), timeValue(e.ready), timeValue(e.expires), numberValue(e.takes),
		claim, boolValue(e.unclean), boolValue(h.Holding), []byte(e.packed), e.laterValue(), e.seq)
	return err
}

// advance writes what a write in the midst of an execution changes, of which there is
// nothing in an index.
func (w *writer) advance(e *entry) error {
	l := &e.last
	_, err := w.conn.exec(advanceExecution, numberValue(e.revision), numberOf(l.owner), numberValue(l.epoch), numberValue(l.revision), numberValue(l.id),
		timeValue(e.head.DueAt), int64(e.head.Frames), []byte(e.packed), e.seq)
	return err
}

// What is longer than this is kept apart from its execution, whose row every write
// replaces.
const longest = 512

// The parts of an execution that may be large.
const (
	inputPart = iota
	outputPart
)

// elsewhere stands in a row for what is large.
const elsewhere = int64(1)

func (e *entry) output() any {
	if e.large {
		return elsewhere
	}
	return bytesValue(e.short)
}

// setOutput has the execution have an output, of which it keeps a copy.
func (w *writer) setOutput(e *entry, output []byte) error {
	was := e.large
	e.hasOutput(output)
	var err error
	switch {
	case e.large:
		_, err = w.conn.exec(putLarge, e.seq, int64(outputPart), output)
	case was:
		_, err = w.conn.exec(deletePart, e.seq, int64(outputPart))
	}
	return err
}

func (e *entry) hasOutput(output []byte) {
	e.short, e.large = nil, len(output) > longest
	if !e.large {
		e.short = bytes.Clone(output)
	}
}

// delete rids the store of an execution.
func (w *writer) delete(e *entry) error {
	if e.tasks > 0 {
		if err := w.dropAll(e); err != nil {
			return err
		}
	}
	stmts := []statement{deleteExecution}
	if !e.packed.all() {
		stmts = append(stmts, deleteCells)
	}
	if e.messages > 0 {
		stmts = append(stmts, deleteMessages)
	}
	if e.largeInput || e.large {
		stmts = append(stmts, deleteLarge)
	}
	for _, q := range stmts {
		if _, err := w.conn.exec(q, e.seq); err != nil {
			return err
		}
	}
	delete(w.entries, e.Key)
	return nil
}

// mostSwept bounds how many executions one call deletes because they have expired.
const mostSwept = 64

// sweep deletes some of what has expired by now.
func (w *writer) sweep() error {
	now := time.Now()
	if w.known && w.expiry.After(now) {
		return nil
	}
	var gone []int64
	err := w.conn.query(expired, func(row []driver.Value) error {
		gone = append(gone, asInt(row[0]))
		return nil
	}, timeBytes(now), int64(mostSwept))
	if err != nil {
		return err
	}
	for _, seq := range gone {
		if _, err := w.findBySeq(seq); err != nil { // which deletes it
			return err
		}
	}
	w.known, w.expiry = true, now.Add(never)
	return w.conn.query(firstExpiry, func(row []driver.Value) error {
		w.expiry = asTime(row[0])
		return nil
	})
}

// never is so far away that nothing has to be looked for before.
const never = time.Hour
