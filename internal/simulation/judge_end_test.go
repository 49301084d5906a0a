package simulation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/workflow"
)

func decodeKeep(data []byte) (k keep, err error) {
	if len(data) > 0 {
		err = json.Unmarshal(data, &k)
	}
	return k, err
}

// started judges the answer to the start of an execution (I9).
func (w *world) started(c *client, in *instance, input val, err error) {
	e := w.store.byKey[c.key()]
	switch {
	case err == nil && e == nil:
		w.faultf("I9: %s says that %s is started, and the store does not have it", in.name, c.id)
	case err == nil && input != c.input:
		w.faultf("I9: %s is joined with another input", c.id)
	case err == nil:
		c.created = true
	case errors.Is(err, workflow.ErrIDConflict) && input == c.input:
		w.faultf("I9: %s with its own input is a conflict", c.id)
	}
	w.asidef("client", "has started %s on %s: %s", c.id, in.name, in.outcome(err))
}

// answered judges the end that a client is told of.
func (w *world) answered(c *client, input, out val, err error) (over bool) {
	if errors.Is(err, workflow.ErrIDConflict) {
		return true
	}
	e := w.store.byKey[c.key()]
	var x *workflow.ExecutionError
	switch {
	case err == nil:
		if e == nil || e.State != store.Done {
			w.faultf("%s is told to be done, and is not", c.id)
			return true
		}
		if want, _ := decodeVal(e.Output); want != out {
			w.faultf("I1: the result of %s is told as %v, and is %v", c.id, out, want)
		}
	case errors.As(err, &x):
		if e == nil || !slices.Contains(e.seen.ends, x.State) {
			w.faultf("%s is told to be %s, and is not", c.id, x.State)
			return true
		}
		if len(x.Errs) == 0 && !x.Cancelled {
			w.faultf("%s is %s, and nobody says why", c.id, x.State)
		}
	default:
		return false
	}
	_ = input
	c.ended, c.out, c.err = true, out, err
	return true
}

// unfinished lists what is still to come to its end.
func (w *world) unfinished() (list []string) {
	for _, c := range w.clients {
		if !c.ended {
			list = append(list, "client "+c.id)
		}
	}
	for _, e := range w.store.order {
		if w.store.byKey[e.Key] != e || e.State.Finished() && !e.Unsettled && len(e.inbox) == 0 {
			continue
		}
		list = append(list, fmt.Sprintf("%s is %s, owner %s, due %s, %d messages, %d errands",
			e.seen.name, e.State, w.nameOf(e.Owner), dueText(e.DueAt), len(e.inbox), len(e.seen.outbox)))
	}
	return list
}

// probe looks for executions that nobody would ever go on with (I8).
func (w *world) probe() {
	for _, e := range w.store.order {
		if w.store.byKey[e.Key] != e || e.State.Finished() && !e.Unsettled {
			continue
		}
		if e.Owner.None() && !e.released && e.DueAt.IsZero() && len(e.inbox) == 0 && !e.State.Finished() && !e.seen.waits() {
			w.faultf("I8: %s is %s, and has no owner, no due time, no message, and nothing that it waits for", e.seen.name, e.State)
		}
	}
}

// judgeLocks wants nothing to be left at the lock server.
func (w *world) judgeLocks() {
	page, err := w.locks.List(context.Background(), driver.ListRequest{})
	if err != nil {
		w.faultf("the locks cannot be listed: %v", err)
	}
	for _, l := range page.Locks {
		if w.ghostly(l.Offer) {
			continue
		}
		w.faultf("%s is held by %s, and all has ended", l.Key, w.uid(l.Owner))
	}
	for _, k := range w.keys() {
		s, err := w.locks.Inspect(context.Background(), k, 100)
		if err != nil {
			w.faultf("%s cannot be looked at: %v", k, err)
		}
		for _, waits := range s.Waiters {
			if w.ghost(waits.Ticket) {
				continue
			}
			w.faultf("%s waits for %s, and all has ended: %+v", w.uid(waits.Owner), k, waits)
		}
	}
}

// judgeEnd judges the whole of the history.
func (w *world) judgeEnd() {
	for _, m := range w.mirrors {
		for _, at := range m.sorted() {
			if m.spec(at).step != nil {
				m.judgeStep(at)
			}
		}
	}
	for place, e := range w.ledger.effects {
		if e.done > 0 && !slices.ContainsFunc(w.mirrors, func(m *mirror) bool { return strings.HasPrefix(place, m.name+"/") }) {
			w.faultf("there is an effect of %s, and no such execution", place)
		}
	}
}

// judgeStep judges what a step has done, and what was recorded of it.
func (m *mirror) judgeStep(at store.Place) {
	w, rec, n, name := m.w, m.nodes[at], m.spec(at), m.name+"/"+m.place(at)
	deeds := w.ledger.byPlace[name+" invoke"]
	undos := w.ledger.byPlace[name+" compensate"]
	if rec.Invoke.State == store.StepDone {
		out, err := decodeVal(rec.Output)
		known := slices.ContainsFunc(deeds, func(d *deed) bool { return d.succeeded() && d.out == out })
		if n.verb == asyncVerb {
			known = slices.Contains(w.ledger.results[name], out) && slices.ContainsFunc(deeds, (*deed).succeeded)
		}
		if err != nil || !known {
			w.faultf("I1: %s is recorded with %v, which none of its %d attempts has come to (%v)", name, out, len(deeds), err)
		}
	}
	if rec.Compensate.State == store.StepReverted && n.step.undo && !slices.ContainsFunc(undos, (*deed).succeeded) {
		w.faultf("I1: %s is recorded as undone, and none of %d attempts has done so", name, len(undos))
	}
	if m.head.State == store.Done && len(undos) > 0 {
		w.faultf("%s is done, and %s was undone", m.name, name)
	}
	if e := w.ledger.effects[name]; e != nil && m.head.State != store.Done {
		m.judgeEffect(at, e, deeds)
	}
}

// judgeEffect wants the effect of a step to be undone when its execution is.
func (m *mirror) judgeEffect(at store.Place, e *effect, deeds []*deed) {
	rec, n := m.nodes[at], m.spec(at)
	if e.undone || e.done == 0 || !n.step.undo || rec.Compensate.State == store.StepFailed || m.refused(at) {
		return
	}
	// An attempt that told its end, and that it was no success, need not be undone where
	// the step says so, or where a later one has found nothing to do.
	mayStay := n.step.onlyDone || rec.Invoke.State == store.StepSkipped
	known := !slices.ContainsFunc(deeds, func(d *deed) bool { return !d.reported || d.succeeded() && n.verb != asyncVerb })
	if mayStay && known {
		return
	}
	m.w.faultf("an effect of %s/%s stays, and the execution is %s: invoke %s, unknown %v, compensate %s",
		m.name, m.place(at), m.head.State, rec.Invoke.State, rec.Unknown, rec.Compensate.State)
}
