package storesqlite

import (
	"cmp"
	"context"
	"database/sql/driver"
	"encoding/base64"
	"encoding/binary"
	"math"
	"slices"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

const (
	// defaultLimit is that of a claim, and of a page of a list.
	defaultLimit = 100
	// mostSeen is how many executions a list passes before it looks whether its caller has
	// gone, and lets go of what it sees.
	mostSeen = 4096
)

// moment is a place in the order of the list: that of an execution, there or not.
type moment struct {
	created []byte
	seq     int64
}

// List implements [store.Store].
func (s *Store) List(ctx context.Context, q store.Query) (store.Page, error) {
	l := listing{q: q, limit: cmp.Or(max(q.Limit, 0), defaultLimit), since: []byte{}}
	l.from = moment{slices.Repeat([]byte{0xff}, timeSize), math.MaxInt64}
	if !q.Until.IsZero() {
		l.from = moment{timeBytes(q.Until), math.MinInt64}
	}
	if !q.Since.IsZero() {
		l.since = timeBytes(q.Since)
	}
	if q.Cursor != "" {
		m, ok := parseCursor(q.Cursor)
		if !ok {
			if err := s.read(ctx, func(*conn) error { return nil }); err != nil { // a call that is not made has no bad cursor
				return store.Page{}, err
			}
			return store.Page{}, store.ErrCursor
		}
		if m.compare(l.from) < 0 {
			l.from = m
		}
	}
	for !l.ended {
		if err := s.read(ctx, l.look); err != nil {
			return store.Page{}, err
		}
	}
	return l.page, nil
}

func (m moment) compare(o moment) int {
	return cmp.Or(slices.Compare(m.created, o.created), cmp.Compare(m.seq, o.seq))
}

// listing is one call of List.
type listing struct {
	q     store.Query
	limit int
	since []byte
	from  moment // it goes on before this one
	last  moment // of the page
	page  store.Page
	ended bool
}

// look passes some executions. It goes by what is in the index, or by little more, and
// reads what is selected.
func (l *listing) look(c *conn) error {
	plans, err := l.plans(c)
	if err != nil {
		return err
	}
	statement := listTimes
	if len(l.q.States) > 0 {
		statement = listStates
	}
	var list []moment
	seen := 0
	err = c.query(statement, func(row []driver.Value) error {
		seen++
		b, _ := row[0].([]byte)
		m := moment{b, asInt(row[1])}
		l.from = m
		if plans != nil && !plans[asInt(row[2])] {
			return nil
		}
		if len(l.q.States) > 0 && !slices.Contains(l.q.States, store.ExecutionState(asText(row[3]))) {
			return nil
		}
		list = append(list, m)
		return nil
	}, l.since, l.from.created, l.from.seq, int64(mostSeen))
	if err != nil {
		return err
	}
	l.ended = seen < mostSeen
	for _, m := range list {
		if err := l.add(c, m); err != nil || l.page.Next != "" {
			l.ended = true
			return err
		}
	}
	return nil
}

// add reads an execution that was selected; it may have changed since, or gone.
func (l *listing) add(c *conn, m moment) error {
	x, err := c.outline(readBySeq, m.seq)
	if x == nil || err != nil || (len(l.q.States) > 0 && !slices.Contains(l.q.States, x.State)) {
		return err
	}
	if n := len(l.page.Executions); n == l.limit {
		l.page.Next = cursor(l.last)
		return nil
	}
	l.last = m
	l.page.Executions = append(l.page.Executions, x.Snapshot)
	return nil
}

// plans are those of the workflow that is asked for; nil is all.
func (l *listing) plans(c *conn) (map[int64]bool, error) {
	if l.q.Workflow == "" {
		return nil, nil //nolint:nilnil // as it says
	}
	plans := map[int64]bool{}
	err := c.query(plansOfWorkflow, func(row []driver.Value) error {
		plans[asInt(row[0])] = true
		return nil
	}, l.q.Workflow)
	return plans, err
}

// cursor writes a moment as its time and its number.
func cursor(m moment) string {
	return base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint64(slices.Clone(m.created), uint64(m.seq)))
}

func parseCursor(text string) (moment, bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) != timeSize+8 || binary.BigEndian.Uint32(b[8:]) >= uint32(time.Second) {
		return moment{}, false
	}
	return moment{b[:timeSize], int64(binary.BigEndian.Uint64(b[timeSize:]))}, true
}
