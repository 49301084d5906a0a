package storesqlite

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

var _ = isChild("write", writeUntilKilled)

const crashWriters = 8

// writeUntilKilled writes to executions, those that are there or new ones, and prints each
// answer.
func writeUntilKilled(path string) error {
	s, err := Open(path, Config{})
	if err != nil {
		return err
	}
	i := store.Instance{Node: "node", Incarnation: fmt.Sprint(os.Getpid())}
	if err := s.Heartbeat(background, i, forLong); err != nil {
		return err
	}
	var wg sync.WaitGroup
	errs := make(chan error, crashWriters)
	for n := range crashWriters {
		wg.Go(func() { errs <- writeOn(s, i, n) })
	}
	return <-errs
}

func writeOn(s *Store, i store.Instance, n int) error {
	id := fmt.Sprint("x", n)
	x := fresh(id)
	x.Owner, x.RunUID = i, "run of "+i.Incarnation
	existing, err := s.Create(background, x)
	if err != nil {
		return err
	}
	if existing != nil {
		list, err := s.Claim(background, store.Claim{Instance: i, ID: uint64(n) + 1, Plans: []store.PlanID{thePlan}, Keys: []store.Key{x.Key}, Predecessors: true})
		if err != nil || len(list) != 1 {
			return fmt.Errorf("claimed %d of %s, %v", len(list), id, err)
		}
		x = list[0].Snapshot
	}
	for {
		w := write(x, fmt.Append(nil, id, " ", x.Revision))
		if err := commitOne(s, w); err != nil {
			return err
		}
		x.Revision++
		fmt.Println(id, x.Revision)
	}
}

// child starts this test's binary as another process.
func child(t *testing.T, what, path string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.Command(os.Args[0], path)
	cmd.Env = append(os.Environ(), childVariable+"="+what)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd, bufio.NewScanner(out)
}

func TestWhatWasAnsweredIsThereAfterTheProcessWasKilled(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	answered := map[string]uint64{}
	for round := range 4 {
		cmd, out := child(t, "write", path)
		lines, enough := 0, 50+round*137
		for out.Scan() {
			var id string
			var revision uint64
			if _, err := fmt.Sscan(out.Text(), &id, &revision); err != nil {
				t.Fatalf("the child says %q", out.Text())
			}
			answered[id] = max(answered[id], revision)
			if lines++; lines == enough {
				if round == 0 {
					wantHolder(t, path, cmd.Process.Pid)
				}
				wantReadable(t, path, id, revision)
				if err := cmd.Process.Kill(); err != nil { // what it still says was answered before
					t.Fatal(err)
				}
			}
		}
		if lines < enough {
			t.Fatalf("the child has said %d things", lines)
		}
		_ = cmd.Wait()
		s := reopened(t, path)
		for id, revision := range answered {
			x := loadOne(t, s, fresh(id).Key)
			if x.Revision < revision {
				t.Errorf("%s: revision %d was answered, and there is %d", id, revision, x.Revision)
			}
			wantNoGaps(t, x)
		}
		if err := s.Check(t.Context()); err != nil {
			t.Error(err)
		}
		closed(t, s)
	}
	if len(answered) != crashWriters {
		t.Errorf("%d of %d were written to", len(answered), crashWriters)
	}
}

// wantNoGaps expects one cell of each write, those of the revisions that claims made left
// out.
func wantNoGaps(t *testing.T, x *store.Snapshot) {
	t.Helper()
	if want := x.Revision - x.Epoch; uint64(len(x.Cells)) != want {
		t.Errorf("%s: %d cells, want %d of revision %d in epoch %d", x.ID, len(x.Cells), want, x.Revision, x.Epoch)
	}
	for _, c := range x.Cells {
		if want := fmt.Sprint(x.ID, " ", c.ID); string(c.Data) != want {
			t.Errorf("%s: cell %d is %q, want %q", x.ID, c.ID, c.Data, want)
		}
	}
}

// wantReadable reads what another process has written, while it writes on.
func wantReadable(t *testing.T, path, id string, revision uint64) {
	t.Helper()
	r, err := OpenReadOnly(path, Config{})
	if err != nil {
		t.Fatal(err)
	}
	x := loadOne(t, r, fresh(id).Key)
	if x.Revision < revision {
		t.Errorf("%s: revision %d was answered, and %d is read", id, revision, x.Revision)
	}
	wantNoGaps(t, x)
	closed(t, r)
}

func wantHolder(t *testing.T, path string, pid int) {
	t.Helper()
	_, err := Open(path, Config{})
	if e, ok := errors.AsType[*LockedError](err); !ok || e.PID != pid {
		t.Errorf("while the child has the file: %v, want a LockedError with process %d", err, pid)
	}
}

func TestALeaseGoesOnWhileTheStoreIsClosed(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	s := opened(t, path, Config{})
	short := store.Instance{Node: "short", Incarnation: "1"}
	if err := s.Heartbeat(t.Context(), short, 50*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	x := fresh("x")
	x.Owner = short
	if _, err := s.Create(t.Context(), x); err != nil {
		t.Fatal(err)
	}
	closed(t, s)
	for until := time.Now().Add(60 * time.Millisecond); time.Now().Before(until); {
		time.Sleep(time.Millisecond)
	}
	s = opened(t, path, Config{})
	list, err := s.Claim(t.Context(), store.Claim{Instance: me, ID: 1, Plans: []store.PlanID{thePlan}})
	if err != nil || len(list) != 1 || !list[0].Unclean {
		t.Errorf("claimed %v, %v; want what the lapsed one had, unclean", list, err)
	}
	wantIs(t, "its heartbeat", s.Heartbeat(t.Context(), short, forLong), store.ErrInstance)
}

func TestWhatALapsedInstanceOwnedIsClaimedAfterReopeningHoweverMuchItIs(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	s := opened(t, path, Config{Sync: Relaxed})
	gone := store.Instance{Node: "gone", Incarnation: "1"}
	if err := s.Heartbeat(t.Context(), gone, forLong); err != nil {
		t.Fatal(err)
	}
	const many = 3*inStep + 7
	var calls sync.WaitGroup
	for c := range 16 {
		calls.Go(func() {
			for i := c; i < many; i += 16 {
				x := fresh(fmt.Sprint(i))
				x.Owner = gone
				if _, err := s.Create(t.Context(), x); err != nil {
					t.Error(err)
				}
			}
		})
	}
	calls.Wait()
	if err := s.End(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	closed(t, s) // in the midst of it
	s = opened(t, path, Config{Sync: Relaxed})
	got := map[string]bool{}
	for id := uint64(1); id < 100; id++ {
		list, err := s.Claim(t.Context(), store.Claim{Instance: me, ID: id, Plans: []store.PlanID{thePlan}, Limit: 150})
		if err != nil {
			t.Fatal(err)
		}
		if len(list) == 0 {
			break
		}
		for _, x := range list {
			if got[x.ID] || x.Unclean {
				t.Errorf("%s again: %t, unclean: %t", x.ID, got[x.ID], x.Unclean)
			}
			got[x.ID] = true
		}
	}
	if len(got) != many {
		t.Errorf("%d were claimed, want %d", len(got), many)
	}
}
