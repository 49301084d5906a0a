package storesqlite

import (
	"bytes"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

func TestWhatIsLargeIsKeptAndReplacedAsWhatIsSmall(t *testing.T) {
	t.Parallel()
	s := opened(t, newPath(t), Config{})
	x := fresh("x")
	x.Input, x.Output = bytes.Repeat([]byte("i"), longest+1), bytes.Repeat([]byte("o"), 3<<20)
	if _, err := s.Create(t.Context(), x); err != nil {
		t.Fatal(err)
	}
	look := func(what string, output []byte) {
		t.Helper()
		page, err := s.List(t.Context(), store.Query{})
		if err != nil || len(page.Executions) != 1 {
			t.Fatal(len(page.Executions), err)
		}
		for _, got := range []*store.Snapshot{loadOne(t, s, x.Key), &page.Executions[0]} {
			if !bytes.Equal(got.Input, x.Input) || !bytes.Equal(got.Output, output) || (got.Output == nil) != (output == nil) {
				t.Errorf("%s: an input of %d bytes and an output of %d, want %d and %d", what, len(got.Input), len(got.Output), len(x.Input), len(output))
			}
		}
	}
	look("created", x.Output)
	for _, output := range [][]byte{[]byte("short"), bytes.Repeat([]byte("p"), longest+1), nil, bytes.Repeat([]byte("q"), longest), {}, bytes.Repeat([]byte("r"), 9999)} {
		x.Output = output
		put(t, s, x)
		look(fmt.Sprint("written with ", len(output)), output)
	}
}

func TestNothingIsLeftOfWhatIsForgotten(t *testing.T) {
	t.Parallel()
	s := opened(t, newPath(t), Config{})
	for i := range 4 {
		x := fresh(fmt.Sprint(i))
		x.State, x.Input, x.Output = store.Done, make([]byte, 600), make([]byte, 600)
		x.Cells, x.Inbox = []store.Cell{{ID: 1, Data: []byte("c")}, {ID: 2, Data: make([]byte, mostPacked)}}, []store.Message{{ID: "m"}}
		x.Tasks = []store.Task{{ID: "t", Queue: "q"}}
		switch i {
		case 2:
			x.ForgetAt = time.Now().Add(-time.Second)
		case 3:
			x.Input = nil
		}
		if _, err := s.Create(t.Context(), x); err != nil {
			t.Fatal(err)
		}
		switch i {
		case 0:
			if err := s.Forget(t.Context(), x.Key, x.RunUID); err != nil {
				t.Fatal(err)
			}
		case 1: // when nothing of it is in memory
			path := s.path
			closed(t, s)
			s = reopened(t, path)
			if err := s.Forget(t.Context(), x.Key, x.RunUID); err != nil {
				t.Fatal(err)
			}
		case 3: // when what was large is not any more
			x.Output = []byte("short")
			put(t, s, x)
			if err := s.Forget(t.Context(), x.Key, x.RunUID); err != nil {
				t.Fatal(err)
			}
		case 2:
			if _, err := s.Claim(t.Context(), store.Claim{Instance: me}); err != nil {
				t.Fatal(err)
			}
		}
		within(t, s, func(w *writer) error {
			for _, table := range []string{"executions", "large", "cells", "inbox", "tasks"} {
				if n, err := w.conn.number("SELECT count(*) FROM " + table); err != nil || n != 0 {
					t.Errorf("%d: there are %d rows in %s, %v", i, n, table, err)
				}
			}
			return nil
		})
	}
}

func TestAWriteWritesWhatHasChangedAndNotTheExecution(t *testing.T) {
	t.Parallel()
	s := opened(t, newPath(t), Config{})
	x := fresh("x")
	x.Input = make([]byte, 1<<20)
	for i := range 3000 {
		x.Cells = append(x.Cells, store.Cell{ID: store.CellID(1000 + i), Data: make([]byte, 100)})
	}
	if _, err := s.Create(t.Context(), x); err != nil {
		t.Fatal(err)
	}
	put(t, s, x)
	size := func() int64 {
		log, err := os.Stat(s.path + "-wal")
		if err != nil {
			t.Fatal(err)
		}
		return log.Size()
	}
	const writes = 20
	before := size()
	for range writes {
		put(t, s, x)
	}
	if each := (size() - before) / writes; each > 4*(pageSize+100) || each <= 0 {
		t.Errorf("a write of one cell writes %d bytes, want 4 pages at most", each)
	}
}

func TestACheckpointTouchesNoIndex(t *testing.T) {
	t.Parallel()
	s := opened(t, newPath(t), Config{})
	x := created(t, s, "x")
	within(t, s, func(w *writer) error {
		return w.conn.script(`CREATE TEMP TRIGGER indexed UPDATE OF name, workflow, plan, created, owner, ready, expires, claim ON executions
			BEGIN SELECT RAISE(ABORT, 'an index is written'); END`)
	})
	x.DueAt, x.Frames = time.Now().Add(time.Hour), 7
	put(t, s, x)
	x.State = store.Done
	if err := commitOne(s, write(x, nil)); err == nil {
		t.Error("the end of an execution is not seen to write an index: nor would a checkpoint be")
	}
}

func TestCallsWaitForTheDiskUnlessTheyAreToldNotTo(t *testing.T) {
	t.Parallel()
	for mode, want := range map[Sync]int64{Full: 2, Relaxed: 1} {
		within(t, opened(t, newPath(t), Config{Sync: mode}), func(w *writer) error {
			if got, err := w.conn.number("PRAGMA synchronous"); got != want || err != nil {
				t.Errorf("Sync %d: synchronous is %d, %v; want %d", mode, got, err, want)
			}
			return w.conn.ask("PRAGMA journal_mode", func(row []driver.Value) error {
				if asText(row[0]) != "wal" {
					t.Errorf("the journal is %v", row[0])
				}
				return nil
			})
		})
	}
}

func TestAnyPathIsAFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a b?mode=memory#c%41&d=ä.db")
	s := opened(t, path, Config{})
	created(t, s, "x")
	closed(t, s)
	if info, err := os.Stat(path); err != nil || info.Size() == 0 {
		t.Error(info, err)
	}
	if x := loadOne(t, reopened(t, path), fresh("x").Key); x.RunUID != fresh("x").RunUID {
		t.Error(x)
	}
}

func TestCallsWhileTheStoreIsClosedAreMadeOrRefused(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	s := opened(t, path, Config{Sync: Relaxed})
	var calls sync.WaitGroup
	answered := make([]int, 8)
	for c := range answered {
		calls.Go(func() {
			for n := 0; ; n++ {
				_, err := s.Create(background, fresh(fmt.Sprint(c, " ", n)))
				if errors.Is(err, store.ErrClosed) {
					answered[c] = n
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := s.Load(background, fresh(fmt.Sprint(c, " ", n)).Key); err != nil && !errors.Is(err, store.ErrClosed) {
					t.Error(err)
				}
			}
		})
	}
	for count(s) < 20 {
		time.Sleep(time.Millisecond)
	}
	var closers sync.WaitGroup
	for range 3 {
		closers.Go(func() { closed(t, s) })
	}
	closers.Wait()
	calls.Wait()
	s = reopened(t, path)
	for c, n := range answered {
		for i := range n + 1 {
			_, err := s.Load(background, fresh(fmt.Sprint(c, " ", i)).Key)
			if there := err == nil; there != (i < n) {
				t.Errorf("of %d that caller %d was answered, number %d: %v", n, c, i, err)
			}
		}
	}
}

// count is how many executions there are, up to 50.
func count(s *Store) int {
	page, err := s.List(context.Background(), store.Query{Limit: 50})
	if err != nil {
		return 0
	}
	return len(page.Executions)
}
