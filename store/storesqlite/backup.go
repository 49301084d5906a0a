package storesqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Backup writes a copy of the store as it is at one moment to a new file, while all goes
// on; the log is not cut back meanwhile. The copy has the same ID: only one of both is to
// be used by engines that take locks.
func (s *Store) Backup(ctx context.Context, path string) error {
	if _, err := os.Stat(path); err == nil {
		return &FileError{Path: path, Doing: "back up to", Err: fs.ErrExist}
	}
	return s.read(ctx, func(*conn) error { // whose place it has: the store is not closed before it ends
		c, err := connect(s.path, "mode=ro", common()...)
		if err != nil {
			return err
		}
		unfinished := path + ".new"
		err = c.ask("VACUUM INTO ?", func([]driver.Value) error { return nil }, unfinished)
		if err = errors.Join(err, c.close()); err == nil {
			err = keep(unfinished, path)
		}
		if err != nil {
			_ = os.Remove(unfinished) // as far as it is there
		}
		return err
	})
}

// keep gives a finished file its name, for good.
func keep(unfinished, path string) error {
	f, err := os.OpenFile(unfinished, os.O_RDWR, 0) //nolint:gosec // it was just made
	if err != nil {
		return openError(path, err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return openError(path, err)
	}
	return name(unfinished, path)
}

func name(unfinished, path string) error {
	if err := os.Rename(unfinished, path); err != nil { //nolint:gosec // both are what the caller has named
		return openError(path, err)
	}
	return syncFolder(filepath.Dir(path))
}

// Check looks at the whole file, which takes as long as reading it does, and returns an
// error that matches [ErrDamaged] when it is not what was written.
func (s *Store) Check(ctx context.Context) error {
	return s.read(ctx, func(c *conn) error {
		return c.ask("PRAGMA integrity_check(1)", func(row []driver.Value) error {
			if found := asText(row[0]); found != "ok" {
				return &FileError{Path: c.path, Doing: "check", Err: fmt.Errorf("%w: %s", ErrDamaged, found)}
			}
			return nil
		})
	})
}
