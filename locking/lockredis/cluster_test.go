package lockredis_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

// clusterRig is a provider on a server that is a cluster of one.
func clusterRig(t *testing.T) *rig {
	t.Helper()
	server := redistest.StartCluster(t, 1, 0).Masters[0]
	p, _, err := start(t, lockredis.Config{RedisURL: server.URL()})
	if err != nil {
		t.Fatal(err)
	}
	return &rig{p, t, server, server.Client()}
}

// On a cluster of several servers, through a client that knows them all.
func TestTheToolsSeeEveryServerOfACluster(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 3, 0)
	servers, client := c.Masters, c.Client()
	events := make(chan driver.Event, 100)
	p, err := startTold(t, lockredis.Config{Client: client}, func(e driver.Event) {
		if !e.Verify { // as it is told when the nodes are looked at for the first time
			events <- e
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{p, t, servers[0], nil}

	const n = 30
	var ours, all []string
	for i := range n {
		ours = append(ours, fmt.Sprint("ours-", i))
		all = append(all, ours[i], fmt.Sprint("theirs-", i))
		r.take("me", 0, ours[i])
		if err := client.Set(bg, fmt.Sprint("medusa_lock:theirs-", i), "cart", 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(ours)
	slices.Sort(all)
	if got := keysOf(r.list(driver.ListRequest{})); !slices.Equal(got, ours) {
		t.Errorf("our own are %q", got)
	}
	for _, limit := range []int{0, 3} {
		if got := keysOf(r.list(driver.ListRequest{IncludeForeign: true, Limit: limit})); !slices.Equal(got, all) {
			t.Errorf("with limit %d all are %q", limit, got)
		}
	}

	fence := lockredis.Fence{Client: client}
	for _, k := range ours {
		s := r.state(k)
		if !s.Held || s.Owner != "me" || s.Foreign {
			t.Fatalf("got %+v", s)
		}
		r.force(driver.ForceRequest{Key: k, Owner: "me", Token: s.Token, Reason: "why", Now: true}, true)
		if e := next(t, events); e.Revoked.Key != k || e.Reason != "why" {
			t.Fatalf("told was %+v, for %q", e, k)
		}
		mustWrite(t, fence, k, s.Token, lockredis.Cmd("SET", k, "v"))
	}
	records := r.audit(n - 1)
	if len(records) != n-1 {
		t.Fatalf("audited are %d", len(records))
	}
	slices.Reverse(ours)
	for i, a := range records {
		if a.Key != ours[i] {
			t.Errorf("in place %d is %q, want %q", i, a.Key, ours[i])
		}
	}
}
