package lockredis_test

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

// Whether a process lives is said by the first request that waits, not by one before
// it that had its key at once.
func TestTheFirstOfAProcessThatWaitsIsServedByTheReleaseItself(t *testing.T) {
	t.Parallel()
	for name, own := range map[string]bool{"of the same process": true, "of another process": false} {
		t.Run(name, func(t *testing.T) {
			holder := newRig(t)
			fresh := holder.another()
			if own {
				holder = fresh
			}
			g, err := holder.Acquire(bg, driver.Request{Keys: []string{"k"}, Owner: "*", Wait: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			if g, err := fresh.Acquire(bg, driver.Request{Keys: []string{"free"}, Owner: "*", Wait: time.Minute}); err != nil {
				t.Fatal(err)
			} else {
				fresh.free(g)
			}
			got := fresh.ask(driver.Request{Keys: []string{"k"}, Owner: "*", Wait: time.Minute})
			fresh.inLine("k", 1)
			holder.free(g)
			fresh.free(granted(t, got, 300*time.Millisecond, "the waiter")) // a tick comes after 500 ms
		})
	}
}

// The server has forgotten everything, the sequence of tickets too.
func TestANewArrivalAfterAFlushIsBehindThoseWhoWait(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.take("x", 0, "k")
	for i := range 20 { // the queue has been in use
		if _, err := r.Acquire(bg, driver.Request{Keys: []string{"k"}, Owner: fmt.Sprint("w", i), Wait: time.Millisecond}); !errors.Is(err, driver.ErrTimeout) {
			t.Fatal(err)
		}
	}
	old := r.ask(driver.Request{Keys: []string{"k"}, Owner: "old", Wait: time.Minute})
	r.inLine("k", 1)
	if _, err := r.redis.TxPipelined(bg, func(tx redis.Pipeliner) error {
		tx.FlushAll(bg)
		tx.Set(bg, "medusa_lock:k", "x", 0) // somebody has it again
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	r.inLine("k", 1)
	young := r.another().ask(driver.Request{Keys: []string{"k"}, Owner: "young", Wait: time.Minute})
	r.inLine("k", 2)
	r.redis.Del(bg, "medusa_lock:k")
	select {
	case o := <-old:
		if o.err != nil {
			t.Fatal(o.err)
		}
	case o := <-young:
		t.Fatalf("the one that came after the flush was served before the one that waited: %+v", o)
	case <-time.After(10 * time.Second):
		t.Fatal("nobody was served")
	}
}

// childURL names the server of a child process: this test's binary, which then waits
// for k many times over, and asks for other things all the time.
const childURL = "LOCKREDIS_TEST_CHILD_URL"

const childWaiters = 120

func init() { //nolint:gochecknoinits // a child process never comes to the tests
	if url := os.Getenv(childURL); url != "" {
		p := lockredis.New(lockredis.Config{RedisURL: url})
		if err := p.Start(bg, driver.Env{ID: "child", Logger: slog.New(slog.DiscardHandler)}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		for i := range childWaiters {
			go p.Acquire(bg, driver.Request{Keys: []string{"k"}, Owner: fmt.Sprint("w", i), Wait: 2 * time.Minute})
		}
		for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); {
			p.Acquire(bg, driver.Request{Keys: []string{"busy"}, Owner: "*", Wait: time.Millisecond})
		}
		os.Exit(0)
	}
}

// Its liveness lapsed, its waiters were cleared away, and what it says first when it
// goes on may be a request as well as a tick.
func TestAProcessThatWasStoppedStatesItsWaitersAgain(t *testing.T) {
	t.Parallel()
	near := newRig(t)
	g := near.take("x", 0, "k")
	near.take("x", 0, "busy")
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childURL+"="+near.server.URL())
	child.Stderr = os.Stderr
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		child.Process.Kill()
		child.Wait()
	})
	near.inLine("k", childWaiters)
	child.Process.Signal(syscall.SIGSTOP)
	redistest.Eventually(t, 10*time.Second, func() string {
		if left := near.redis.Keys(bg, hubName("p:*")).Val(); len(left) > 0 {
			return "it still counts as alive"
		}
		return ""
	})
	near.free(g) // those of the stopped process are passed over, and cleared away
	near.take("x", 0, "k")
	near.inLine("k", 0)
	child.Process.Signal(syscall.SIGCONT)
	began := time.Now()
	near.inLine("k", childWaiters)
	t.Logf("all are back after %s", time.Since(began))
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("all are back after %s", took)
	}
}
