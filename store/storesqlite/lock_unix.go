//go:build unix && !solaris && !illumos && !aix

package storesqlite

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
)

// lock is a file beside the store's, which a process has as long as it has the store. The
// system takes the lock from a process that ends, however it ends; the file stays.
type lock struct {
	f *os.File
	// fresh says that the file was not there before; it goes when the store is not opened.
	fresh bool
}

// take takes the lock, or says who has it.
func take(path string) (*lock, error) {
	for {
		l, err := tryLock(path)
		if l != nil || err != nil {
			return l, err
		}
	}
}

// tryLock returns nothing when somebody has put another file into its place meanwhile.
func tryLock(path string) (*lock, error) {
	f, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o644) //nolint:gosec // others may read who has the store
	if err != nil {
		return nil, openError(path, err)
	}
	l := &lock{f: f}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = holder(path, f)
	}
	if err != nil {
		_ = f.Close() // it was only read
		return nil, err
	}
	have, err := f.Stat()
	if err == nil {
		var stands os.FileInfo
		if stands, err = os.Stat(f.Name()); err == nil && os.SameFile(have, stands) { //nolint:gosec // it is beside the caller's file
			l.fresh = have.Size() == 0
			if err = sign(f); err == nil {
				return l, nil
			}
		}
	}
	_ = f.Close() // nothing was written that matters
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return nil, err
}

// sign writes down who has the lock.
func sign(f *os.File) error {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	text := fmt.Sprintf("%d %s\n", os.Getpid(), strings.TrimSpace(host))
	if err := f.Truncate(0); err != nil {
		return openError(f.Name(), err)
	}
	if _, err := f.WriteAt([]byte(text), 0); err != nil {
		return openError(f.Name(), err)
	}
	return nil
}

// holder reads who has the lock, as far as it was written down yet.
func holder(path string, f *os.File) error {
	e := &LockedError{Path: path}
	if text, err := io.ReadAll(f); err == nil {
		if n, err := fmt.Sscanf(string(text), "%d %s\n", &e.PID, &e.Host); n != 2 || err != nil {
			e.PID, e.Host = 0, ""
		}
	}
	return e
}

func (l *lock) release() error {
	var err error
	if l.fresh {
		err = os.Remove(l.f.Name()) //nolint:gosec // as above
	}
	// A process that is just being started has the file open, too, until it is another
	// program's: only this takes the lock from it.
	return errors.Join(err, syscall.Flock(int(l.f.Fd()), syscall.LOCK_UN), l.f.Close())
}
