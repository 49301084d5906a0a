package lockmem

import (
	"container/heap"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// offerTime is how long an offer lasts at most. A ticket whose locks expire sooner
// is offered them for that time.
const offerTime = 2 * time.Second

// never is the place among the ends of a lock that does not expire.
const never = -1

// lock is a key that is held, or that somebody waits for. A key that is neither
// has none.
type lock struct {
	key  string
	line line // who waits for it
	held bool
	hold // of whoever has it, while it is held
}

// hold is who has a key, and for how long.
type hold struct {
	owner      string
	generation driver.Generation
	token      driver.Token
	since      time.Time
	until      time.Time // zero when it does not expire
	end        int       // the place in the table's ends
	offer      bool      // it ends at until unless it is extended or claimed
	special    *special
	next, prev *lock // what else the owner has
}

// special is what few holds have.
type special struct {
	tickets []*waiter // that have the hold in their grant
	revoked bool      // the key was taken by force, and is kept from others
	reason  string    // of that
}

// own says that the key is held by the very owner, who is not anonymous.
func (l *lock) own(owner string) bool {
	return l.held && l.owner == owner && owner != driver.Anonymous
}

func (l *lock) revoked() bool { return l.special != nil && l.special.revoked }

func (l *lock) specials() *special {
	if l.special == nil {
		l.special = &special{}
	}
	return l.special
}

// granted is what the holder is told of the key.
func (l *lock) granted(joined bool) driver.Granted {
	return driver.Granted{
		Hold:   driver.Hold{Key: l.key, Owner: l.owner, Generation: l.generation, Token: l.token},
		Joined: joined,
		Offer:  l.offer,
		Until:  l.until,
	}
}

// table is what is held. The provider's mutex guards it.
type table struct {
	locks  map[string]*lock
	owners map[string]*lock // the first lock of each owner that has a name
	ends   ends
	token  driver.Token // the last one given out, of all keys
	spare  []*lock      // of keys that are free, to be used again
}

// spares is how many locks are kept to be used again.
const spares = 64

// newTable begins the tokens at the wall clock in microseconds. One counter
// serves all keys, so that tokens rise over release and expiry without anything
// kept for a free key, and over a restart of the process as well, as long as the
// clock does not go back and fewer than a million are given out each second.
func newTable(now time.Time) table {
	return table{
		locks:  map[string]*lock{},
		owners: map[string]*lock{},
		token:  driver.Token(max(now.UnixMicro(), 0)),
	}
}

// lock returns the lock of a key, which is made where there is none.
func (t *table) lock(key string) *lock {
	l := t.locks[key]
	if l != nil {
		return l
	}
	if last := len(t.spare) - 1; last >= 0 {
		l, t.spare = t.spare[last], t.spare[:last]
	} else {
		l = &lock{}
	}
	l.key, l.end = key, never
	t.locks[key] = l
	return l
}

// find appends the locks of the keys to buf; nil stands for a key that has none.
func (t *table) find(keys []string, buf []*lock) []*lock {
	for _, key := range keys {
		buf = append(buf, t.locks[key])
	}
	return buf
}

// holds returns the lock that a hold still claims, or nil. Where anyToken is set a
// zero token stands for whichever the owner has.
func (t *table) holds(h driver.Hold, anyToken bool) *lock {
	l := t.locks[h.Key]
	if l == nil || !l.held || l.owner != h.Owner {
		return nil
	}
	if l.token == h.Token || anyToken && h.Token == 0 {
		return l
	}
	return nil
}

// give makes a request the holder of a lock that nothing keeps from it, and says
// whether it joined what its owner had. With asOffer a key that its owner did not
// have for good is offered.
func (t *table) give(l *lock, req *driver.Request, asOffer bool, now time.Time) (joined bool) {
	until := endOf(req.TTL, now)
	if l.held && l.generation == req.Generation {
		switch {
		case !l.offer:
			t.lengthen(l, until, req.TTL > 0)
		case !asOffer:
			t.fill(l, until)
		}
		return true
	}
	t.token++
	switch {
	case l.held && !l.offer: // taken over, which takes no time away
		t.lengthen(l, until, req.TTL > 0)
	case asOffer:
		if latest := now.Add(offerTime); until.IsZero() || until.After(latest) {
			until = latest
		}
		t.setEnd(l, until)
	default:
		t.setEnd(l, until)
	}
	l.offer = asOffer && (!l.held || l.offer)
	if !l.held {
		l.held, l.owner = true, req.Owner
		t.link(l)
	}
	l.token, l.generation, l.since = t.token, req.Generation, now
	return false
}

// endOf is when a lock ends that was taken now; zero is never.
func endOf(ttl time.Duration, now time.Time) time.Time {
	if ttl <= 0 {
		return time.Time{}
	}
	return now.Add(ttl)
}

// lengthen moves the end of a lock to a later moment, never to an earlier one. A
// lock without end stays so.
func (t *table) lengthen(l *lock, until time.Time, ends bool) {
	if ends && l.end != never && until.After(l.until) {
		t.setEnd(l, until)
	}
}

// fill makes an offer a full hold.
func (t *table) fill(l *lock, until time.Time) {
	l.offer = false
	t.setEnd(l, until)
}

// setEnd gives a lock an end, or with a zero moment none.
func (t *table) setEnd(l *lock, until time.Time) {
	l.until = until
	switch {
	case until.IsZero():
		if l.end != never {
			heap.Remove(&t.ends, l.end)
		}
	case l.end == never:
		heap.Push(&t.ends, l)
	default:
		heap.Fix(&t.ends, l.end)
	}
}

// firstEnd returns when the next lock lapses; zero when none will.
func (t *table) firstEnd() time.Time {
	if len(t.ends) == 0 {
		return time.Time{}
	}
	return t.ends[0].until
}

// free takes a lock from its holder.
func (t *table) free(l *lock) {
	if l.end != never {
		heap.Remove(&t.ends, l.end)
	}
	t.unlink(l)
	l.held = false
	l.hold = hold{end: never}
	t.drop(l)
}

// drop forgets a lock that is neither held nor waited for.
func (t *table) drop(l *lock) {
	if l.held || len(l.line) > 0 {
		return
	}
	delete(t.locks, l.key)
	if cap(l.line) == 0 && len(t.spare) < spares {
		l.key = ""
		t.spare = append(t.spare, l)
	}
}

// link puts a lock on its owner's list. Anonymous owners are many, and have none.
func (t *table) link(l *lock) {
	if l.owner == driver.Anonymous {
		return
	}
	first := t.owners[l.owner]
	if first != nil {
		first.prev = l
	}
	l.next = first
	t.owners[l.owner] = l
}

func (t *table) unlink(l *lock) {
	switch {
	case l.owner == driver.Anonymous:
		return
	case l.prev != nil:
		l.prev.next = l.next
	case l.next != nil:
		t.owners[l.owner] = l.next
	default:
		delete(t.owners, l.owner)
	}
	if l.next != nil {
		l.next.prev = l.prev
	}
}
