package storesqlite

import (
	"testing"

	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/store/storetest"
)

// The rules do not depend on what a call waits for. Some cases count on calls taking little
// of a lease, which they do not on a disk that others are busy with.
func TestStore(t *testing.T) {
	t.Parallel()
	cfg := Config{Sync: Relaxed}
	storetest.Run(t, storetest.Subject{
		New: func(t testing.TB) store.Store {
			s, err := Open(newPath(t), cfg)
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
		Reopen: func(t testing.TB, s store.Store) store.Store {
			before, _ := s.(*Store)
			closed(t, before)
			after, err := Open(before.path, cfg)
			if err != nil {
				t.Fatal(err)
			}
			return after
		},
	})
}
