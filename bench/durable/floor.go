package durable

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"runtime"
	"sync/atomic"

	"modernc.org/sqlite"
)

// floorBytes is what each of its writes carries: about the bytes of a checkpoint.
const floorBytes = 120

// floorSetting is said of the floor in the report.
var floorSetting = fmt.Sprintf("no engine: five writes for each workflow, each waited for: one INSERT, %d UPDATEs and one DELETE; "+
	"each of one row of one table with an integer key and no other index, "+
	"of an epoch, a revision and %d bytes (none with the DELETE); UPDATE and DELETE only where epoch and revision are as they were; "+
	"one connection, prepared statements, one transaction for all that wait", Steps, floorBytes)

// Floor makes as many writes as an execution of three steps does, of a row that is checked
// against a fence, and nothing else.
func Floor() Contender {
	return Contender{Name: NameFloor, Setting: floorSetting, Open: openFloor}
}

// floor has one goroutine that writes.
type floor struct {
	conn  driver.Conn
	stmts [floorStatements]driver.StmtExecContext
	data  []byte
	last  atomic.Int64

	queue chan *floorWrite
	ended chan error
}

const (
	floorInsert = iota
	floorUpdate
	floorDelete
	floorBegin
	floorCommit
	floorRollback
	floorStatements
)

// floorWrite is one write, of the row n.
type floorWrite struct {
	statement   int
	n, revision int64
	answer      chan error
}

// errFloorFence is returned for a write that did not find its fence.
var errFloorFence = errors.New("durable: a write of the floor did not find its fence")

const floorEpoch = 1

func openFloor(_ context.Context, folder string, sync Sync) (Runner, error) {
	u := url.URL{Scheme: "file", Path: filepath.Join(folder, "floor.db")}
	conn, err := new(sqlite.Driver).Open(u.String())
	if err != nil {
		return nil, err
	}
	f := &floor{conn: conn, data: make([]byte, floorBytes), queue: make(chan *floorWrite, 1024), ended: make(chan error, 1)}
	if err := f.prepare(sync); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	go f.write()
	return f, nil
}

func (f *floor) prepare(sync Sync) error {
	for _, text := range []string{ // the pragmas are those of storesqlite
		"PRAGMA page_size = 4096", "PRAGMA journal_mode = WAL", "PRAGMA synchronous = " + string(sync),
		"PRAGMA wal_autocheckpoint = 4000", "PRAGMA cache_size = -32768", "PRAGMA temp_store = MEMORY",
		"CREATE TABLE raw (n INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, revision INTEGER NOT NULL, data BLOB NOT NULL)",
	} {
		if _, err := f.conn.(driver.ExecerContext).ExecContext(context.Background(), text, nil); err != nil {
			return fmt.Errorf("%s: %w", text, err)
		}
	}
	for i, text := range [floorStatements]string{
		floorInsert:   "INSERT INTO raw (n, epoch, revision, data) VALUES (?, ?, ?, ?)",
		floorUpdate:   "UPDATE raw SET revision = ?, data = ? WHERE n = ? AND epoch = ? AND revision = ?",
		floorDelete:   "DELETE FROM raw WHERE n = ? AND epoch = ? AND revision = ?",
		floorBegin:    "BEGIN IMMEDIATE",
		floorCommit:   "COMMIT",
		floorRollback: "ROLLBACK",
	} {
		s, err := f.conn.Prepare(text)
		if err != nil {
			return fmt.Errorf("%s: %w", text, err)
		}
		f.stmts[i] = s.(driver.StmtExecContext)
	}
	return nil
}

// write is the writing goroutine. It commits together what is there, and what others are
// about to bring who are ready to run.
func (f *floor) write() {
	var group []*floorWrite
	for first := range f.queue {
		group = append(group[:0], first)
		for more := true; more; {
			runtime.Gosched()
			more = false
			for n := len(f.queue); n > 0; n-- {
				group, more = append(group, <-f.queue), true
			}
		}
		err := f.commit(group)
		for _, w := range group {
			w.answer <- err
		}
	}
	for _, s := range f.stmts {
		_ = s.(driver.Stmt).Close() // it repeats the error of its last execution
	}
	f.ended <- f.conn.Close()
}

// commit makes writes in one transaction.
func (f *floor) commit(group []*floorWrite) error {
	if _, err := f.exec(floorBegin); err != nil {
		return err
	}
	for _, w := range group {
		if err := f.make(w); err != nil {
			_, undone := f.exec(floorRollback)
			return errors.Join(err, undone)
		}
	}
	_, err := f.exec(floorCommit)
	return err
}

func (f *floor) make(w *floorWrite) error {
	var changed int64
	var err error
	switch w.statement {
	case floorInsert:
		changed, err = f.exec(floorInsert, w.n, int64(floorEpoch), w.revision, f.data)
	case floorUpdate:
		changed, err = f.exec(floorUpdate, w.revision+1, f.data, w.n, int64(floorEpoch), w.revision)
	default:
		changed, err = f.exec(floorDelete, w.n, int64(floorEpoch), w.revision)
	}
	if err == nil && changed != 1 {
		err = errFloorFence
	}
	return err
}

func (f *floor) exec(statement int, values ...driver.Value) (int64, error) {
	args := make([]driver.NamedValue, len(values))
	for i, v := range values {
		args[i] = driver.NamedValue{Ordinal: i + 1, Value: v}
	}
	r, err := f.stmts[statement].ExecContext(context.Background(), args)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// Run makes the writes of one workflow, each after the one before was committed.
func (f *floor) Run(_ context.Context, n int) (int, error) {
	w := floorWrite{n: f.last.Add(1), answer: make(chan error, 1)}
	made := 0
	for w.statement = range []int{floorInsert, floorUpdate, floorDelete} {
		times := 1
		if w.statement == floorUpdate {
			times = Steps
		}
		for range times {
			f.queue <- &w
			if err := <-w.answer; err != nil {
				return 0, err
			}
			if w.statement == floorUpdate {
				w.revision++
				made++
			}
		}
	}
	return n + made, nil
}

// Close ends it; nobody may write any more.
func (f *floor) Close(context.Context) error {
	close(f.queue)
	return <-f.ended
}
