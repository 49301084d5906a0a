package redistest

import (
	"context"
	"testing"
)

// Migration is a slot on its way from one node of a cluster to another. Meanwhile
// the old node answers for the keys that are there, and else ASK, or TRYAGAIN to a
// command with keys of both kinds.
type Migration struct {
	t        testing.TB
	slot     int
	from, to *Server
	nodes    []*Server
}

// Migrate begins to move a slot.
func (c *Cluster) Migrate(slot int, from, to *Server) *Migration {
	c.t.Helper()
	m := &Migration{t: c.t, slot: slot, from: from, to: to, nodes: c.Masters}
	to.do("cluster", "setslot", slot, "importing", from.ID())
	from.do("cluster", "setslot", slot, "migrating", to.ID())
	return m
}

// Keys are those of the slot that are at the old node still.
func (m *Migration) Keys() []string {
	m.t.Helper()
	keys, err := m.from.Client().ClusterGetKeysInSlot(context.Background(), m.slot, 10_000).Result()
	if err != nil {
		m.t.Fatalf("redistest: the keys of slot %d: %v", m.slot, err)
	}
	return keys
}

// Move moves some of the keys.
func (m *Migration) Move(keys ...string) {
	m.t.Helper()
	if len(keys) == 0 {
		return
	}
	host, port := hostPort(m.to)
	args := []any{"migrate", host, port, "", 0, 5000, "keys"}
	for _, k := range keys {
		args = append(args, k)
	}
	m.from.do(args...)
}

// Finish moves what is left, and gives the slot to the new node. Other nodes learn of
// it at once.
func (m *Migration) Finish() {
	m.t.Helper()
	for keys := m.Keys(); len(keys) > 0; keys = m.Keys() {
		m.Move(keys...)
	}
	id := m.to.ID()
	m.to.do("cluster", "setslot", m.slot, "node", id)
	m.from.do("cluster", "setslot", m.slot, "node", id)
	for _, s := range m.nodes {
		if s != m.to && s != m.from && s.lives() {
			s.do("cluster", "setslot", m.slot, "node", id)
		}
	}
}
