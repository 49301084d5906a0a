package lockredis_test

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

// startCluster starts servers that are a cluster together.
func startCluster(t *testing.T, n int) []*redistest.Server {
	t.Helper()
	servers := make([]*redistest.Server, n)
	for i := range servers {
		// By default the bus has a port that is 10,000 higher, which there may not be.
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		bus := l.Addr().(*net.TCPAddr).Port
		l.Close()
		servers[i] = redistest.Start(t, "--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(bus))
		from, upto := i*16384/n, (i+1)*16384/n-1
		if err := servers[i].Client().Do(bg, "cluster", "addslotsrange", from, upto).Err(); err != nil {
			t.Fatal(err)
		}
		_, port, err := net.SplitHostPort(servers[i].Addr())
		if err != nil {
			t.Fatal(err)
		}
		if err := servers[0].Client().Do(bg, "cluster", "meet", "127.0.0.1", port, bus).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range servers {
		redistest.Eventually(t, 20*time.Second, func() string {
			info := s.Client().ClusterInfo(bg).Val()
			if !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, fmt.Sprintf("cluster_size:%d\r", n)) {
				return info
			}
			return ""
		})
	}
	return servers
}

// clusterRig is a provider on a server that is a cluster of one.
func clusterRig(t *testing.T) *rig {
	t.Helper()
	server := startCluster(t, 1)[0]
	p, _, err := start(t, lockredis.Config{RedisURL: server.URL()})
	if err != nil {
		t.Fatal(err)
	}
	return &rig{p, t, server, server.Client()}
}

// On a cluster of several servers, through a client that knows them all.
func TestTheToolsSeeEveryServerOfACluster(t *testing.T) {
	servers := startCluster(t, 3)
	var addrs []string
	for _, s := range servers {
		addrs = append(addrs, s.Addr())
	}
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs})
	t.Cleanup(func() { client.Close() })
	events := make(chan driver.Event, 100)
	p, err := startTold(t, lockredis.Config{Client: client}, func(e driver.Event) { events <- e })
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
