//go:build !(unix && !solaris && !illumos && !aix)

package storesqlite

import (
	"errors"
	"fmt"
	"runtime"
)

// lock is what a process has as long as it has the store.
type lock struct{ fresh bool }

// take refuses: without a lock that ends with its process, two could have one store.
func take(path string) (*lock, error) {
	return nil, &FileError{Path: path, Doing: "lock", Err: fmt.Errorf("not on %s: %w", runtime.GOOS, errors.ErrUnsupported)}
}

func (*lock) release() error { return nil }
