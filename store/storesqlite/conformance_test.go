package storesqlite

import (
	"testing"

	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/store/storetest"
)

// The store is as it is by default: each call waits for the disk. With Relaxed the same
// statements are made.
func TestStore(t *testing.T) {
	t.Parallel()
	var cfg Config
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
