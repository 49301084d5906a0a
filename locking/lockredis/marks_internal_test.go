package lockredis

import (
	"testing"
	"time"
)

// What one node of a cluster tells may be late when another's has come: only a hub's own
// mark says that a grant was made after it.
func TestAMarkOfOneHubSaysNothingOfAnothersGrants(t *testing.T) {
	p := &Provider{keys: newLayout(DefaultNamespace, true)}
	p.waits = newWaits("process", func(time.Time) {}, func(string) {})
	p.clock.sent = map[uint64]mark{}
	groups := p.keys.groups([]string{"a", "b"})
	asked := time.Now().Add(-time.Minute)
	for i := range groups {
		w := p.waits.add(&ask{id: groups[i].places[0].lock, group: &groups[i]})
		w.asked = asked
	}
	one, other := &groups[0], &groups[1]
	sent := time.Now()
	p.clock.sent[1], p.clock.sent[2] = mark{other.hub, sent}, mark{one.hub, sent}
	p.marked(2)
	if _, since := p.waits.find(other.places[0].lock); !since.Equal(asked) {
		t.Errorf("a grant of the other hub counts as made after %s, the mark of the one", since)
	}
	if _, since := p.waits.find(one.places[0].lock); !since.Equal(sent) {
		t.Errorf("a grant of the one hub counts as made after %s, its mark was sent at %s", since, sent)
	}
	if _, ok := p.clock.sent[1]; !ok || len(p.clock.sent) != 1 {
		t.Errorf("the marks that are awaited are %v", p.clock.sent)
	}
}
