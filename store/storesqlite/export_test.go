package storesqlite

import "github.com/lockstep-dev/lockstep/store"

// PathOf is the path of a store's file.
func PathOf(s store.Store) string { return s.(*Store).path }
