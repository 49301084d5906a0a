// Package server starts a redis-server for a measurement, and ends it.
package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// ErrNone is returned where there is no redis-server on PATH.
var ErrNone = errors.New("server: there is no redis-server on PATH; `make setup` installs one")

// Server is a redis-server process on a free loopback port, with a folder of its
// own and without persistence.
type Server struct {
	addr   string
	dir    string
	cmd    *exec.Cmd
	ended  chan struct{}
	client *redis.Client
}

// Start starts a server, and returns when it answers. It ends with ctx, or by Stop.
func Start(ctx context.Context) (*Server, error) {
	if _, err := exec.LookPath("redis-server"); err != nil {
		return nil, ErrNone
	}
	var err error
	// Between the moment a free port is found and the moment the server has it,
	// somebody else may take it.
	for range 5 {
		var s *Server
		if s, err = launch(ctx); err == nil {
			return s, nil
		}
	}
	return nil, fmt.Errorf("server: redis-server does not start: %w", err)
}

func launch(ctx context.Context) (*Server, error) {
	port, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "lockstep-bench-")
	if err != nil {
		return nil, err
	}
	s := &Server{addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), dir: dir, ended: make(chan struct{})}
	s.cmd = exec.CommandContext(ctx, "redis-server",
		"--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", dir, "--logfile", filepath.Join(dir, "log"),
		"--save", "", "--appendonly", "no", "--daemonize", "no")
	if err := s.cmd.Start(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	go func() {
		_ = s.cmd.Wait() // it is killed: how it ended says nothing
		close(s.ended)
	}()
	s.client = redis.NewClient(&redis.Options{Addr: s.addr, PoolSize: 1})
	if err := s.awaitReady(ctx); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

func freePort(ctx context.Context) (int, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }() // nothing came through it
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(port)
}

// awaitReady waits until the server answers, and makes sure that it is the one that
// was started.
func (s *Server) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		pid, err := s.Info(ctx, "server", "process_id")
		if err == nil && pid != strconv.Itoa(s.cmd.Process.Pid) {
			return fmt.Errorf("process %s has the port", pid)
		}
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no answer: %w", err)
		case <-s.ended:
			text, _ := os.ReadFile(filepath.Join(s.dir, "log")) // empty where there is none
			return fmt.Errorf("it ended: %s", text)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Addr is host:port.
func (s *Server) Addr() string { return s.addr }

// Info returns one field of a section of INFO.
func (s *Server) Info(ctx context.Context, section, field string) (string, error) {
	text, err := s.client.Info(ctx, section).Result()
	if err != nil {
		return "", err
	}
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), field+":"); ok {
			return value, nil
		}
	}
	return "", fmt.Errorf("server: INFO %s has no field %s", section, field)
}

// Memory returns how many bytes the server has allocated.
func (s *Server) Memory(ctx context.Context) (int64, error) {
	text, err := s.Info(ctx, "memory", "used_memory")
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(text, 10, 64)
}

// Stop ends the server by its process, waits until it is gone, and removes its
// folder.
func (s *Server) Stop() error {
	err := s.client.Close()
	_ = s.cmd.Process.Kill() // it may be gone already
	<-s.ended
	return errors.Join(err, os.RemoveAll(s.dir))
}
