// Package redistest starts real Redis servers for tests. Nothing else does.
package redistest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Server is a redis-server process on a loopback port, with a folder of its own
// and without persistence. It ends with the test.
type Server struct {
	t    testing.TB
	port int
	dir  string
	args []string
	cmd  *exec.Cmd
	died chan struct{}
}

// Start starts a server; args are added to its command line. Without a
// redis-server the test is skipped, with the reason; on CI it fails.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("redistest: there is no redis-server; `make setup` installs one")
		}
		t.Skip("redistest: skipped, there is no redis-server on PATH; `make setup` installs one")
	}
	s := &Server{t: t, port: freePort(t), dir: t.TempDir(), args: args}
	s.launch()
	t.Cleanup(s.Kill)
	return s
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("redistest: find a free port: %v", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func (s *Server) logFile() string { return filepath.Join(s.dir, "log") }

func (s *Server) launch() {
	s.t.Helper()
	args := append([]string{
		"--port", strconv.Itoa(s.port), "--bind", "127.0.0.1", "--dir", s.dir, "--logfile", s.logFile(),
		"--save", "", "--appendonly", "no",
	}, s.args...)
	s.cmd = exec.Command("redis-server", args...)
	s.died = make(chan struct{})
	if err := s.cmd.Start(); err != nil {
		s.t.Fatalf("redistest: start redis-server: %v", err)
	}
	go func(cmd *exec.Cmd, died chan struct{}) {
		_ = cmd.Wait() // it is killed: how it ended says nothing
		close(died)
	}(s.cmd, s.died)
	s.awaitReady()
}

// awaitReady waits until the server takes connections.
func (s *Server) awaitReady() {
	s.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	var last error
	for time.Now().Before(deadline) {
		conn, err := net.DialTimeout("tcp", s.Addr(), time.Second)
		if err == nil {
			_ = conn.Close() // nothing was sent
			return
		}
		last = err
		select {
		case <-s.died:
			s.t.Fatalf("redistest: redis-server ended: %s", s.log())
		case <-time.After(5 * time.Millisecond):
		}
	}
	s.t.Fatalf("redistest: redis-server does not answer: %v\n%s", last, s.log())
}

func (s *Server) log() string {
	text, err := os.ReadFile(s.logFile())
	if err != nil {
		return fmt.Sprintf("(no log: %v)", err)
	}
	return string(text)
}

// Addr is host:port.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// URL is the server's URL.
func (s *Server) URL() string { return "redis://" + s.Addr() }

// Client returns a plain client, closed with the test.
func (s *Server) Client() *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: s.Addr()})
	s.t.Cleanup(func() { _ = c.Close() }) // the test is over
	return c
}

// Kill ends the server with SIGKILL, and waits until it is gone.
func (s *Server) Kill() {
	_ = s.cmd.Process.Kill() // it may be gone already
	<-s.died
}

// Restart kills the server and starts it again on the same port, empty.
func (s *Server) Restart() {
	s.t.Helper()
	s.Kill()
	s.launch()
}

// Pause stops the server with SIGSTOP; Resume lets it go on.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Resume undoes Pause.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatalf("redistest: %v: %v", sig, err)
	}
}

// Eventually waits until check answers "", and fails with what it last answered
// when that takes longer than the bound.
func Eventually(t testing.TB, bound time.Duration, check func() string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	for {
		last := check()
		if last == "" {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("not within %s; last seen: %s", bound, last)
		case <-time.After(2 * time.Millisecond):
		}
	}
}
