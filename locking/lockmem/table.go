package lockmem

import (
	"container/heap"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// entry is the lock on one key. A key that is free has none.
type entry struct {
	key        string
	owner      string
	generation driver.Generation
	token      driver.Token
	until      time.Time // zero when the lock does not expire
	place      int       // in the table's ends, -1 when it does not expire
}

// table is what is held. The provider's mutex guards it.
type table struct {
	entries map[string]*entry
	ends    ends
	token   driver.Token // the last one given out, of all keys
}

// newTable begins the tokens at the wall clock in microseconds. One counter
// serves all keys, so that tokens rise over release and expiry without anything
// kept for a free key, and over a restart of the process as well, as long as the
// clock does not go back and fewer than a million are given out each second.
func newTable(now time.Time) table {
	return table{entries: map[string]*entry{}, token: driver.Token(max(now.UnixMicro(), 0))}
}

// judge says whether all keys of the request are available. It returns the first
// lock that is in the way, or [driver.ErrRevoked] when the request can't succeed
// any more.
func (t *table) judge(req *driver.Request) (busy *entry, err error) {
	for _, key := range req.Keys {
		e := t.entries[key]
		switch {
		case e == nil:
		case e.owner != req.Owner || e.owner == driver.Anonymous:
			if busy == nil {
				busy = e
			}
		case req.Generation.Compare(e.generation) < 0:
			return nil, driver.ErrRevoked
		}
	}
	return busy, nil
}

// take gives all keys to the request, which judge has found available.
func (t *table) take(req *driver.Request, now time.Time) driver.Grant {
	holds := make([]driver.Granted, len(req.Keys))
	for i, key := range req.Keys {
		e := t.entries[key]
		fresh := e == nil
		if fresh {
			e = &entry{key: key, owner: req.Owner, place: -1}
			t.entries[key] = e
		}
		joined := !fresh && e.generation == req.Generation
		if !joined {
			t.token++
			e.token, e.generation = t.token, req.Generation
		}
		if req.TTL > 0 {
			t.extend(e, now.Add(req.TTL), fresh)
		}
		holds[i] = driver.Granted{
			Hold:   driver.Hold{Key: key, Owner: e.owner, Generation: e.generation, Token: e.token},
			Joined: joined,
			Until:  e.until,
		}
	}
	return driver.Grant{Holds: holds}
}

// extend moves the end of a lock to a later moment, never to an earlier one. Only
// a fresh lock gets an end where it had none.
func (t *table) extend(e *entry, until time.Time, fresh bool) {
	switch {
	case fresh:
		e.until = until
		heap.Push(&t.ends, e)
	case e.place >= 0 && until.After(e.until):
		e.until = until
		heap.Fix(&t.ends, e.place)
	}
}

// find returns the entry that a hold still claims, or nil. Where anyToken is set
// a zero token stands for whichever the owner has.
func (t *table) find(h driver.Hold, anyToken bool) *entry {
	e := t.entries[h.Key]
	if e == nil || e.owner != h.Owner {
		return nil
	}
	if e.token == h.Token || anyToken && h.Token == 0 {
		return e
	}
	return nil
}

// remove frees a key.
func (t *table) remove(e *entry) {
	delete(t.entries, e.key)
	if e.place >= 0 {
		heap.Remove(&t.ends, e.place)
	}
}

// firstEnd returns when the next lock lapses; zero when none will.
func (t *table) firstEnd() time.Time {
	if len(t.ends) == 0 {
		return time.Time{}
	}
	return t.ends[0].until
}
