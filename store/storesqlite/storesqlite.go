// Package storesqlite keeps executions in a SQLite file, which outlives the process. One
// process has the file at a time; the engines in it share the store.
//
// What a call was answered for is in the file, and on the disk unless [Relaxed] says
// otherwise. Calls that come at once are committed together.
package storesqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/lockstep-dev/lockstep/store"
)

// Config is what a store may be told. Its zero value is right for most.
type Config struct {
	// Sync says what a call waits for; zero is [Full].
	Sync Sync
	// Readers is how many calls read side by side; zero is 4. Writes are made one after
	// the other.
	Readers int
	// MostInGroup bounds how many calls are committed together; zero is 1024. A call waits
	// for those of its group.
	MostInGroup int
}

// Sync says what a call waits for before it is answered.
type Sync int

const (
	// Full waits for the disk to confirm each group: what was answered outlives the loss of
	// power, as far as the disk tells the truth.
	Full Sync = iota
	// Relaxed (SQLite's synchronous=NORMAL) waits for the disk only now and then. When the
	// machine stops, by a loss of power or a fault of its system, the answers of the last
	// moments are lost, as if the calls had never been made: steps that had run, and were
	// recorded, run again, and an execution whose result a caller has seen may be there
	// without it, or not at all. The end of the process alone loses nothing, and what is
	// left is whole in any case.
	Relaxed
)

const (
	// pageSize is that of file systems: a larger one has more written for each small
	// change.
	pageSize = 4096
	// patience is how many milliseconds the file is waited for while another program has it,
	// such as one that looks into it. Within the process nobody waits.
	patience = 5000
	// checkpoint is after how many pages in the log they are brought into the file: 16 MiB.
	// The more of them, the more often a page that is written again is brought over once.
	checkpoint = 4000
	// longestLog is to how many bytes the log is cut back after it had to be longer, as it is
	// while somebody reads for long.
	longestLog = 64 << 20
	// writerCache and readerCache are how many KiB of the file a connection keeps in memory.
	writerCache, readerCache = 32 << 10, 4 << 10
)

// common are what each connection is told. There is no mmap: what fails to be read would
// be a fault of the process, and not an error. Foreign keys are not used: each table that
// hangs on another is written by one function.
func common() []string {
	return []string{fmt.Sprint("busy_timeout = ", patience), "mmap_size = 0", "temp_store = MEMORY"}
}

// Store is a [store.Store] in a file.
//
// Invariants:
//  1. All that changes the file is done by one goroutine, the writer's, in transactions of
//     whole groups of calls. A call is checked before it changes anything; one that is
//     refused has changed nothing. When a statement fails, nothing of the group stays, and
//     each of its calls is made again in a transaction of its own.
//  2. A call is answered after COMMIT has returned.
//  3. What the writer knows of executions is what stands in the file, or will with the
//     commit; after a transaction that was not committed it knows nothing, and reads again.
//  4. Readers have connections of their own, and see what was committed when they began.
type Store struct {
	path     string
	cfg      Config
	id       string
	readOnly bool
	lock     *lock

	mu      sync.Mutex
	queue   []*job
	wakeAt  int // how long the queue is when the writer is woken
	closed  bool
	wake    chan struct{} // has room for one
	done    chan struct{} // closed with the store
	ended   chan struct{} // closed when the file is closed
	failure error         // of the end

	readers chan *conn
	reading int // how many there are
	w       *writer
	watch   watchers
}

var (
	_ store.Store     = (*Store)(nil)
	_ store.TaskQueue = (*Store)(nil)
)

// Open opens the store in the file, which is made when there is none. Beside it there are
// files with its name and "-wal", "-shm" and ".lock" at the end.
//
// The file is this process's until the store is closed or the process ends: another
// [Open] gets [*LockedError], which names who has it. Nothing else in the process may open
// the file: to close it would take the database's locks away ([Store.Backup] copies it).
//
// A file that is not one of this package gets [*ForeignError], one of a later version
// [*NewerError]; neither is written to. An older one is brought up to date. Faults of the
// file are [*FileError], which matches [ErrReadOnly], [ErrFull] or [ErrDamaged].
func Open(path string, cfg Config) (*Store, error) {
	path, err := target(path)
	if err != nil {
		return nil, err
	}
	s := newStore(path, cfg)
	if s.lock, err = take(path); err != nil {
		return nil, err
	}
	if err := s.open(); err != nil {
		return nil, errors.Join(err, s.closeAll())
	}
	s.lock.fresh = false
	go s.write()
	return s, nil
}

func newStore(path string, cfg Config) *Store {
	if cfg.Readers <= 0 {
		cfg.Readers = 4
	}
	if cfg.MostInGroup <= 0 {
		cfg.MostInGroup = 1024
	}
	return &Store{
		path: path, cfg: cfg, readers: make(chan *conn, cfg.Readers),
		wake: make(chan struct{}, 1), done: make(chan struct{}), ended: make(chan struct{}),
	}
}

func (s *Store) open() error {
	there, err := look(s.path)
	if err != nil {
		return err
	}
	if !there {
		if err := create(s.path); err != nil {
			return err
		}
	}
	s.w = newWriter(s)
	if err := s.w.open(); err != nil {
		return err
	}
	return s.openReaders("mode=rw")
}

func (s *Store) openReaders(mode string) error {
	for range s.cfg.Readers {
		c, err := connect(s.path, mode, append(common(), fmt.Sprint("cache_size = -", readerCache), "query_only = ON")...)
		if err != nil {
			return err
		}
		s.readers <- c
		s.reading++
	}
	return nil
}

// OpenReadOnly opens the store in the file for reading, also beside the process that has
// it. Calls that would change something get [ErrReadOnly], [Store.Watch] among them. Where
// nobody has the file, its folder must be writable: SQLite makes its own files beside it.
func OpenReadOnly(path string, cfg Config) (*Store, error) {
	s := newStore(path, cfg)
	s.readOnly = true
	if _, err := os.Stat(path); err != nil {
		return nil, openError(path, err)
	}
	err := s.openReaders("mode=ro")
	if err == nil {
		err = s.read(background, func(c *conn) error {
			version, id, err := c.check()
			if s.id = id; err == nil && version < len(migrations) {
				err = &FileError{Path: path, Doing: "open", Err: fmt.Errorf("%w: its version is %d, and it must be opened for writing once to have %d", ErrReadOnly, version, len(migrations))}
			}
			return err
		})
	}
	if err != nil {
		return nil, errors.Join(err, s.closeAll())
	}
	go func() {
		<-s.done
		s.failure = s.closeAll()
		close(s.ended)
	}()
	return s, nil
}

// Describe implements [store.Store].
func (s *Store) Describe() store.Info { return store.Info{ID: s.id, Durable: true} }

// Close implements [store.Store]. It waits for calls that are being made, as long as ctx
// lasts; the file is closed after them in any case.
func (s *Store) Close(ctx context.Context) error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.done)
	}
	s.mu.Unlock()
	select {
	case <-s.ended:
		return s.failure
	case <-ctx.Done():
		return ctx.Err()
	}
}

// closeAll closes what there is, when nobody uses it any more but readers, which it waits
// for.
func (s *Store) closeAll() error {
	var errs []error
	for range s.reading {
		c := <-s.readers
		errs = append(errs, c.close())
	}
	if s.w != nil && s.w.conn != nil {
		errs = append(errs, s.w.conn.close()) // the last one, which brings the log into the file
	}
	if s.lock != nil {
		errs = append(errs, s.lock.release())
	}
	return errors.Join(errs...)
}
