package storesqlite_test

import (
	"path/filepath"
	"testing"

	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/store/storesqlite"
	"github.com/lockstep-dev/lockstep/store/storetest"
)

func open(t testing.TB, path string) *storesqlite.Store {
	t.Helper()
	s, err := storesqlite.Open(path, storesqlite.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, storetest.Subject{
		New: func(t testing.TB) store.Store { return open(t, filepath.Join(t.TempDir(), "executions.db")) },
		Reopen: func(t testing.TB, s store.Store) store.Store {
			if err := s.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			return open(t, storesqlite.PathOf(s))
		},
	})
}
