package storemem

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

// mostSeen is how many executions one look at the timeline passes, while it keeps all
// other calls waiting.
const mostSeen = 4096

// List implements [store.Store].
func (s *Store) List(ctx context.Context, q store.Query) (store.Page, error) {
	if err := s.enter(ctx); err != nil {
		return store.Page{}, err
	}
	s.leave()
	l := listing{q: q, limit: cmp.Or(max(q.Limit, 0), defaultLimit)}
	if !q.Until.IsZero() {
		l.from = &moment{at: q.Until} // before every key
	}
	if q.Cursor != "" {
		m, ok := parseCursor(q.Cursor)
		if !ok {
			return store.Page{}, store.ErrCursor
		}
		if l.from == nil || m.compare(*l.from) < 0 {
			l.from = &m
		}
	}
	for !l.ended {
		if err := s.enter(ctx); err != nil {
			return store.Page{}, err
		}
		l.look(&s.timeline)
		s.leave()
	}
	for i := range l.page.Executions {
		own(&l.page.Executions[i])
	}
	return l.page, nil
}

// listing is one call of List.
type listing struct {
	q     store.Query
	limit int
	from  *moment // it goes on before this one
	page  store.Page
	ended bool
}

// look passes some executions.
func (l *listing) look(t *timeline) {
	now, seen := time.Now(), 0
	l.ended = true
	t.latest(l.from, func(e *entry) bool {
		if seen++; seen > mostSeen {
			l.ended = false
			return false
		}
		if e.CreatedAt.Before(l.q.Since) {
			return false
		}
		if l.selects(e, now) {
			if len(l.page.Executions) == l.limit {
				last := &l.page.Executions[l.limit-1]
				l.page.Next = cursor(moment{last.CreatedAt, last.Key})
				return false
			}
			l.page.Executions = append(l.page.Executions, e.outline())
		}
		m := e.moment()
		l.from = &m
		return true
	})
}

func (l *listing) selects(e *entry, now time.Time) bool {
	if e.places[inExpiry] != 0 && !e.head.ForgetAt.After(now) {
		return false // it is as good as deleted
	}
	return (l.q.Workflow == "" || l.q.Workflow == e.Workflow) &&
		(len(l.q.States) == 0 || slices.Contains(l.q.States, e.head.State))
}

// cursor writes a moment as seconds, nanoseconds, the length of the workflow's name, that
// name, and the id.
func cursor(m moment) string {
	b := binary.AppendVarint(nil, m.at.Unix())
	b = binary.AppendUvarint(b, uint64(m.at.Nanosecond()))
	b = binary.AppendUvarint(b, uint64(len(m.key.Workflow)))
	return base64.RawURLEncoding.EncodeToString(append(append(b, m.key.Workflow...), m.key.ID...))
}

func parseCursor(text string) (m moment, ok bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return m, false
	}
	seconds, n := binary.Varint(b)
	if n <= 0 {
		return m, false
	}
	b = b[n:]
	nanos, n := binary.Uvarint(b)
	if n <= 0 || nanos >= uint64(time.Second) {
		return m, false
	}
	b = b[n:]
	length, n := binary.Uvarint(b)
	if n <= 0 || length > uint64(len(b)-n) {
		return m, false
	}
	b = b[n:]
	return moment{time.Unix(seconds, int64(nanos)).UTC(), store.Key{Workflow: string(b[:length]), ID: string(b[length:])}}, true
}
