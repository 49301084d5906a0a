package simulation

import "github.com/lockstep-dev/lockstep/store"

// unheld says that a guard has lost a lock, and waits to have all of them again.
func unheld(n store.Node) bool { return n.Count > 0 && n.Invoke.Waits == store.WaitingForLock }

// judgeUnheld wants a guard that takes its locks again to be one that does, and to ask
// for them when nothing in it is in flight any more.
func (m *mirror) judgeUnheld(at store.Place, now store.Node, spec *spec) {
	name := m.name + "/" + m.place(at)
	switch {
	case !spec.again:
		m.w.faultf("%s takes its locks again, and was not asked to", name)
	case m.head.State != store.Invoking:
		m.w.faultf("I4: %s takes its locks again, and the execution is %s", name, m.head.State)
	case now.Ticket != "" && len(now.Holds) > 0:
		m.w.faultf("%s asks for its locks while it has %v", name, now.Holds)
	}
	if now.Ticket == "" {
		return
	}
	for other, rec := range m.nodes {
		within := false
		for id := other.Frame; id != 0; id = m.parent(id).Frame {
			within = within || m.parent(id) == at
		}
		if within && m.spec(other).step != nil && rec.Invoke.State == store.StepInvoking && rec.Invoke.Waits == store.NotWaiting {
			m.w.faultf("I4: %s asks for its locks again while %s is in flight", name, m.place(other))
		}
	}
}

// judgeGuards wants the locks of all guards around a place to be held, as far as the
// record goes.
func (m *mirror) judgeGuards(at store.Place) {
	var wanted []string
	held := map[string]bool{}
	for _, h := range m.frames[0].Holds {
		held[h.Key] = true
	}
	for id := at.Frame; id != 0; id = m.parent(id).Frame {
		parent := m.parent(id)
		for _, h := range m.frames[id].Holds {
			held[h.Key] = true
		}
		if m.spec(parent).verb != guardVerb {
			continue
		}
		rec := m.nodes[parent]
		if rec.Invoke.Waits == store.WaitingForLock || rec.Compensate.Waits == store.WaitingForLock {
			m.w.faultf("I5: %s/%s goes on in guard %s, which waits for its locks", m.name, m.place(at), m.place(parent))
		}
		wanted = append(wanted, rec.Keys...)
		for _, h := range rec.Holds {
			held[h.Key] = true
		}
	}
	for _, k := range wanted {
		if !held[k] && !m.lostBelow(k) {
			m.w.faultf("I5: %s/%s goes on in a guard of %s, and the record has no hold of it", m.name, m.place(at), k)
		}
	}
}

// refused says that a guard around a place did not get its locks to be undone.
func (m *mirror) refused(at store.Place) bool {
	for id := at.Frame; id != 0; id = m.parent(id).Frame {
		if m.nodes[m.parent(id)].Compensate.State == store.StepFailed {
			return true
		}
	}
	return false
}
