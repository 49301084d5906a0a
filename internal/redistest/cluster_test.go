package redistest

import (
	"context"
	"strings"
	"testing"
	"time"
)

var bg = context.Background()

func TestANodeOfAClusterComesBackWithItsPlaceAndWithAnAppendOnlyFileWithItsData(t *testing.T) {
	t.Parallel()
	c := StartCluster(t, 3, 0, "--appendonly", "yes", "--appendfsync", "always")
	client := c.Client()
	if err := client.Set(bg, "{bar}", "v", 0).Err(); err != nil { // slot 5061
		t.Fatal(err)
	}
	node := c.Owner(5061)
	id := node.ID()
	node.Restart()
	c.Healthy()
	if v, err := client.Get(bg, "{bar}").Result(); v != "v" || err != nil || node.ID() != id {
		t.Fatalf("got %q, %v, from %s, which was %s", v, err, node.ID(), id)
	}
}

func TestAReplicaTakesTheKilledMastersPlace(t *testing.T) {
	t.Parallel()
	c := StartCluster(t, 3, 1)
	began := time.Now()
	c.Owner(5061).Kill()
	Eventually(t, 20*time.Second, func() string {
		return roleOf(replicaOf(c, 5061))
	})
	t.Logf("after %s", time.Since(began))
	c.Healthy()
}

// replicaOf is the replica of the master that has a slot.
func replicaOf(c *Cluster, slot int) *Server {
	for i, m := range c.Masters {
		if m == c.Owner(slot) {
			return c.Replicas[i]
		}
	}
	return nil
}

// roleOf is "" for a master.
func roleOf(s *Server) string {
	info := s.Client().Info(bg, "replication").Val()
	if strings.Contains(info, "role:master") {
		return ""
	}
	return info
}

func TestASlotOnItsWayAnswersWithASKAndTRYAGAINAndThenWithMOVED(t *testing.T) {
	t.Parallel()
	c := StartCluster(t, 3, 0)
	from, to := c.Owner(5061), c.Masters[2]
	for _, k := range []string{"a{bar}", "b{bar}"} {
		from.do("set", k, "v")
	}
	m := c.Migrate(5061, from, to)
	if got := len(m.Keys()); got != 2 {
		t.Fatalf("the slot has %d keys", got)
	}
	m.Move("a{bar}")
	old := from.Client()
	for want, args := range map[string][]any{"ASK 5061": {"get", "a{bar}"}, "TRYAGAIN": {"mget", "a{bar}", "b{bar}"}} {
		if err := old.Do(bg, args...).Err(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v: %v, want %s", args, err, want)
		}
	}
	if err := old.Get(bg, "b{bar}").Err(); err != nil {
		t.Error(err)
	}
	m.Finish()
	if err := old.Get(bg, "b{bar}").Err(); err == nil || !strings.HasPrefix(err.Error(), "MOVED 5061 "+to.Addr()) {
		t.Errorf("got %v, want MOVED", err)
	}
	c.Healthy()
}
