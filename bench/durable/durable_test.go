package durable

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEachContenderRunsWorkflowsSideBySideAndEnds(t *testing.T) {
	for _, c := range Contenders() {
		for _, mode := range Syncs() {
			r, err := c.Open(t.Context(), t.TempDir(), mode)
			if err != nil {
				t.Fatal(c.Name, mode, err)
			}
			var callers sync.WaitGroup
			for i := range 4 {
				callers.Go(func() {
					for n := 10 * i; n < 10*i+3; n++ {
						got, err := r.Run(t.Context(), n)
						if err := Check(n, got, err); err != nil {
							t.Error(c.Name, mode, err)
						}
					}
				})
			}
			callers.Wait()
			if err := r.Close(t.Context()); err != nil {
				t.Error(c.Name, mode, err)
			}
		}
	}
}

func TestAWrongResultIsAnError(t *testing.T) {
	broken := errors.New("broken")
	for _, c := range []struct {
		n, got int
		err    error
		ok     bool
	}{{4, 4 + Steps, nil, true}, {4, 4 + Steps, broken, false}, {4, 4, nil, false}} {
		if err := Check(c.n, c.got, c.err); (err == nil) != c.ok || c.err != nil && !errors.Is(err, c.err) {
			t.Errorf("%d to %d, %v: %v", c.n, c.got, c.err, err)
		}
	}
}

// synchronous is what SQLite answers for each of the modes.
var synchronous = map[Sync]int64{Full: 2, Normal: 1}

func TestFilesOfPeersAreOpenedWithTheSynchronousThatIsAskedFor(t *testing.T) {
	for mode, want := range synchronous {
		folder := t.TempDir()
		for peer, file := range map[string]string{"dbos": dbosFile(folder, mode), "go-workflows": "file:" + goWorkflowsFile(folder, mode)} {
			db, err := sql.Open("sqlite", file)
			if err != nil {
				t.Fatal(err)
			}
			var got int64
			var name string
			err = errors.Join(db.QueryRowContext(t.Context(), "PRAGMA synchronous").Scan(&got),
				db.QueryRowContext(t.Context(), "SELECT file FROM pragma_database_list").Scan(&name))
			if got != want || filepath.Dir(name) != folder || err != nil {
				t.Errorf("%s, %s: synchronous is %d in %s, %v; want %d", peer, mode, got, name, err, want)
			}
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestTheFloorHasTheSynchronousThatIsAskedFor(t *testing.T) {
	for mode, want := range synchronous {
		f := newFloor(t, mode)
		rows, err := f.conn.(driver.QueryerContext).QueryContext(t.Context(), "PRAGMA synchronous", nil)
		if err != nil {
			t.Fatal(err)
		}
		row := make([]driver.Value, 1)
		if err := errors.Join(rows.Next(row), rows.Close()); err != nil || row[0] != want {
			t.Errorf("%s: synchronous is %v, %v; want %d", mode, row[0], err, want)
		}
	}
}

func TestAWriteOfTheFloorThatDoesNotFindItsFenceIsRefused(t *testing.T) {
	f := newFloor(t, Normal)
	write := func(statement int, n, revision int64) error {
		w := &floorWrite{statement: statement, n: n, revision: revision, answer: make(chan error, 1)}
		f.queue <- w
		return <-w.answer
	}
	for _, c := range []struct {
		statement   int
		n, revision int64
		refused     bool
	}{
		{floorInsert, 1, 0, false},
		{floorUpdate, 1, 1, true},
		{floorUpdate, 2, 0, true},
		{floorUpdate, 1, 0, false},
		{floorUpdate, 1, 0, true},
		{floorDelete, 1, 0, true},
		{floorDelete, 1, 1, false},
		{floorDelete, 1, 1, true},
	} {
		if err := write(c.statement, c.n, c.revision); errors.Is(err, errFloorFence) != c.refused || (err != nil) != c.refused {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func newFloor(t *testing.T, mode Sync) *floor {
	t.Helper()
	r, err := openFloor(t.Context(), t.TempDir(), mode)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return r.(*floor)
}
