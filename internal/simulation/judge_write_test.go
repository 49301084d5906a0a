package simulation

import (
	"bytes"
	"slices"

	"github.com/lockstep-dev/lockstep/store"
)

// What follows judges each write as it is made. All of it requires mu.

// created notes a new execution.
func (w *world) created(c *conn, e *execution) {
	m := &mirror{
		w: w, x: e, nodes: map[store.Place]store.Node{}, outbox: map[uint32]store.Errand{}, enabled: map[ordinal]*enabled{},
		tickets: map[string]bool{}, deaths: map[deathsOf]int{}, dropped: map[string]bool{},
	}
	for _, fl := range w.flows {
		if fl.name == e.Workflow {
			m.flow = fl
		}
	}
	m.name = w.name(e.Key)
	if !e.Owner.None() && !w.store.lives(e.Owner) {
		w.faultf("I2: %s is created by %s, whose lease is over", m.name, c.in.name)
	}
	w.uids[e.RunUID] = m.name
	e.seen = m
	w.mirrors = append(w.mirrors, m)
	left := e.Owner.None() && e.State.Finished() && !e.Unsettled
	if e.Epoch != 1 || e.Revision != 1 || e.Owner != c.in.me && !left {
		w.faultf("I2: %s is created under %+v", m.name, e.Fence)
	}
	if p := e.Parent; p != nil {
		parent := w.mirrorOf(p.RunUID)
		if parent == nil || parent.nodes[p.Place].Child != e.ID {
			w.faultf("I3: child %s is created, and no durable write of its parent says so", m.name)
		}
	}
}

func (w *world) mirrorOf(runUID string) *mirror {
	for _, m := range w.mirrors {
		if m.x.RunUID == runUID {
			return m
		}
	}
	return nil
}

func (w *world) forgotten(e *execution) {
	e.seen.gone = true
	w.logf("store", "forgets %s", e.seen.name)
}

// claimed notes that an execution has another owner.
func (w *world) claimed(c *conn, e *execution, before store.Instance) {
	w.logf(c.in.name, "claims %s, epoch %d, unclean %v", e.seen.name, e.Epoch, e.seen.unclean)
	if before != e.Owner && w.store.lives(before) {
		w.faultf("I2: %s claims %s of %s, whose lease is not over", c.in.name, e.seen.name, w.nameOf(before))
	}
}

func (w *world) delivered(c *conn, e *execution, m store.Message) {
	ev, err := store.DecodeEvent(m.Data)
	if err != nil {
		w.faultf("%s gets a message that cannot be read: %v", e.seen.name, err)
	}
	w.logf(c.in.name, "delivers %s %s%s to %s", ev.Kind, ev.Path, itemText(ev.Items), e.seen.name)
	if ev.Kind == store.Revert || ev.Kind == store.ChildEnded {
		w.judgeErrand(e, ev)
	}
}

// judgeErrand wants what an execution tells another one to be in its outbox first.
func (w *world) judgeErrand(e *execution, ev store.Event) {
	kind, from := store.RevertChild, (*mirror)(nil)
	if ev.Kind == store.Revert {
		if e.Parent != nil {
			from = w.mirrorOf(e.Parent.RunUID)
		}
	} else {
		kind = store.AnswerParent
		from = w.childOf(e, ev.Place)
	}
	if from == nil || !from.sent(kind, e.Key) {
		w.faultf("I3: %s is told %s, and no durable write says so", e.seen.name, ev.Kind)
	}
}

func (w *world) childOf(e *execution, at store.Place) *mirror {
	for _, m := range w.mirrors {
		if m.x.ID == e.seen.nodes[at].Child && m.x.Parent != nil {
			return m
		}
	}
	return nil
}

// sent says that an errand is, or was, in the outbox.
func (m *mirror) sent(kind store.ErrandKind, to store.Key) bool {
	return slices.ContainsFunc(m.errands, func(e store.Errand) bool { return e.Kind == kind && e.Target == to })
}

// writes judges a write before it is made: the fence was compared by the store, and is
// so again here.
func (w *world) writes(c *conn, e *execution, wr *store.Write) {
	if wr.Fence != e.Fence {
		w.faultf("I2: a write of %s under epoch %d revision %d lands on epoch %d revision %d of %s",
			e.seen.name, wr.Fence.Epoch, wr.Fence.Revision, e.Epoch, e.Revision, w.nameOf(e.Owner))
	}
	if wr.Fence.Owner != c.in.me {
		w.faultf("I2: %s writes %s as %s", c.in.name, e.seen.name, w.nameOf(wr.Fence.Owner))
	}
}

// refused judges a write that was refused: whoever owns the execution, and has written
// last, is never.
func (w *world) refused(c *conn, e *execution, wr *store.Write) {
	if wr.Fence.Owner == e.Owner && wr.Fence.Epoch == e.Epoch && wr.Fence.Revision > e.Revision {
		w.faultf("I2: %s writes revision %d of %s, and %d was never made", c.in.name, wr.Fence.Revision, e.seen.name, e.Revision)
	}
}

// wrote judges what a write has made of an execution.
func (w *world) wrote(c *conn, e *execution, cells []store.Cell, verb string) {
	m := e.seen
	m.writes++
	before := m.head
	m.head = e.Head
	frames, nodes := len(m.frames), m.nodes
	_ = frames
	changes := make([]any, 0, len(cells))
	var starts []ordinal
	old := map[store.Place]store.Node{}
	m.frames = slices.Grow(m.frames, int(e.Frames))[:max(len(m.frames), int(e.Frames))]
	for _, cell := range cells {
		kind, at, n := cell.ID.Split()
		switch kind {
		case store.FrameKind:
			f, err := store.DecodeFrame(cell.Data)
			if err != nil || int(at.Frame) >= len(m.frames) {
				w.faultf("frame %d of %s cannot be read: %v", at.Frame, m.name, err)
				return
			}
			m.judgeFrame(at.Frame, m.frames[at.Frame], f)
			m.frames[at.Frame] = f
			changes = append(changes, frameChange{m, at.Frame, f})
		case store.NodeKind:
			rec, err := store.DecodeNode(cell.Data)
			if err != nil || at.Node >= len(m.flow.nodes) {
				w.faultf("node %v of %s cannot be read: %v", at, m.name, err)
				return
			}
			old[at] = nodes[at]
			nodes[at] = rec
			changes = append(changes, change{m, at, rec})
		case store.FailureKind:
			f, err := store.DecodeFailure(cell.Data)
			if err != nil || int(n) != len(m.failures) {
				w.faultf("failure %d of %s comes after %d: %v", n, m.name, len(m.failures), err)
				return
			}
			m.failures = append(m.failures, f)
			m.tallyFailure(f)
			changes = append(changes, f.Path+" "+f.Phase+" has failed: "+f.Message)
		case store.OutboxKind:
			if cell.Data == nil {
				delete(m.outbox, n)
				changes = append(changes, errandChange{m, n, nil})
				continue
			}
			er, err := store.DecodeErrand(cell.Data)
			if err != nil {
				w.faultf("errand %d of %s cannot be read: %v", n, m.name, err)
				return
			}
			m.judgeRelease(er)
			m.outbox[n] = er
			m.errands = append(m.errands, er)
			changes = append(changes, errandChange{m, n, &er})
		}
	}
	w.logf(c.in.name, "%s %s %d.%d: %s, %v", verb, m.name, e.Epoch, e.Revision, e.State, changes)
	m.judgeHead(before)
	for at, was := range old {
		starts = append(starts, m.judgeNode(at, was, nodes[at])...)
	}
	for at, was := range old {
		if m.spec(at).kind == toOne && m.spec(at).verb == transformVerb && was.Invoke.State != store.StepDone {
			m.judgeJoin(at)
		}
	}
	for _, o := range starts {
		m.judgeStart(o)
	}
	for at, was := range old {
		m.tallyNode(at, was, nodes[at])
	}
	if e.State.Finished() {
		w.tally.note("an execution is " + string(e.State))
		m.judgeFinished()
	} else if e.Owner.None() {
		w.tally.note("an execution rests")
		m.judgeRest()
	}
}

var follows = map[store.ExecutionState][]store.ExecutionState{
	"":                        {store.Invoking, store.WaitingToCompensate, store.Compensating, store.Done, store.Reverted, store.Failed},
	store.Invoking:            {store.Invoking, store.WaitingToCompensate, store.Compensating, store.Done, store.Reverted, store.Failed},
	store.WaitingToCompensate: {store.WaitingToCompensate, store.Compensating, store.Reverted, store.Failed},
	store.Compensating:        {store.Compensating, store.Reverted, store.Failed},
	store.Done:                {store.Done, store.WaitingToCompensate, store.Compensating, store.Reverted, store.Failed},
	store.Failed:              {store.Failed, store.Compensating, store.Reverted},
	store.Reverted:            {store.Reverted},
}

func (m *mirror) judgeHead(before store.Head) {
	now := m.head
	if !slices.Contains(follows[before.State], now.State) {
		m.w.faultf("%s goes from %s to %s", m.name, before.State, now.State)
	}
	if before.State == store.Done && now.State != store.Done && m.x.Parent == nil {
		m.w.faultf("%s was done, and is %s", m.name, now.State)
	}
	if before.State == store.Failed && now.State != store.Failed {
		m.resumed = true
	}
	m.turned = m.turned || now.State != store.Invoking && now.State != store.Done
	if now.Unsettled != (len(m.outbox) > 0) {
		m.w.faultf("%s says unsettled %v, and has %d errands", m.name, now.Unsettled, len(m.outbox))
	}
	if before.State == store.Done && now.State == store.Done && !bytes.Equal(before.Output, now.Output) {
		m.w.faultf("I1: the result of %s changes", m.name)
	}
}

func (m *mirror) judgeFrame(id store.FrameID, was, now store.Frame) {
	if was.Sequence == 0 && was.Parent == (store.Place{}) && was.State == store.FrameWaiting && was.Item == nil {
		return // it may be new
	}
	for _, h := range was.Holds {
		same := func(n store.Hold) bool { return n.Key == h.Key }
		midst := now.State == store.FrameRunning || now.State == store.FrameUnwinding
		m.dropped[h.Key] = m.dropped[h.Key] || midst && !slices.ContainsFunc(now.Holds, same)
	}
	if was.Sequence != now.Sequence || was.Parent != now.Parent || was.Branch != now.Branch || !bytes.Equal(was.Item, now.Item) {
		m.w.faultf("frame %d of %s becomes another one", id, m.name)
	}
}

// judgeRelease wants each hold to be given back once.
func (m *mirror) judgeRelease(now store.Errand) {
	for _, before := range m.errands {
		for _, h := range before.Holds {
			if slices.Contains(now.Holds, h) {
				m.w.faultf("%s gives %s back with two errands", m.name, h.Key)
			}
		}
	}
}

// judgeNode compares a record with the one before, and returns which attempts it
// enables.
func (m *mirror) judgeNode(at store.Place, was, now store.Node) (starts []ordinal) {
	name := m.name + "/" + m.place(at)
	if was.Invoke.State == store.StepDone && (now.Invoke.State != store.StepDone || !bytes.Equal(was.Output, now.Output)) {
		m.w.faultf("I1: the result of %s is recorded again: %s, %s", name, was.Output, now.Output)
	}
	if was.Invoke.State == store.StepDone && !bytes.Equal(was.Undo, now.Undo) {
		m.w.faultf("I1: the undo data of %s is recorded again", name)
	}
	if was.Count > 0 && (was.First != now.First || was.Count != now.Count) {
		m.w.faultf("%s has decided upon %d frames, and then upon %d", name, was.Count, now.Count)
	}
	if was.Child != "" && was.Child != now.Child {
		m.w.faultf("%s has called two children", name)
	}
	for _, k := range was.Keys {
		if !slices.Contains(now.Keys, k) {
			m.w.faultf("guard %s has decided upon key %s, and has it no more", name, k)
		}
	}
	if now.Attempts < was.Attempts || now.Unknown != (was.Unknown || now.Unknown) {
		m.w.faultf("%s forgets its attempts", name)
	}
	if now.Ticket != "" {
		m.tickets[now.Ticket] = true
	}
	spec := m.spec(at)
	if unheld(now) {
		m.judgeUnheld(at, now, spec)
	}
	if spec.step == nil {
		return nil
	}
	for _, invoke := range []bool{true, false} {
		p, before, active := now.Invoke, was.Invoke, store.StepInvoking
		if !invoke {
			p, before, active = now.Compensate, was.Compensate, store.StepCompensating
		}
		if !p.Suspect && p.Deaths == 0 {
			delete(m.deaths, deathsOf{at, invoke})
		}
		inFlight := p.State == active && p.Waits == store.NotWaiting
		if !inFlight || (p.Attempts == before.Attempts && now.Attempts == was.Attempts && before.State == active && before.Waits == store.NotWaiting) {
			continue
		}
		o := ordinal{at, now.Attempts}
		if m.enabled[o] != nil {
			m.w.faultf("I1: attempt %d of %s is enabled again under the ordinal %d", p.Attempts, name, now.Attempts)
			continue
		}
		m.enabled[o] = &enabled{invoke: invoke, number: p.Attempts, by: m.x.Owner, epoch: m.x.Epoch}
		starts = append(starts, o)
	}
	return starts
}

// judgeJoin wants what is made of the values of branches to be made of theirs.
func (m *mirror) judgeJoin(at store.Place) {
	n := m.spec(at)
	rec := m.nodes[store.Place{Frame: at.Frame, Node: n.in.index}]
	var list []val
	for i := range rec.Count {
		v, err := m.branch(rec, i)
		if err != nil {
			m.w.faultf("I1: the value of branch %d of %s/%s cannot be read: %v", i, m.name, m.place(at), err)
		}
		list = append(list, v)
	}
	if n.in.verb == whenVerb && rec.Count == 0 {
		list = []val{{N: 1}}
	}
	if m.nodes[at].Invoke.State != store.StepDone {
		return
	}
	if out, err := decodeVal(m.nodes[at].Output); err != nil || out != joined(n, list) {
		m.w.faultf("I1: %s/%s is %v, and its branches have %v (%v)", m.name, m.place(at), out, list, err)
	}
}

// judgeStart judges the write that enables an attempt.
func (m *mirror) judgeStart(o ordinal) {
	e, name := m.enabled[o], m.name+"/"+m.place(o.at)
	st := m.spec(o.at).step
	switch {
	case m.deaths[deathsOf{o.at, e.invoke}] >= mostDeaths:
		m.w.faultf("I11: an attempt of %s is enabled, and it has killed %d processes", name, mostDeaths)
	case e.invoke && m.head.State != store.Invoking:
		m.w.faultf("I4: an attempt of %s is enabled, and the execution is %s", name, m.head.State)
	case e.invoke && e.number > st.tries:
		m.w.faultf("attempt %d of %s is enabled, and its policy has %d", e.number, name, st.tries)
	case !e.invoke && e.number > st.undoTries:
		m.w.faultf("I6: attempt %d to undo %s is enabled, and its policy has %d", e.number, name, st.undoTries)
	case !e.invoke && m.head.State != store.Compensating:
		m.w.faultf("I5: %s is undone, and the execution is %s", name, m.head.State)
	}
	m.judgeGuards(o.at)
	if !e.invoke {
		m.judgeReverse(o.at)
	}
}

// order is negative when a was done before b, positive when after, and zero when they
// ran side by side, or are one.
func (m *mirror) order(a, b store.Place) int {
	around := func(at store.Place) (list []store.Place) {
		for list = []store.Place{at}; at.Frame != 0; list = append(list, at) {
			at = m.parent(at.Frame)
		}
		slices.Reverse(list)
		return list
	}
	as, bs := around(a), around(b)
	for i := range min(len(as), len(bs)) {
		if as[i].Frame != bs[i].Frame {
			if n := m.spec(as[i-1]); n.verb == eachVerb && n.limit == 1 {
				return m.frames[as[i].Frame].Branch - m.frames[bs[i].Frame].Branch
			}
			return 0
		}
		if as[i].Node != bs[i].Node {
			return m.spec(as[i]).pos - m.spec(bs[i]).pos
		}
	}
	return 0
}

// needs says that a step, or a child, has effects which are still to be undone.
func (m *mirror) needs(at store.Place) bool {
	rec, n := m.nodes[at], m.spec(at)
	if rec.Compensate.State == store.StepReverted || rec.Compensate.State == store.StepFailed {
		return false
	}
	switch rec.Invoke.State {
	case store.StepDone, store.StepInvoking:
		return n.step != nil || n.verb == callVerb
	case store.StepFailed, store.StepTimeout:
		return n.step != nil && (rec.Unknown || !n.step.onlyDone)
	case store.StepSkipped:
		return n.step != nil && rec.Unknown
	}
	return false
}

// judgeReverse wants what was done after a place to be undone when the place is, and
// what was done before it not to be yet.
func (m *mirror) judgeReverse(at store.Place) {
	for other, rec := range m.nodes {
		n := m.spec(other)
		if n.step == nil && n.verb != callVerb {
			continue
		}
		switch order := m.order(other, at); {
		case order > 0 && m.needs(other) && !m.refused(other):
			m.w.faultf("I5: %s/%s is undone, and %s after it is not: %s %s",
				m.name, m.place(at), m.place(other), rec.Invoke.State, rec.Compensate.State)
		case order < 0 && rec.Compensate.State != store.StepNone && !m.resumed:
			m.w.faultf("I5: %s/%s is undone, and %s before it is %s", m.name, m.place(at), m.place(other), rec.Compensate.State)
		}
	}
}

// judgeFinished judges the record of an execution that has come to its end.
func (m *mirror) judgeFinished() {
	broken := false
	for _, at := range m.sorted() {
		rec, n, name := m.nodes[at], m.spec(at), m.name+"/"+m.place(at)
		broken = broken || rec.Compensate.State == store.StepFailed
		if len(rec.Holds) > 0 || rec.Ticket != "" {
			m.w.faultf("%s has ended, and %s holds %v, waits by %q", m.name, name, rec.Holds, rec.Ticket)
		}
		if !rec.Invoke.DueAt.IsZero() || !rec.Compensate.DueAt.IsZero() {
			m.w.faultf("%s has ended, and %s waits for a time", m.name, name)
		}
		if n.step == nil && n.verb != callVerb {
			continue
		}
		switch {
		case rec.Invoke.State == store.StepInvoking || rec.Compensate.State == store.StepCompensating:
			m.w.faultf("%s has ended, and %s is at work", m.name, name)
		case m.head.State == store.Done && rec.Invoke.State != store.StepDone && rec.Invoke.State != store.StepSkipped:
			m.w.faultf("%s is done, and %s is %s", m.name, name, rec.Invoke.State)
		case m.head.State == store.Done && rec.Compensate.State != store.StepNone:
			m.w.faultf("%s is done, and %s is %s", m.name, name, rec.Compensate.State)
		case m.head.State == store.Reverted && m.needs(at):
			m.w.faultf("%s is reverted, and %s is %s", m.name, name, rec.Invoke.State)
		}
	}
	for id, f := range m.frames {
		if len(f.Holds) > 0 {
			m.w.faultf("%s has ended, and frame %d holds %v", m.name, id, f.Holds)
		}
	}
	if m.head.State != store.Done && broken != (m.head.State == store.Failed) {
		m.w.faultf("I6: %s is %s, and a compensation that has failed: %v", m.name, m.head.State, broken)
	}
	if m.head.State == store.Done {
		out, err := decodeVal(m.head.Output)
		want, err2 := m.value(0, m.flow.root, m.flow.root.out)
		if err != nil || err2 != nil || out != want {
			m.w.faultf("I1: the result of %s is %v, and should be %v (%v, %v)", m.name, out, want, err, err2)
		}
	}
	m.ends = append(m.ends, m.head.State)
}
