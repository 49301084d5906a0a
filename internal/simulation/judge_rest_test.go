package simulation

import (
	"slices"

	"github.com/lockstep-dev/lockstep/store"
)

// phases calls yield for each phase of a node that is at work.
func (m *mirror) phases(yield func(at store.Place, n store.Node, p store.Progress) bool) {
	for at, n := range m.nodes {
		for _, p := range []store.Progress{n.Invoke, n.Compensate} {
			if (p.State == store.StepInvoking || p.State == store.StepCompensating) && !yield(at, n, p) {
				return
			}
		}
	}
}

// waits says that something of the execution waits for somebody outside, or for a child.
func (m *mirror) waits() bool {
	found := false
	m.phases(func(_ store.Place, _ store.Node, p store.Progress) bool {
		found = p.Waits == store.WaitingOutside || p.Waits == store.WaitingForChild
		return !found
	})
	return found
}

// judgeRest wants an execution that nobody drives to have nothing that needs an owner, and
// something that wakes it (I8).
func (m *mirror) judgeRest() {
	m.phases(func(at store.Place, n store.Node, p store.Progress) bool {
		switch {
		case p.Waits == store.WaitingForLock, p.Waits == store.WaitingForTurn, len(n.Holds) > 0, n.Ticket != "",
			p.Waits == store.NotWaiting && slices.Contains([]verb{doVerb, asyncVerb, sleepVerb, callVerb}, m.spec(at).verb):
			m.w.faultf("I8: %s is let go, and %s is %s and waits for %q, with %d locks", m.name, m.spec(at).name, p.State, p.Waits, len(n.Holds))
		}
		return true
	})
	for id, f := range m.frames {
		if len(f.Holds) > 0 {
			m.w.faultf("I8: %s is let go, and its frame %d has %d locks", m.name, id, len(f.Holds))
		}
	}
	if len(m.outbox) > 0 {
		m.w.faultf("I8: %s is let go, and has %d errands", m.name, len(m.outbox))
	}
	if m.head.DueAt.IsZero() && !m.waits() {
		m.w.faultf("I8: %s is let go, and nothing will ever wake it", m.name)
	}
}
