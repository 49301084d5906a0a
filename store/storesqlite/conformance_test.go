package storesqlite

import (
	"testing"

	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/store/storetest"
)

func TestStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, storetest.Subject{
		New: func(t testing.TB) store.Store {
			s, err := Open(newPath(t), Config{})
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
		Reopen: func(t testing.TB, s store.Store) store.Store {
			before, _ := s.(*Store)
			closed(t, before)
			after, err := Open(before.path, Config{})
			if err != nil {
				t.Fatal(err)
			}
			return after
		},
	})
}
