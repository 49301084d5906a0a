package storesqlite

import (
	"errors"
	"fmt"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

var (
	// ErrOutcomeUnknown means that the file failed while a call was being committed: it
	// is not known whether the call took effect. The call may be repeated, and is then
	// answered as the first one would have been. It is matched by [*FileError].
	ErrOutcomeUnknown = errors.New("storesqlite: it is not known whether the call took effect")
	// ErrFull means that there is no room on the disk, or in the file.
	ErrFull = errors.New("storesqlite: the disk is full")
	// ErrReadOnly means that the file or its folder must not be written to, or that the
	// store was opened with [OpenReadOnly].
	ErrReadOnly = errors.New("storesqlite: read-only")
	// ErrLocked means that another process has the file: see [*LockedError].
	ErrLocked = errors.New("storesqlite: another has the file")
	// ErrDamaged means that the file is not what was written: parts of it are missing, or
	// were changed.
	ErrDamaged = errors.New("storesqlite: the file is damaged")
	// ErrForeign means that the file is not one of this package, and was left as it is.
	// It is matched by [*ForeignError].
	ErrForeign = errors.New("storesqlite: the file is not one of Lockstep's")
	// ErrNewer means that the file was written by a later version, and was left as it is.
	// It is matched by [*NewerError].
	ErrNewer = errors.New("storesqlite: the file is of a later version")
)

// FileError is a failure of the file or its disk. It matches one of [ErrFull],
// [ErrReadOnly], [ErrLocked] and [ErrDamaged] where it is one of these, and
// [ErrOutcomeUnknown] where that is so.
type FileError struct {
	Path string
	// Doing is what failed, such as "commit".
	Doing string
	// Unknown says that it is not known whether the call took effect.
	Unknown bool
	Err     error
}

func (e *FileError) Error() string {
	text := fmt.Sprintf("storesqlite: %s %s: %v", e.Doing, e.Path, e.Err)
	if e.Unknown {
		text += "; it is not known whether the call took effect"
	}
	return text
}

// Unwrap returns the error of the database, or of the operating system.
func (e *FileError) Unwrap() error { return e.Err }

// Is makes the error match the sentinels that it is one of.
func (e *FileError) Is(target error) bool {
	return target == kind(e.Err) || (e.Unknown && target == ErrOutcomeUnknown)
}

// LockedError tells who has the file.
type LockedError struct {
	Path string
	// Host and PID are those of the process that has it, as far as it could write them
	// down: empty and 0 otherwise.
	Host string
	PID  int
}

func (e *LockedError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("storesqlite: open %s: another process has it", e.Path)
	}
	return fmt.Sprintf("storesqlite: open %s: process %d on %s has it", e.Path, e.PID, e.Host)
}

// Is makes the error match [ErrLocked].
func (e *LockedError) Is(target error) bool { return target == ErrLocked }

// ForeignError tells what a file is instead of one of this package.
type ForeignError struct {
	Path string
	// Found is what there is, in words.
	Found string
}

func (e *ForeignError) Error() string {
	return fmt.Sprintf("storesqlite: open %s: it is none of Lockstep's files: %s; it was left as it is", e.Path, e.Found)
}

// Is makes the error match [ErrForeign].
func (e *ForeignError) Is(target error) bool { return target == ErrForeign }

// NewerError tells that a file has a later layout than this version of the package
// knows.
type NewerError struct {
	Path string
	// Found is the version of the file, Known the latest that this package can have.
	Found, Known int
}

func (e *NewerError) Error() string {
	return fmt.Sprintf("storesqlite: open %s: its version is %d, and the latest that is known here is %d; it was left as it is", e.Path, e.Found, e.Known)
}

// Is makes the error match [ErrNewer].
func (e *NewerError) Is(target error) bool { return target == ErrNewer }

// kind returns the sentinel for an error of the database, or nil: others wrap theirs.
func kind(err error) error {
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return nil
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_FULL:
		return ErrFull
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM:
		return ErrReadOnly
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return ErrLocked
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return ErrDamaged
	}
	return nil
}
