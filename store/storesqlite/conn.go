package storesqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"

	"modernc.org/sqlite"
)

// conn is a connection, for one goroutine at a time, with the statements that it has
// prepared. It stands on the driver itself: a pool and conversions, as database/sql has
// them, would be paid for with every statement, and would not tell an empty value from
// none.
type conn struct {
	path  string
	raw   driver.Conn
	stmts [statements]driver.Stmt
	args  []driver.NamedValue
	row   []driver.Value
}

// background is the context of every statement. One that can end has the driver start a
// goroutine for each statement; calls are asked for their contexts where they wait.
var background = context.Background()

// connect opens a file as its parameters say, and runs the pragmas.
func connect(path, parameters string, pragmas ...string) (*conn, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("storesqlite: open %s: %w", path, err)
	}
	u := url.URL{Scheme: "file", Path: filepath.ToSlash(abs), RawQuery: "_error_rc=1&_dqs=0&" + parameters}
	// A driver of its own has none of the functions and hooks that others may have
	// registered in this process.
	raw, err := new(sqlite.Driver).Open(u.String())
	if err != nil {
		return nil, &FileError{Path: path, Doing: "open", Err: err}
	}
	c := &conn{path: path, raw: raw}
	for _, p := range pragmas {
		if err := c.script("PRAGMA " + p); err != nil {
			return nil, errors.Join(err, c.close())
		}
	}
	return c, nil
}

func (c *conn) close() error {
	for _, s := range c.stmts {
		if s != nil {
			_ = s.Close() // it repeats the error of its last execution
		}
	}
	if err := c.raw.Close(); err != nil {
		return &FileError{Path: c.path, Doing: "close", Err: err}
	}
	return nil
}

// writable returns an error when the file must not be written to: the database opens such
// a file all the same.
func (c *conn) writable() error {
	x, ok := c.raw.(interface {
		IsReadOnly(schema string) (bool, error)
	})
	if !ok {
		return fmt.Errorf("storesqlite: %T does not tell whether a file can be written to", c.raw)
	}
	switch readOnly, err := x.IsReadOnly("main"); {
	case err != nil:
		return &FileError{Path: c.path, Doing: "open", Err: err}
	case readOnly:
		return &FileError{Path: c.path, Doing: "open", Err: ErrReadOnly}
	}
	return nil
}

// script runs statements that are not kept.
func (c *conn) script(text string) error {
	x, ok := c.raw.(driver.ExecerContext)
	if !ok {
		return fmt.Errorf("storesqlite: %T cannot execute", c.raw)
	}
	if _, err := x.ExecContext(background, text, nil); err != nil {
		return &FileError{Path: c.path, Doing: "use", Err: err}
	}
	return nil
}

// prepared returns a statement that is kept.
func (c *conn) prepared(q statement) (driver.Stmt, error) {
	if s := c.stmts[q]; s != nil {
		return s, nil
	}
	s, err := c.raw.Prepare(texts[q])
	if err != nil {
		return nil, &FileError{Path: c.path, Doing: "prepare for", Err: fmt.Errorf("%w in %q", err, texts[q])}
	}
	c.stmts[q] = s
	return s, nil
}

// given are the arguments as the driver wants them, until the next statement.
func (c *conn) given(args []any) []driver.NamedValue {
	c.args = c.args[:0]
	for i, a := range args {
		c.args = append(c.args, driver.NamedValue{Ordinal: i + 1, Value: a})
	}
	return c.args
}

// exec runs a statement, and tells how many rows it has changed. Arguments are int64,
// string, []byte or nil.
func (c *conn) exec(q statement, args ...any) (changed int64, err error) {
	s, err := c.prepared(q)
	if err != nil {
		return 0, err
	}
	x, ok := s.(driver.StmtExecContext)
	if !ok {
		return 0, fmt.Errorf("storesqlite: %T cannot execute", s)
	}
	result, err := x.ExecContext(background, c.given(args))
	if err != nil {
		return 0, &FileError{Path: c.path, Doing: "write to", Err: err}
	}
	return result.RowsAffected()
}

// query runs a statement, and yields its rows; the slice is used again, its values are
// not. While it yields, the same statement must not be run.
func (c *conn) query(q statement, yield func(row []driver.Value) error, args ...any) error {
	s, err := c.prepared(q)
	if err != nil {
		return err
	}
	return c.rows(s, yield, c.given(args))
}

// ask runs a query that is not kept.
func (c *conn) ask(text string, yield func(row []driver.Value) error, args ...any) error {
	s, err := c.raw.Prepare(text)
	if err != nil {
		return &FileError{Path: c.path, Doing: "read", Err: err}
	}
	defer func() { _ = s.Close() }() // it repeats the error of its execution
	return c.rows(s, yield, c.given(args))
}

func (c *conn) rows(s driver.Stmt, yield func(row []driver.Value) error, args []driver.NamedValue) error {
	x, ok := s.(driver.StmtQueryContext)
	if !ok {
		return fmt.Errorf("storesqlite: %T cannot query", s)
	}
	rows, err := x.QueryContext(background, args)
	if err != nil {
		return &FileError{Path: c.path, Doing: "read", Err: err}
	}
	n := len(rows.Columns())
	row := c.row // taken away while it yields, which may query in turn
	if c.row = nil; cap(row) < n {
		row = make([]driver.Value, n)
	}
	for row = row[:n]; ; {
		if err = rows.Next(row); err != nil {
			break
		}
		if err = yield(row); err != nil {
			_ = rows.Close()
			return err
		}
	}
	c.row = row
	if errors.Is(err, io.EOF) {
		err = rows.Close()
	} else {
		_ = rows.Close() // it repeats the error
	}
	if err != nil {
		return &FileError{Path: c.path, Doing: "read", Err: err}
	}
	return nil
}

// number returns the single integer that a query that is not kept answers with.
func (c *conn) number(text string) (n int64, err error) {
	err = c.ask(text, func(row []driver.Value) error {
		n, _ = row[0].(int64)
		return nil
	})
	return n, err
}
