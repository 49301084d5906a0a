package storesqlite

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lockstep-dev/lockstep/store"
)

// children are what this binary does as another process, by the value of childVariable.
var children = map[string]func(path string) error{}

func isChild(name string, run func(path string) error) bool {
	children[name] = run
	return true
}

const childVariable = "STORESQLITE_CHILD"

func TestMain(m *testing.M) {
	if run, ok := children[os.Getenv(childVariable)]; ok {
		if err := run(os.Args[len(os.Args)-1]); err != nil {
			fmt.Println("failed:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

var (
	me      = store.Instance{Node: "node", Incarnation: "1"}
	thePlan = store.PlanID{Workflow: "w", Fingerprint: "f"}
)

const forLong = 24 * time.Hour

func newPath(t testing.TB) string { return filepath.Join(t.TempDir(), "executions.db") }

// opened returns a store in which me has a lease.
func opened(t testing.TB, path string, cfg Config) *Store {
	t.Helper()
	s, err := Open(path, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(background) }) // what matters of it, tests look at
	if err := s.Heartbeat(t.Context(), me, forLong); err != nil {
		t.Fatal(err)
	}
	return s
}

func closed(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// fresh is an execution of me, to be created.
func fresh(id string) *store.Snapshot {
	return &store.Snapshot{
		Identity: store.Identity{
			Key: store.Key{Workflow: thePlan.Workflow, ID: id}, RunUID: "run of " + id, Fingerprint: thePlan.Fingerprint, CreatedAt: time.Now(),
		},
		Fence: store.Fence{Owner: me, Epoch: 1, Revision: 1},
		Head:  store.Head{State: store.Invoking},
	}
}

func created(t testing.TB, s *Store, id string) *store.Snapshot {
	t.Helper()
	x := fresh(id)
	if existing, err := s.Create(t.Context(), x); existing != nil || err != nil {
		t.Fatalf("%s: %v, %v", x.Key, existing, err)
	}
	return x
}

func loadOne(t testing.TB, s *Store, key store.Key) *store.Snapshot {
	t.Helper()
	x, err := s.Load(t.Context(), key)
	if err != nil {
		t.Fatalf("Load(%s): %v", key, err)
	}
	return x
}

// write is the next write to an execution, with one cell.
func write(x *store.Snapshot, data []byte) store.Write {
	return store.Write{Key: x.Key, Fence: x.Fence, ID: x.Revision, Head: x.Head, Cells: []store.Cell{{ID: store.CellID(x.Revision), Data: data}}}
}

func commitOne(s *Store, w store.Write) error { return s.Commit(background, []store.Write{w})[0] }

// put makes the next write to an execution.
func put(t testing.TB, s *Store, x *store.Snapshot) {
	t.Helper()
	if err := commitOne(s, write(x, []byte("data"))); err != nil {
		t.Fatal(err)
	}
	x.Revision++
}

func wantIs(t testing.TB, what string, err error, targets ...error) {
	t.Helper()
	for _, target := range targets {
		if !errors.Is(err, target) {
			t.Errorf("%s: %v, want one that is %v", what, err, target)
		}
	}
}

// within has the writer do something by itself, in a transaction.
func within(t testing.TB, s *Store, do func(w *writer) error) {
	t.Helper()
	if err := s.do(t.Context(), do); err != nil {
		t.Fatal(err)
	}
}
