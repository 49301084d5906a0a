package storesqlite

import (
	"cmp"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

// read has a reader's connection for a while.
func (s *Store) read(ctx context.Context, with func(c *conn) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var c *conn
	select {
	case <-s.done:
		return store.ErrClosed
	default:
	}
	select {
	case c = <-s.readers:
	case <-s.done:
		return store.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { s.readers <- c }()
	return with(c)
}

// atOnce has all queries of a function see the same moment.
func (c *conn) atOnce(read func() error) error {
	if _, err := c.exec(beginRead); err != nil {
		return err
	}
	err := read()
	if _, end := c.exec(commitTx); end != nil {
		_, _ = c.exec(rollbackTx) // where there is anything left to end
		err = errors.Join(err, end)
	}
	return err
}

// Load implements [store.Store].
func (s *Store) Load(ctx context.Context, key store.Key) (*store.Snapshot, error) {
	var x *loaded
	err := s.read(ctx, func(c *conn) error {
		return c.atOnce(func() (err error) {
			x, err = c.outline(readByKey, key.ID, key.Workflow)
			if x == nil || err != nil {
				return err
			}
			return c.fill(x)
		})
	})
	switch {
	case err != nil:
		return nil, err
	case x == nil:
		return nil, store.ErrNotFound
	}
	return x.snapshot(), nil
}

// Inbox implements [store.Store].
func (s *Store) Inbox(ctx context.Context, key store.Key) (list []store.Message, err error) {
	err = s.read(ctx, func(c *conn) error {
		return c.atOnce(func() error {
			var seq int64
			err := c.query(seqByKey, func(row []driver.Value) error {
				seq = asInt(row[0])
				return nil
			}, key.ID, key.Workflow, timeBytes(time.Now()))
			if err == nil && seq == 0 {
				err = store.ErrNotFound
			}
			if err != nil {
				return err
			}
			list, err = c.messages(seq)
			return err
		})
	})
	return list, err
}

// Unread implements [store.Store].
func (s *Store) Unread(ctx context.Context, i store.Instance) (keys []store.Key, err error) {
	err = s.read(ctx, func(c *conn) error {
		return c.query(unread, func(row []driver.Value) error {
			keys = append(keys, store.Key{Workflow: asText(row[0]), ID: asText(row[1])})
			return nil
		}, i.Incarnation, i.Node, timeBytes(time.Now()))
	})
	return keys, err
}

// load reads all of an execution, within a transaction.
func (c *conn) load(seq int64) (*store.Snapshot, error) {
	x, err := c.outline(readBySeq, seq)
	if err == nil && x == nil {
		err = fmt.Errorf("storesqlite: there is no execution %d any more", seq)
	}
	if err == nil {
		err = c.fill(x)
	}
	if err != nil {
		return nil, err
	}
	return x.snapshot(), nil
}

// outline reads an execution without its cells, messages and tasks; nil when there is none.
func (c *conn) outline(q statement, args ...any) (x *loaded, err error) {
	err = c.query(q, func(row []driver.Value) error {
		x = outlineOf(row)
		return nil
	}, append(args, timeBytes(time.Now()))...)
	if x == nil || err != nil {
		return nil, err
	}
	return x, c.fillLarge(x)
}

// loaded is an execution with its number.
type loaded struct {
	store.Snapshot
	seq int64
	// largeInput and largeOutput are to be read apart.
	largeInput, largeOutput bool
	packed                  packed
}

func (x *loaded) snapshot() *store.Snapshot { return &x.Snapshot }

func outlineOf(row []driver.Value) *loaded {
	x := &loaded{
		seq: asInt(row[0]), packed: asBytes(row[26]),
		Snapshot: store.Snapshot{
			Identity: store.Identity{
				Key: store.Key{Workflow: asText(row[1]), ID: asText(row[2])}, RunUID: asText(row[3]), Fingerprint: asText(row[4]), Codec: asText(row[5]),
				Input: asBytes(row[6]), InputHash: asBytes(row[7]), Generated: asBool(row[8]), CreatedAt: asTime(row[9]), Deadline: asTime(row[10]),
				Parent: asParent(asBytes(row[11])),
			},
			Fence: store.Fence{Epoch: asNumber(row[15]), Revision: asNumber(row[16])},
			Head: store.Head{
				State: store.ExecutionState(asText(row[17])), DueAt: asTime(row[18]), Unsettled: asBool(row[19]), CancelledAt: asTime(row[20]),
				FinishedAt: asTime(row[21]), ForgetAt: asTime(row[22]), Output: asBytes(row[23]), Frames: uint32(asInt(row[24])), Holding: asBool(row[25]),
			},
		},
	}
	if state, ok := row[14].(int64); ok && leaseState(state) != ended {
		x.Owner = store.Instance{Node: asText(row[12]), Incarnation: asText(row[13])}
	}
	_, x.largeInput = row[6].(int64)
	_, x.largeOutput = row[23].(int64)
	return x
}

func (c *conn) fillLarge(x *loaded) error {
	for part, p := range map[int64]struct {
		large bool
		into  *[]byte
	}{inputPart: {x.largeInput, &x.Input}, outputPart: {x.largeOutput, &x.Output}} {
		if !p.large {
			continue
		}
		err := c.query(readLarge, func(row []driver.Value) error {
			*p.into = asBytes(row[0])
			return nil
		}, x.seq, part)
		if err != nil {
			return err
		}
	}
	return nil
}

// fill reads what an outline has not.
func (c *conn) fill(x *loaded) error {
	err := x.packed.check(c.path)
	if err != nil {
		return err
	}
	x.Cells = x.packed.cells()
	if !x.packed.all() {
		err = c.query(readCells, func(row []driver.Value) error {
			x.Cells = append(x.Cells, store.Cell{ID: store.CellID(asNumber(row[0])), Data: asBytes(row[1])})
			return nil
		}, x.seq)
		if err != nil {
			return err
		}
	}
	slices.SortFunc(x.Cells, func(a, b store.Cell) int { return cmp.Compare(a.ID, b.ID) })
	if x.Inbox, err = c.messages(x.seq); err != nil {
		return err
	}
	return c.query(readTasks, func(row []driver.Value) error {
		x.Tasks = append(x.Tasks, store.Task{
			ID: asText(row[0]), Queue: asText(row[1]), Priority: int(asInt(row[2])), NotBefore: asTime(row[3]), Data: asBytes(row[4]),
		})
		return nil
	}, x.seq)
}

func (c *conn) messages(seq int64) (list []store.Message, err error) {
	err = c.query(readMessages, func(row []driver.Value) error {
		list = append(list, store.Message{ID: asText(row[0]), Data: asBytes(row[1])})
		return nil
	}, seq)
	return list, err
}
