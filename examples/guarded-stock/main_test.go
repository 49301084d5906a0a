package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lockstep-dev/lockstep/internal/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// result is the closing line.
type result struct{ sold, left, refused, compensated, oversold int }

func closing(t *testing.T, out string) result {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(out), "\n")
	var r result
	if _, err := fmt.Sscanf(lines[len(lines)-1], "sold=%d left=%d refused=%d compensated=%d oversold=%d",
		&r.sold, &r.left, &r.refused, &r.compensated, &r.oversold); err != nil {
		t.Fatalf("no closing line: %v in\n%s", err, out)
	}
	return r
}

func runMain(t *testing.T, args ...string) (result, string, int) {
	t.Helper()
	var out, errOut bytes.Buffer
	code := realMain(context.Background(), args, &out, &errOut)
	if errOut.Len() > 0 {
		t.Fatalf("%s%s", out.String(), errOut.String())
	}
	return closing(t, out.String()), out.String(), code
}

func TestGuardedOrdersNeverOversell(t *testing.T) {
	t.Setenv("LOCKING_REDIS_URL", "")
	for _, c := range []struct {
		args            []string
		orders, stock   int
		everythingGoes  bool
		someAreDeclined bool
	}{
		{[]string{"-orders", "200", "-stock", "50", "-workers", "32"}, 200, 50, false, true},
		{[]string{"-orders", "200", "-stock", "50", "-workers", "32", "-decline", "0"}, 200, 50, true, false},
		{[]string{"-orders", "120", "-stock", "10", "-products", "3"}, 120, 30, false, true},
		{[]string{"-orders", "10", "-stock", "20"}, 10, 20, false, false},
		{[]string{"-orders", "0"}, 0, 20, false, false},
	} {
		r, out, code := runMain(t, c.args...)
		if code != 0 || r.oversold != 0 || r.sold+r.left != c.stock || r.sold+r.refused+r.compensated != c.orders {
			t.Errorf("%v: status %d\n%s", c.args, code, out)
		}
		if c.everythingGoes && r.left != 0 {
			t.Errorf("%v: %d left", c.args, r.left)
		}
		if c.someAreDeclined && r.compensated == 0 {
			t.Errorf("%v: no card was declined", c.args)
		}
	}
}

func TestUnguardedOrdersOversell(t *testing.T) {
	t.Setenv("LOCKING_REDIS_URL", "")
	r, out, code := runMain(t, "-orders", "200", "-stock", "50", "-workers", "32", "-unguarded")
	if code != statusOversold || r.oversold == 0 {
		t.Errorf("status %d\n%s", code, out)
	}
}

func TestBadFlagsAreRefusedByName(t *testing.T) {
	t.Setenv("LOCKING_REDIS_URL", "")
	for want, args := range map[string][]string{
		"LOCKING_REDIS_URL":  {"-processes", "3"},
		"-workers 0":         {"-workers", "0"},
		"-decline 101":       {"-decline", "101"},
		"-orders -1":         {"-orders", "-1"},
		`"surplus"`:          {"surplus"},
		"flag provided but ": {"-nonsense"},
	} {
		var out, errOut bytes.Buffer
		if code := realMain(context.Background(), args, &out, &errOut); code != statusUsage || !strings.Contains(errOut.String(), want) {
			t.Errorf("%v: status %d, %q", args, code, errOut.String())
		}
	}
}

// build compiles the example, so that it can start itself.
func build(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "guarded-stock")
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return bin
}

func TestThreeProcessesShareTheStockThroughRedis(t *testing.T) {
	server, bin := redistest.Start(t), build(t)
	t.Setenv("LOCKING_REDIS_URL", server.URL())
	out, err := exec.Command(bin, "-orders", "200", "-stock", "50", "-workers", "32", "-processes", "3").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if r := closing(t, string(out)); r.oversold != 0 || r.sold+r.left != 50 || r.sold+r.refused+r.compensated != 200 {
		t.Errorf("\n%s", out)
	}
	for _, k := range server.Client().Keys(context.Background(), "*").Val() {
		// The sequences of tokens and of tickets stay, and the word that a process lives
		// lapses by itself.
		if strings.HasSuffix(k, "}:t") || strings.HasSuffix(k, "}:n") || strings.Contains(k, "}:p:") {
			continue
		}
		t.Errorf("%q is left in Redis", k)
	}
	if out, err := exec.Command(bin, "-orders", "200", "-stock", "50", "-processes", "3", "-unguarded").CombinedOutput(); err == nil {
		t.Errorf("unguarded, it did not oversell:\n%s", out)
	}
}

func TestAnInterruptEndsItInTimeAndFreesItsLocks(t *testing.T) {
	server, bin := redistest.Start(t), build(t)
	for _, processes := range []string{"1", "3"} {
		cmd := exec.Command(bin, "-orders", "1000000", "-stock", "1000000", "-processes", processes)
		cmd.Env = append(os.Environ(), "LOCKING_REDIS_URL="+server.URL())
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		redistest.Eventually(t, 10*time.Second, func() string {
			if server.Client().Exists(context.Background(), "medusa_lock:prod_123").Val() == 1 {
				return ""
			}
			return "no order has locked its product"
		})
		began := time.Now()
		if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // its status is looked at below
		took := time.Since(began)
		t.Logf("%s process(es): it ended after %s:\n%s", processes, took.Round(time.Millisecond), out.String())
		if took > 3*2*time.Second {
			t.Errorf("it took %s, promised are 2 s", took)
		}
		if code := cmd.ProcessState.ExitCode(); code != statusInterrupted {
			t.Errorf("status %d", code)
		}
		if !strings.Contains(out.String(), "interrupted: ") {
			t.Error("it does not say what was not finished")
		}
		if server.Client().Exists(context.Background(), "medusa_lock:prod_123").Val() != 0 {
			t.Error("the product is still locked")
		}
	}
}
