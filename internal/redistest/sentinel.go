package redistest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// MasterName is the name under which sentinels know their master.
const MasterName = "mymaster"

// sentinels is how many watch a master; two of them have to agree.
const sentinels = 3

// Sentinel is a master with replicas, watched by three sentinels. A master that is
// gone for about a second is replaced by a replica.
type Sentinel struct {
	t         testing.TB
	Servers   []*Server // the first one is the master at the start
	Sentinels []*Server
}

// StartSentinel starts a master, its replicas and the sentinels. Args are added to the
// command line of the master and of the replicas.
func StartSentinel(t testing.TB, replicas int, args ...string) *Sentinel {
	t.Helper()
	args = append([]string{"--repl-diskless-sync-delay", "0"}, args...)
	s := &Sentinel{t: t, Servers: []*Server{Start(t, args...)}}
	host, port := hostPort(s.Servers[0])
	for range replicas {
		s.Servers = append(s.Servers, Start(t, append([]string{"--replicaof", host + " " + port}, args...)...))
	}
	s.Synced()
	for range sentinels {
		s.Sentinels = append(s.Sentinels, startSentinel(t, host, port))
	}
	for i, w := range s.Sentinels {
		client := s.client(w)
		Eventually(t, 20*time.Second, func() string {
			others, err := client.Sentinels(context.Background(), MasterName).Result()
			known, err2 := client.Replicas(context.Background(), MasterName).Result()
			if len(others) != sentinels-1 || len(known) != replicas {
				return fmt.Sprintf("sentinel %d knows %d others, %v, and %d replicas, %v", i, len(others), err, len(known), err2)
			}
			return ""
		})
	}
	return s
}

// startSentinel starts one. Its state is a file that it writes itself.
func startSentinel(t testing.TB, host, port string) *Server {
	t.Helper()
	s := &Server{t: t}
	s.command = func() []string {
		file := filepath.Join(s.dir, "sentinel.conf")
		config := strings.Join([]string{
			"port " + strconv.Itoa(s.port), "bind 127.0.0.1", "dir " + s.dir, "logfile " + s.logFile(),
			"sentinel monitor " + MasterName + " " + host + " " + port + " 2",
			"sentinel down-after-milliseconds " + MasterName + " 1000",
			"sentinel failover-timeout " + MasterName + " 5000", "",
		}, "\n")
		if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		return []string{file, "--sentinel"}
	}
	s.start("Sentinel ID is")
	return s
}

// client returns a client of one sentinel, closed with the test.
func (s *Sentinel) client(w *Server) *redis.SentinelClient {
	c := redis.NewSentinelClient(&redis.Options{Addr: w.Addr()})
	s.t.Cleanup(func() { _ = c.Close() }) // the test is over
	return c
}

// Addrs are the addresses of the sentinels.
func (s *Sentinel) Addrs() []string {
	var addrs []string
	for _, w := range s.Sentinels {
		addrs = append(addrs, w.Addr())
	}
	return addrs
}

// Client returns a client of whoever is the master, closed with the test.
func (s *Sentinel) Client() *redis.Client {
	c := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: MasterName, SentinelAddrs: s.Addrs()})
	s.t.Cleanup(func() { _ = c.Close() }) // the test is over
	return c
}

// Master is the server that the sentinels name.
func (s *Sentinel) Master() *Server {
	s.t.Helper()
	addr, err := s.client(s.Sentinels[0]).GetMasterAddrByName(context.Background(), MasterName).Result()
	if err != nil {
		s.t.Fatalf("redistest: the master's address: %v", err)
	}
	for _, server := range s.Servers {
		if server.Addr() == strings.Join(addr, ":") {
			return server
		}
	}
	s.t.Fatalf("redistest: the master is %q, which is none of ours", addr)
	return nil
}

// Synced waits until all replicas that live have what the master has.
func (s *Sentinel) Synced() {
	s.t.Helper()
	for i, server := range s.Servers {
		if !server.lives() {
			continue
		}
		client := server.Client()
		Eventually(s.t, 20*time.Second, func() string {
			info := client.Info(context.Background(), "replication").Val()
			if strings.Contains(info, "role:slave") && !strings.Contains(info, "master_link_status:up") {
				return fmt.Sprintf("server %d: %s", i, info)
			}
			return ""
		})
	}
}

// FailOver has the sentinels put a replica in the master's place, which becomes a replica
// itself, and returns when that is done. In between both take writes, and what the old one
// takes is lost.
func (s *Sentinel) FailOver() (before, after *Server) {
	s.t.Helper()
	before = s.Master()
	client := s.client(s.Sentinels[0])
	Eventually(s.t, 20*time.Second, func() string { // after an earlier one it may have to wait
		if err := client.Failover(context.Background(), MasterName).Err(); err != nil {
			return err.Error()
		}
		return ""
	})
	after = s.replaced(before)
	old := before.Client()
	Eventually(s.t, 20*time.Second, func() string {
		info := old.Info(context.Background(), "replication").Val()
		if !strings.Contains(info, "role:slave") {
			return "the old master is one still: " + info
		}
		return ""
	})
	return before, after
}

// KillMaster ends the master with SIGKILL, and returns when a replica has taken its
// place.
func (s *Sentinel) KillMaster() (before, after *Server) {
	s.t.Helper()
	before = s.Master()
	before.Kill()
	return before, s.replaced(before)
}

func (s *Sentinel) replaced(before *Server) *Server {
	s.t.Helper()
	for i, w := range s.Sentinels {
		client := s.client(w)
		Eventually(s.t, 30*time.Second, func() string {
			addr, err := client.GetMasterAddrByName(context.Background(), MasterName).Result()
			if err != nil || strings.Join(addr, ":") == before.Addr() {
				return fmt.Sprintf("sentinel %d names %v, %v", i, addr, err)
			}
			return ""
		})
	}
	after := s.Master()
	Eventually(s.t, 10*time.Second, func() string {
		info := after.Client().Info(context.Background(), "replication").Val()
		if !strings.Contains(info, "role:master") {
			return info
		}
		return ""
	})
	return after
}
