package faults

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/store/storesqlite"
	"github.com/lockstep-dev/lockstep/workflow"
)

var (
	kills = flag.Int("kills", 15, "how often the process is killed")
	seed  = flag.Uint64("seed", 0, "of the executions, and of the delays before the kills; 0 is one of the time")
	locks = flag.String("locks", "", "where the locks are: on a server, redis, or in memory, where they die with the process; empty is one after the other")
	keep  = flag.String("keep", "", "a folder, which is emptied, to leave the store and the notes of a run in; empty is one that goes with the test")
)

const (
	// mostWritten is how many bytes of notes a process may write before it dies, about
	// two hundred of them.
	mostWritten = 40 << 10
	// longestLife is when one is killed that has written less.
	longestLife = 3 * time.Second
	// longestEnd is what the last one has to bring all to its end.
	longestEnd = 90 * time.Second
)

// run is a run of processes, one after the other, on one store.
type run struct {
	*testing.T
	orders

	random *rand.Rand
	began  time.Time
}

func newRun(t *testing.T, locks string) *run {
	t.Helper()
	r := &run{T: t, orders: orders{Dir: *keep, Seed: *seed, Locks: locks, Callers: 24}, began: time.Now()}
	if r.Dir == "" {
		r.Dir = t.TempDir()
	} else if err := os.RemoveAll(r.Dir); err != nil {
		t.Fatal(err)
	} else if err := os.MkdirAll(r.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if r.Seed == 0 {
		r.Seed = uint64(time.Now().UnixNano())
	}
	r.random = rand.New(rand.NewPCG(r.Seed, 0))
	l, err := openNotes(r.Dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
	t.Logf("-seed=%d -kills=%d", r.Seed, *kills)
	return r
}

// process starts the next process, whose output comes through out.
func (r *run) process(last bool) (kill func(), out *bufio.Scanner, ended func() string) {
	r.Helper()
	r.Process++
	r.Last = last
	told, err := json.Marshal(r.orders)
	if err != nil {
		r.Fatal(err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		r.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+string(told), "GORACE=atexit_sleep_ms=0")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = write, &said
	died, err := redistest.StartTied(cmd)
	if err != nil {
		r.Fatal(err)
	}
	_ = write.Close() // it is the child's
	kill = func() { _ = cmd.Process.Kill() }
	r.Cleanup(func() {
		kill()
		<-died
		_ = read.Close()
	})
	return kill, bufio.NewScanner(read), func() string {
		<-died
		return fmt.Sprint(cmd.ProcessState, "\n", said.String())
	}
}

// killed has a process die at a random moment: most often when a number of things have
// happened in it, which takes longer where a machine is slow, and now and then when it
// starts.
func (r *run) killed() {
	r.Helper()
	began, before, ready := time.Now(), r.written(), time.Duration(0)
	kill, out, ended := r.process(false)
	things, moment := r.random.Int64N(mostWritten), time.Duration(r.random.Int64N(int64(20*time.Millisecond)))
	if r.random.IntN(4) == 0 {
		moment *= 10 // from its very start on
	} else {
		for out.Scan() && out.Text() != started {
		}
		ready = time.Since(began)
		for until := time.Now().Add(longestLife); r.written() < before+things && time.Now().Before(until); {
			time.Sleep(time.Millisecond) // the pause between two looks
		}
	}
	time.Sleep(moment) // and not when something has just been written
	kill()
	end := ended()
	if !strings.Contains(end, "signal: killed") && !strings.Contains(end, workflow.ErrLostLease.Error()) || strings.Contains(end, "DATA RACE") {
		r.Fatalf("process %d has ended before it was killed, or has raced: %s", r.Process, end)
	}
	r.Logf("process %d: started after %s, %d bytes of notes in %s; %s", r.Process,
		ready.Round(time.Millisecond), r.written()-before, time.Since(began).Round(time.Millisecond), end)
}

// written is how many bytes of notes there are.
func (r *run) written() int64 {
	info, err := os.Stat(notesIn(r.Dir))
	if err != nil {
		r.Fatal(err)
	}
	return info.Size()
}

// finished has the last process bring all to its end. One that loses its lease, because the
// machine stands still, is as good as dead.
func (r *run) finished() {
	r.Helper()
	for {
		kill, out, ended := r.process(true)
		late := time.AfterFunc(longestEnd, kill)
		for out.Scan() {
			r.Logf("the last process: %s", out.Text())
		}
		end := ended()
		late.Stop()
		switch {
		case strings.Contains(end, "exit status 0"):
			return
		case !strings.Contains(end, workflow.ErrLostLease.Error()):
			r.Fatalf("the last process has not come to an end within %s, or to a wrong one: %s", longestEnd, end)
		}
		r.Logf("process %d: %s", r.Process, end)
	}
}

// judge looks at what is left.
func (r *run) judge() {
	r.Helper()
	states := map[string]store.ExecutionState{}
	s, err := storesqlite.Open(storeIn(r.Dir), storesqlite.Config{})
	if err != nil {
		r.Fatal(err)
	}
	defer s.Close(context.Background())
	if err := s.Check(r.Context()); err != nil {
		r.Error(err)
	}
	if err := eachExecution(r.Context(), s, func(x *store.Snapshot) { states[x.ID] = x.State }); err != nil {
		r.Fatal(err)
	}
	j := newJudge(r.T, kinds(&world{}), r.Seed, mustRead(r.T, r.Dir))
	j.all(states)
	r.Logf("%d processes in %s: %s", r.Process, time.Since(r.began).Round(time.Millisecond), j)
}

func (r *run) all() {
	r.Helper()
	for range *kills {
		r.killed()
	}
	r.finished()
	r.judge()
}

func TestExecutionsWhoseProcessIsKilledAtRandomMomentsEndRight(t *testing.T) {
	ran := false
	where := func(name string, run func(t *testing.T)) {
		if *locks == name || *locks == "" {
			ran = true
			t.Run("with locks "+name, run)
		}
	}
	where("redis", func(t *testing.T) {
		server := redistest.Start(t)
		newRun(t, server.URL()).all()
		noKeyIsLeft(t, server)
	})
	where("memory", func(t *testing.T) { newRun(t, "").all() })
	if !ran {
		t.Fatalf("-locks=%s: expected redis or memory", *locks)
	}
}

// noKeyIsLeft wants nothing of a lock on the server, neither a holder nor one that waits.
func noKeyIsLeft(t *testing.T, server *redistest.Server) {
	t.Helper()
	for _, k := range server.Client().Keys(t.Context(), "*").Val() {
		// The sequences of tokens and of tickets stay, and the word that a process lives
		// lapses by itself.
		if strings.HasSuffix(k, "}:t") || strings.HasSuffix(k, "}:n") || strings.Contains(k, "}:p:") {
			continue
		}
		t.Errorf("%q is left in Redis", k)
	}
}
