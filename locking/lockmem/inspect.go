package lockmem

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// Inspect implements [driver.Inspector]. A ticket that has an offer does not wait:
// it is the holder.
func (p *Provider) Inspect(ctx context.Context, key string, waiters int) (driver.State, error) {
	if err := ctx.Err(); err != nil {
		return driver.State{}, err
	}
	now, err := p.enter()
	if err != nil {
		return driver.State{}, err
	}
	defer p.leave(now)
	l := p.table.locks[key]
	if l == nil {
		return driver.State{Key: key}, nil
	}
	s := l.inspect(now)
	if waiters <= 0 {
		return s, nil
	}
	line := slices.Clone(l.line)
	slices.SortFunc(line, func(a, b *place) int { return cmp.Compare(a.w.score, b.w.score) })
	for _, pl := range line[:min(waiters, len(line))] {
		s.Waiters = append(s.Waiters, pl.w.inspect(now))
	}
	return s, nil
}

// inspect tells all about a lock but who waits for it.
func (l *lock) inspect(now time.Time) driver.State {
	s := driver.State{Key: l.key, Held: l.held, Waiting: len(l.line)}
	if !l.held {
		return s
	}
	s.Owner, s.Generation, s.Token = l.owner, l.generation, l.token
	s.Offer, s.Since = l.offer, l.since
	if !l.until.IsZero() {
		s.Expires, s.TTL = true, l.until.Sub(now)
	}
	if l.revoked() {
		s.Revoked, s.Reason = true, l.special.reason
	}
	return s
}

func (w *waiter) inspect(now time.Time) driver.Waiter {
	return driver.Waiter{
		Owner:  w.request.Owner,
		Keys:   slices.Clone(w.request.Keys),
		Rank:   w.request.Rank,
		Ticket: w.ticket,
		Waited: now.Sub(w.since),
	}
}

// pageLimit is how many locks a page has that is asked for without a limit.
const pageLimit = 100

// cursorMark begins each cursor, so that it is never empty.
const cursorMark = ">"

// List implements [driver.Inspector]. The pages are in the order of the keys, and
// a cursor is the last key of a page: so a lock that is held all the time is on the
// page of its key. Each page looks at every lock there is. No lock is foreign.
func (p *Provider) List(ctx context.Context, req driver.ListRequest) (driver.Page, error) {
	if err := ctx.Err(); err != nil {
		return driver.Page{}, err
	}
	after, marked := strings.CutPrefix(req.Cursor, cursorMark)
	if req.Cursor != "" && !marked {
		return driver.Page{}, fmt.Errorf("lockmem: the cursor %.80q is of another provider, expected one that begins with %q", req.Cursor, cursorMark)
	}
	limit := req.Limit
	if limit <= 0 {
		limit = pageLimit
	}
	now, err := p.enter()
	if err != nil {
		return driver.Page{}, err
	}
	defer p.leave(now)
	first, more := p.table.firstKeys(limit, func(key string) bool { return !marked || key > after })
	var page driver.Page
	for _, l := range first {
		page.Locks = append(page.Locks, l.inspect(now))
	}
	if more {
		page.Next = cursorMark + first[len(first)-1].key
	}
	return page, nil
}

// firstKeys returns the first of those locks whose keys are wanted, by their keys,
// and whether there are more.
func (t *table) firstKeys(limit int, wanted func(key string) bool) (first []*lock, more bool) {
	for _, l := range t.locks {
		if !l.held || !wanted(l.key) {
			continue
		}
		if len(first) == limit && l.key > first[limit-1].key {
			more = true
			continue
		}
		at, _ := slices.BinarySearchFunc(first, l.key, func(o *lock, key string) int { return cmp.Compare(o.key, key) })
		if len(first) == limit {
			first, more = first[:limit-1], true
		}
		first = slices.Insert(first, at, l)
	}
	return first, more
}
