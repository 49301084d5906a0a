package redistest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// childVariable makes the test binary a process that starts a server and waits.
const childVariable = "REDISTEST_CHILD"

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAServerDoesNotOutliveAKilledTestBinary(t *testing.T) {
	if os.Getenv(childVariable) != "" {
		fmt.Println("server", Start(t).Addr())
		select {} // until it is killed
	}
	if runtime.GOOS != "linux" {
		t.Skip("skipped: only Linux ends a process with the one that started it")
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), childVariable+"=1", "TMPDIR="+t.TempDir())
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said, err := bufio.NewReader(out).ReadString('\n')
	addr, ok := strings.CutPrefix(strings.TrimSpace(said), "server ")
	if !ok {
		t.Errorf("the child said %q, %v", said, err)
	}
	if ok && !answers(addr) {
		t.Errorf("there is no server at %s", addr)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait() // it was killed
	if t.Failed() {
		return
	}
	killed := time.Now()
	Eventually(t, 5*time.Second, func() string {
		if answers(addr) {
			return "the server at " + addr + " takes connections"
		}
		return ""
	})
	t.Logf("the server was gone %s after the kill", time.Since(killed))
}

func answers(addr string) bool {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// taken returns a port that somebody else listens on.
func taken(t *testing.T, offset int) int {
	t.Helper()
	for range portTries {
		port, err := choosePort()
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", address(port+offset))
		if err != nil {
			continue
		}
		t.Cleanup(func() { l.Close() })
		return port
	}
	t.Fatal("there is no port to take")
	return 0
}

func TestAPortThatWasTakenMeanwhileIsPassedOver(t *testing.T) {
	for name, c := range map[string]struct {
		offset int
		args   []string
	}{
		"the server's own": {},
		"the cluster's":    {busOffset, []string{"--cluster-enabled", "yes"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := Start(t, c.args...)
			s.Kill()
			bad, tries := taken(t, c.offset), 0
			err := s.startOn(func() (int, error) {
				if tries++; tries < 3 {
					return bad, nil
				}
				return choosePort()
			}, ready)
			if err != nil || tries != 3 || s.port == bad {
				t.Fatalf("got %v after %d tries, on port %d; %d was taken", err, tries, s.port, bad)
			}
			if err := s.Client().Ping(context.Background()).Err(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestPortsThatAreAllTakenAreAnErrorInTheEnd(t *testing.T) {
	s := Start(t)
	s.Kill()
	bad, tries := taken(t, 0), 0
	err := s.startOn(func() (int, error) { tries++; return bad, nil }, ready)
	if !errors.Is(err, errPortTaken) || tries != portTries {
		t.Fatalf("got %v after %d tries", err, tries)
	}
}

func TestAServerThatCannotStartIsAnErrorAtOnce(t *testing.T) {
	s := Start(t)
	s.Kill()
	s.args, s.port = []string{"--no-such-option", "1"}, 0
	tries := 0
	err := s.startOn(func() (int, error) { tries++; return choosePort() }, ready)
	if err == nil || tries != 1 || errors.Is(err, errPortTaken) {
		t.Fatalf("got %v after %d tries", err, tries)
	}
}

func TestAClustersPortIsLegalForEveryServer(t *testing.T) {
	if highest := firstPort + ports - 1 + busOffset; highest > 65535 {
		t.Fatalf("a bus may get port %d", highest)
	}
	for range 20 {
		port, err := choosePort()
		if err != nil || port < firstPort || port >= firstPort+ports {
			t.Fatalf("got %d, %v", port, err)
		}
	}
	info := Start(t, "--cluster-enabled", "yes").Client().ClusterInfo(context.Background())
	if err := info.Err(); err != nil {
		t.Fatal(err)
	}
}

func TestARestartedServerIsAtTheSameAddressAndEmpty(t *testing.T) {
	s := Start(t)
	addr := s.Addr()
	s.Client().Set(context.Background(), "k", "v", 0)
	s.Restart()
	n, err := s.Client().DBSize(context.Background()).Result()
	if n != 0 || err != nil || s.Addr() != addr {
		t.Fatalf("got %d keys, %v, at %s; it was at %s", n, err, s.Addr(), addr)
	}
}
