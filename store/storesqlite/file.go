package storesqlite

import (
	"crypto/rand"
	"database/sql/driver"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// headerSize is the part of a file in which it tells what it is.
const headerSize = 100

// look reads what a file says of itself, without changing anything: nothing is opened
// by the database that is not known to be ours. It answers false when there is no file, or
// an empty one. Who calls has the lock: to close a file takes from its process all the
// locks that the database has on it.
func look(path string) (there bool, err error) {
	f, err := os.Open(path) //nolint:gosec // it is the file that the caller has asked for
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, openError(path, err)
	}
	defer func() { _ = f.Close() }() // it was only read
	var header [headerSize]byte
	n, err := io.ReadFull(f, header[:])
	switch {
	case errors.Is(err, io.EOF):
		return false, nil
	case err != nil && !errors.Is(err, io.ErrUnexpectedEOF):
		return false, openError(path, err)
	}
	magic := "SQLite format 3\x00"
	if !strings.HasPrefix(string(header[:n]), magic) {
		return true, &ForeignError{Path: path, Found: "it is no SQLite database"}
	}
	if n < headerSize {
		return true, &FileError{Path: path, Doing: "open", Err: fmt.Errorf("%w: it ends within its header", ErrDamaged)}
	}
	if id := binary.BigEndian.Uint32(header[68:]); id != applicationID {
		return true, &ForeignError{Path: path, Found: fmt.Sprintf("it is a SQLite database with the application id %#x", id)}
	}
	return true, checkVersion(path, int(int32(binary.BigEndian.Uint32(header[60:]))))
}

func checkVersion(path string, found int) error {
	if found > len(migrations) {
		return &NewerError{Path: path, Found: found, Known: len(migrations)}
	}
	return nil
}

// openError gives an error of the operating system the kind that it is of.
func openError(path string, err error) error {
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		err = fmt.Errorf("%w: %w", ErrReadOnly, err)
	}
	return &FileError{Path: path, Doing: "open", Err: err}
}

// create makes a new file, whole or not at all: it is made beside, and then given its
// name. Who calls has the lock.
func create(path string) error {
	fresh := path + ".new"
	for _, suffix := range []string{"", "-wal", "-shm", "-journal"} { // of one that was not finished
		if err := os.Remove(fresh + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) { //nolint:gosec // it is beside the caller's file
			return openError(path, err)
		}
	}
	if err := fill(fresh); err != nil {
		return errors.Join(err, os.Remove(fresh)) //nolint:gosec // as above
	}
	return name(fresh, path)
}

func fill(path string) error {
	c, err := connect(path, "", "page_size = "+strconv.Itoa(pageSize), "synchronous = FULL", "application_id = "+strconv.Itoa(applicationID))
	if err != nil {
		return err
	}
	return errors.Join(c.migrate(migrations, 0), c.script("PRAGMA journal_mode = WAL"), c.close())
}

// syncFolder has a new name last.
func syncFolder(path string) error {
	d, err := os.Open(path) //nolint:gosec // it is the folder of the caller's file
	if err != nil {
		return openError(path, err)
	}
	return errors.Join(d.Sync(), d.Close())
}

// migrate brings a file to the latest layout, in one transaction.
func (c *conn) migrate(list []string, from int) error {
	if from == len(list) {
		return nil
	}
	if err := c.script("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	steps := slices.Clone(list[from:])
	if from == 0 {
		var id [8]byte
		_, _ = rand.Read(id[:]) // never fails, as crypto/rand says
		steps = append(steps, "INSERT INTO meta VALUES ('id', 'sqlite-"+hex.EncodeToString(id[:])+"')")
	}
	steps = append(steps, "PRAGMA user_version = "+strconv.Itoa(len(list)), "COMMIT")
	for _, s := range steps {
		if err := c.script(s); err != nil {
			_ = c.script("ROLLBACK") // what matters is what failed
			return err
		}
	}
	return nil
}

// check looks whether the file is what [look] took it for, now that what is not yet in the
// file itself, but beside it, counts as well. It returns the version and the store's ID.
func (c *conn) check() (version int, id string, err error) {
	app, err := c.number("PRAGMA application_id")
	if failed, ok := errors.AsType[*sqlite.Error](err); ok && failed.Code() == sqlite3.SQLITE_NOTADB {
		return 0, "", &ForeignError{Path: c.path, Found: "it is no SQLite database"}
	}
	if err != nil {
		return 0, "", err
	}
	if app != applicationID {
		return 0, "", &ForeignError{Path: c.path, Found: fmt.Sprintf("it is a SQLite database with the application id %#x", app)}
	}
	v, err := c.number("PRAGMA user_version")
	if err != nil {
		return 0, "", err
	}
	if err := checkVersion(c.path, int(v)); err != nil {
		return 0, "", err
	}
	if err := c.checkTables(int(v)); err != nil {
		return 0, "", err
	}
	err = c.ask("SELECT value FROM meta WHERE name = 'id'", func(row []driver.Value) error {
		id = asText(row[0])
		return nil
	})
	if err == nil && id == "" {
		err = &FileError{Path: c.path, Doing: "open", Err: fmt.Errorf("%w: it has no id", ErrDamaged)}
	}
	return int(v), id, err
}

// checkTables compares the tables and indexes with those that the migrations make.
func (c *conn) checkTables(version int) error {
	want := map[string]bool{}
	for _, m := range migrations[:version] {
		for line := range strings.Lines(m) {
			if rest, ok := strings.CutPrefix(strings.Replace(line, "UNIQUE ", "", 1), "CREATE "); ok {
				want[strings.Fields(rest)[1]] = true
			}
			if rest, ok := strings.CutPrefix(line, "DROP "); ok {
				delete(want, strings.Trim(strings.Fields(rest)[1], ";"))
			}
		}
	}
	err := c.ask("SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'", func(row []driver.Value) error {
		name := asText(row[0])
		if !want[name] {
			return &ForeignError{Path: c.path, Found: fmt.Sprintf("it has %q, which this package has not made", name)}
		}
		delete(want, name)
		return nil
	})
	if err != nil {
		return err
	}
	for name := range want {
		return &FileError{Path: c.path, Doing: "open", Err: fmt.Errorf("%w: it has no %q", ErrDamaged, name)}
	}
	return nil
}

// target is the path of the file behind links, so that it has one lock.
func target(path string) (string, error) {
	found, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) { // it is to be made
		var folder string
		folder, err = filepath.EvalSymlinks(filepath.Dir(path))
		found = filepath.Join(folder, filepath.Base(path))
	}
	if err != nil {
		return "", openError(path, err)
	}
	return found, nil
}
