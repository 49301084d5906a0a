package simulation

import (
	"context"
	"slices"
	"strings"

	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store"
)

// find returns the execution that a step is of. It requires mu.
func (w *world) find(ref steps.Ref) *execution {
	return w.store.byKey[store.Key{Workflow: ref.Workflow, ID: ref.ExecutionID}]
}

// judgeBegin judges the beginning of a body. It requires mu.
func (w *world) judgeBegin(d *deed, id string, items []int, x string, number uint64, ctx *steps.Context) {
	if other, ok := w.ledger.keys[d.key]; ok && other != id {
		w.faultf("I1: %s and %s have one idempotency key", other, id)
	}
	w.ledger.keys[d.key] = id
	if first := w.ledger.byPlace[id][0]; first.key != d.key {
		w.faultf("I1: the idempotency key of %s changes", id)
	}
	if d.m == nil {
		w.faultf("I3: %s begins, and there is no such execution", d.name())
		return
	}
	at, ok := d.m.find(d.n, items)
	if !ok {
		w.faultf("I3: %s begins, and no durable write knows it", d.name())
		return
	}
	d.at = at
	rec := d.m.nodes[at]
	w.judgeEnabled(d, at)
	if w.p.storeJumps == 0 && !d.in.frozen && !w.store.lives(d.in.me) {
		w.faultf("I2: %s begins on %s, whose lease is over", d.name(), d.in.name)
	}
	current := d.m.x.Owner == d.in.me
	if current && d.invoke && d.m.turned {
		w.faultf("I4: %s begins, and the execution is %s", d.name(), d.m.head.State)
	}
	if current {
		w.judgeAlone(d)
	}
	if d.invoke {
		want, err := d.m.value(at.Frame, d.n.seq, d.n.in)
		if err != nil || want != (val{x, number}) {
			w.faultf("I1: %s gets %v, and should get %v (%v)", d.name(), val{x, number}, want, err)
		}
		return
	}
	w.judgeUndo(d, rec, x, number, ctx.Outcome())
}

// judgeEnabled wants a durable write to have enabled the attempt, of its own instance,
// and for this body alone.
func (w *world) judgeEnabled(d *deed, at store.Place) {
	used := false
	for o, e := range d.m.enabled {
		if o.at != at || e.invoke != d.invoke || e.number != d.number || e.by != d.in.me {
			continue
		}
		if e.begun == nil {
			e.begun = d
			return
		}
		used = true
	}
	if used {
		w.faultf("I1: %s begins twice, and one write has enabled it", d.name())
		return
	}
	w.faultf("I3: %s begins, and no durable write of %s enables it", d.name(), d.in.name)
}

// mostDeaths is how many processes an attempt may kill under the mark that it is alone
// suspected (I11).
const mostDeaths = 3

// marked notes that a body is about to kill its process.
func (w *world) marked(d *deed) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if d.in.dead() || d.m == nil {
		return
	}
	rec := d.m.nodes[d.at]
	if d.invoke && rec.Invoke.Suspect || !d.invoke && rec.Compensate.Suspect {
		d.m.deaths[deathsOf{d.at, d.invoke}]++
	}
}

// deathsOf is what the deaths are counted for.
type deathsOf struct {
	at     store.Place
	invoke bool
}

// judgeAlone wants no other body of the step to run in the same process, but for one
// that was left behind when its time was up.
func (w *world) judgeAlone(d *deed) {
	for other := range w.running(d) {
		if other.in == d.in && (!other.told || w.now()-other.toldAt < cancelGrace) {
			w.faultf("I4: %s begins while %s still runs, and that was not left behind", d.name(), other.name())
		}
	}
}

// running yields the other bodies of the step that have not returned.
func (w *world) running(d *deed) func(yield func(*deed) bool) {
	return func(yield func(*deed) bool) {
		for _, invoke := range []bool{true, false} {
			for _, other := range w.ledger.byPlace[d.place+" "+phaseName(invoke)] {
				if other != d && !other.over && !yield(other) {
					return
				}
			}
		}
	}
}

// judgeUndo wants a compensation to get the undo data of its step, and its outcome.
func (w *world) judgeUndo(d *deed, rec store.Node, x string, number uint64, outcome steps.Outcome) {
	var want uint64
	var err error
	if d.n.step.reversible {
		var k keep
		k, err = decodeKeep(rec.Undo)
		want = k.U
	} else {
		var v val
		v, err = decodeVal(rec.Undo)
		want = v.N
	}
	if err != nil || want != number {
		w.faultf("I5: %s gets %d, and the record has %d (%v)", d.name(), number, want, err)
	}
	_ = x
	expected := steps.Failed
	switch {
	case rec.Invoke.State == store.StepDone:
		expected = steps.Succeeded
	case rec.Unknown:
		expected = steps.Unknown
	}
	if outcome != expected {
		w.faultf("%s is told that the outcome is %s, and it is %s", d.name(), outcome, expected)
	}
}

// holds judges what a body finds held around it: one that was left behind has older
// tokens, so that the world outside refuses it. It requires mu.
func (w *world) holds(d *deed) {
	if d.in.dead() || d.m == nil || d.m.x.Owner != d.in.me {
		return
	}
	w.logf(d.in.name, "finds for %s: %v", d.place, d.tokens)
	for id := d.at.Frame; id != 0; id = d.m.parent(id).Frame {
		for _, h := range d.m.nodes[d.m.parent(id)].Holds {
			if d.tokens[h.Key] == 0 && w.fresh(h) {
				w.faultf("I7: %s runs in a guard of %s, which its execution has, and does not have it", d.name(), h.Key)
			}
		}
	}
	for other := range w.running(d) {
		for k, t := range d.tokens {
			if other.tokens[k] >= t && d.m.guarded(d.at, k) {
				w.faultf("I4: %s has token %d of %s, and %s, which was left behind, has %d", d.name(), t, k, other.name(), other.tokens[k])
			}
		}
	}
}

// fresh says that a hold stands at the lock server, and will for a while.
func (w *world) fresh(h store.Hold) bool {
	s, err := w.locks.Inspect(context.Background(), h.Key, 0)
	return err == nil && s.Held && !s.Revoked && s.Owner == h.Owner && uint64(s.Token) == h.Token && s.TTL > lockLease/2
}

// guarded says whether a guard around a place has the key: not from a step before it.
func (m *mirror) guarded(at store.Place, key string) bool {
	for id := at.Frame; id != 0; id = m.parent(id).Frame {
		if slices.ContainsFunc(m.nodes[m.parent(id)].Holds, func(h store.Hold) bool { return h.Key == key }) {
			return true
		}
	}
	return false
}

// releases judges what is given back: a hold of an execution is so when no record has
// it any more.
func (w *world) releases(c *lockConn, holds []driver.Hold) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, h := range holds {
		for _, m := range w.mirrors {
			if m.gone || !strings.Contains(h.Owner, m.x.RunUID) {
				continue
			}
			if at := m.holding(h); at != "" {
				w.faultf("I3: %s gives %s of %s back, and %s has it in its record", c.in.name, h.Key, m.name, at)
			}
		}
	}
}

// holding says where a hold stands in the record.
func (m *mirror) holding(h driver.Hold) string {
	same := func(r store.Hold) bool { return r.Key == h.Key && r.Owner == h.Owner && r.Token == uint64(h.Token) }
	for id, f := range m.frames {
		if slices.ContainsFunc(f.Holds, same) {
			return "frame " + itoa(id)
		}
	}
	for at, n := range m.nodes {
		if slices.ContainsFunc(n.Holds, same) {
			return m.place(at)
		}
	}
	return ""
}

// enqueues judges a wait: it is durable before it is one.
func (w *world) enqueues(c *lockConn, t driver.Ticket) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.mirrors {
		if !strings.HasPrefix(t.ID, m.x.RunUID+"/") || m.x.Owner != c.in.me {
			continue
		}
		waits := false
		for _, n := range m.nodes {
			waits = waits || n.Ticket == t.ID
		}
		if !waits && !m.tickets[t.ID] {
			w.faultf("I3: %s waits for %v, and no durable write says so", m.name, t.Keys)
		}
	}
}
