package redistest

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// clusterSlots is the number of a cluster's hash slots.
const clusterSlots = 16384

// Cluster is a Redis Cluster: its masters share the slots evenly, in their order.
type Cluster struct {
	t        testing.TB
	Masters  []*Server
	Replicas []*Server // of the masters in their order, that many for each
}

// StartCluster starts a cluster with that many masters and, for each, replicas. Args
// are added to each server's command line: with "--appendonly yes" a node that is
// restarted has its data. A master that is gone for about a second is replaced by its
// replica, if it has one. Without replicas a node counts as gone after a minute only:
// where others keep the processors busy a second is nothing.
func StartCluster(t testing.TB, masters, replicas int, args ...string) *Cluster {
	t.Helper()
	c := &Cluster{t: t}
	gone := "60000"
	if replicas > 0 {
		gone = "1000"
	}
	args = append([]string{"--cluster-enabled", "yes", "--cluster-node-timeout", gone, "--cluster-replica-validity-factor", "0"}, args...)
	for range masters {
		c.Masters = append(c.Masters, Start(t, args...))
	}
	for range masters * replicas {
		c.Replicas = append(c.Replicas, Start(t, args...))
	}
	for i, s := range c.Masters {
		s.do("cluster", "set-config-epoch", i+1)
		s.do("cluster", "addslotsrange", i*clusterSlots/masters, (i+1)*clusterSlots/masters-1)
	}
	for _, s := range c.nodes()[1:] {
		host, port, _ := net.SplitHostPort(s.Addr())
		c.Masters[0].do("cluster", "meet", host, port)
	}
	c.await(masters)
	for i, s := range c.Replicas {
		s.do("cluster", "replicate", c.Masters[i/replicas].ID())
	}
	for i, s := range c.Replicas {
		Eventually(t, 20*time.Second, func() string {
			info := s.Client().Info(context.Background(), "replication").Val()
			if !strings.Contains(info, "master_link_status:up") {
				return fmt.Sprintf("replica %d: %s", i, info)
			}
			return ""
		})
	}
	return c
}

func (c *Cluster) nodes() []*Server { return slices.Concat(c.Masters, c.Replicas) }

// await returns when all nodes know each other, and that all slots are served.
func (c *Cluster) await(masters int) {
	c.t.Helper()
	for i, s := range c.nodes() {
		client := s.Client()
		Eventually(c.t, 20*time.Second, func() string {
			info := client.ClusterInfo(context.Background()).Val()
			for _, want := range []string{
				"cluster_state:ok", fmt.Sprintf("cluster_size:%d\r", masters), fmt.Sprintf("cluster_known_nodes:%d\r", len(c.nodes())),
			} {
				if !strings.Contains(info, want) {
					return fmt.Sprintf("node %d: %s", i, info)
				}
			}
			return ""
		})
	}
}

// Healthy waits until every node that lives sees all slots served.
func (c *Cluster) Healthy() {
	c.t.Helper()
	for i, s := range c.nodes() {
		if !s.lives() {
			continue
		}
		client := s.Client()
		Eventually(c.t, 20*time.Second, func() string {
			if info := client.ClusterInfo(context.Background()).Val(); !strings.Contains(info, "cluster_state:ok") {
				return fmt.Sprintf("node %d: %s", i, info)
			}
			return ""
		})
	}
}

// Addrs are the addresses of all nodes.
func (c *Cluster) Addrs() []string {
	var addrs []string
	for _, s := range c.nodes() {
		addrs = append(addrs, s.Addr())
	}
	return addrs
}

// Client returns a client that knows all nodes, closed with the test.
func (c *Cluster) Client() *redis.ClusterClient {
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs()})
	c.t.Cleanup(func() { _ = client.Close() }) // the test is over
	return client
}

// Owner is the master that a slot was given to at the start.
func (c *Cluster) Owner(slot int) *Server {
	for i := range c.Masters {
		if slot < (i+1)*clusterSlots/len(c.Masters) {
			return c.Masters[i]
		}
	}
	return nil
}

// ID is the name of a node in its cluster.
func (s *Server) ID() string {
	s.t.Helper()
	id, err := s.Client().Do(context.Background(), "cluster", "myid").Text()
	if err != nil {
		s.t.Fatalf("redistest: cluster myid: %v", err)
	}
	return id
}

// do has the server do something, or fails the test.
func (s *Server) do(args ...any) {
	s.t.Helper()
	if err := s.Client().Do(context.Background(), args...).Err(); err != nil {
		s.t.Fatalf("redistest: %v: %v", args, err)
	}
}

// lives says that the server's process has not ended.
func (s *Server) lives() bool {
	select {
	case <-s.died:
		return false
	default:
		return true
	}
}

// hostPort are the two parts of an address as commands take them.
func hostPort(s *Server) (host, port string) { return "127.0.0.1", strconv.Itoa(s.port) }
