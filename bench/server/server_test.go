package server_test

import (
	"context"
	"errors"
	"net"
	"testing"

	"go.uber.org/goleak"

	"github.com/lockstep-dev/lockstep/bench/server"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAServerAnswersUntilItIsStopped(t *testing.T) {
	ctx := context.Background()
	s, err := server.Start(ctx)
	if errors.Is(err, server.ErrNone) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if n, err := s.Memory(ctx); n <= 0 || err != nil {
		t.Errorf("memory: %d, %v", n, err)
	}
	if v, err := s.Info(ctx, "server", "no_such_field"); err == nil {
		t.Errorf("a field that is not there is %q", v)
	}
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	if c, err := net.Dial("tcp", s.Addr()); err == nil {
		c.Close()
		t.Error("it still listens")
	}
}

func TestWithoutARedisServerTheErrorSaysSo(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := server.Start(context.Background()); !errors.Is(err, server.ErrNone) {
		t.Errorf("got %v", err)
	}
}
