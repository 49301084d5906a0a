// Package redistest starts real Redis servers for tests. Nothing else does.
package redistest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Server is a redis-server process on a loopback port, with a folder of its own
// and without persistence. It ends with the test, also when the test's process is
// killed: see [StartTied].
type Server struct {
	t    testing.TB
	port int
	dir  string
	args []string
	cmd  *exec.Cmd
	died <-chan struct{}

	command func() []string // in place of redis-server's usual arguments
	tls     *tls.Config     // how clients connect; nil: without TLS
}

// Start starts a server; args are added to its command line. Without a
// redis-server the test is skipped, with the reason; on CI it fails.
//
// With "--cluster-enabled yes" the bus has the port that is 10,000 higher.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	s := &Server{t: t, args: args}
	s.start(ready)
	return s
}

// start starts the server for the first time, until it says that it is so far.
func (s *Server) start(until string) {
	s.t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		if os.Getenv("CI") != "" {
			s.t.Fatal("redistest: there is no redis-server; `make setup` installs one")
		}
		s.t.Skip("redistest: skipped, there is no redis-server on PATH; `make setup` installs one")
	}
	s.dir = s.t.TempDir()
	if err := s.startOn(choosePort, until); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(s.Kill)
}

// errPortTaken means that somebody else has the port.
var errPortTaken = errors.New("redistest: the port is taken")

// startOn starts the server on the first of the ports that it gets.
func (s *Server) startOn(choose func() (int, error), until string) error {
	var taken error
	for range portTries {
		port, err := choose()
		if err != nil {
			return err
		}
		s.port = port
		if taken = s.launch(until); !errors.Is(taken, errPortTaken) {
			return taken
		}
	}
	return fmt.Errorf("redistest: no server in %d tries: %w", portTries, taken)
}

func (s *Server) logFile() string { return filepath.Join(s.dir, "log") }

// What a server says once it has its port, and once it has its data as well.
const (
	listens = "Server initialized"
	ready   = "Ready to accept connections"
)

// launch starts the server, and returns when it says that it is so far.
func (s *Server) launch(until string) error {
	args := []string{
		"--port", strconv.Itoa(s.port), "--bind", "127.0.0.1", "--dir", s.dir, "--logfile", s.logFile(),
		"--save", "", "--appendonly", "no",
	}
	if s.command != nil {
		args = s.command()
	}
	before := len(s.log())
	cmd := exec.Command("redis-server", append(args, s.args...)...)
	died, err := StartTied(cmd)
	if err != nil {
		return fmt.Errorf("redistest: start redis-server: %w", err)
	}
	s.cmd, s.died = cmd, died
	if err := s.await(before, until); err != nil {
		s.Kill()
		return err
	}
	return nil
}

// await waits until the server says that it is so far. To connect would tell nothing: it
// may be somebody else who has taken the port.
func (s *Server) await(before int, until string) error {
	deadline := time.After(10 * time.Second)
	for {
		said := s.log()[before:]
		if strings.Contains(said, until) {
			return nil
		}
		select {
		case <-s.died:
			said = s.log()[before:]
			if strings.Contains(said, "Address already in use") {
				return fmt.Errorf("%w: %s", errPortTaken, s.Addr())
			}
			return fmt.Errorf("redistest: redis-server ended: %s", said)
		case <-deadline:
			return fmt.Errorf("redistest: redis-server does not take connections; it says: %s", said)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// log is what the server has written so far.
func (s *Server) log() string {
	text, err := os.ReadFile(s.logFile())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.t.Errorf("redistest: read the server's log: %v", err)
	}
	return string(text)
}

// Addr is host:port.
func (s *Server) Addr() string { return address(s.port) }

// URL is the server's URL.
func (s *Server) URL() string {
	if s.tls != nil {
		return "rediss://" + s.Addr()
	}
	return "redis://" + s.Addr()
}

// Client returns a plain client, closed with the test.
func (s *Server) Client() *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: s.Addr(), TLSConfig: s.tls})
	s.t.Cleanup(func() { _ = c.Close() }) // the test is over
	return c
}

// Kill ends the server with SIGKILL, and waits until it is gone.
func (s *Server) Kill() {
	_ = s.cmd.Process.Kill() // it may be gone already
	<-s.died
}

// Restart kills the server and starts it again on the same port: empty, unless it was
// started with "--appendonly yes". A node of a cluster knows its place again.
func (s *Server) Restart() {
	s.t.Helper()
	s.restart(ready)
}

// RestartLoading is [Server.Restart], but returns when the server begins to load its
// data: it takes connections, and answers LOADING.
func (s *Server) RestartLoading() {
	s.t.Helper()
	s.restart(listens)
}

func (s *Server) restart(until string) {
	s.t.Helper()
	s.Kill()
	if err := s.startOn(s.samePort(), until); err != nil {
		s.t.Fatal(err)
	}
}

// samePort chooses the server's own port, waiting a little when that was taken
// meanwhile: clients know it.
func (s *Server) samePort() func() (int, error) {
	port, first := s.port, true
	return func() (int, error) {
		if !first {
			time.Sleep(100 * time.Millisecond)
		}
		first = false
		return port, nil
	}
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
