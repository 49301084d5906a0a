package storesqlite

import (
	"math/bits"
	"time"
)

// An execution that nobody drives is found by its time, in an index. Where many sleep,
// their times lie anywhere in it, and to put one there costs a page of its own in each
// commit. So one whose time is far away is put, with many others, under a second at which
// it is looked at again, some time before: its own time, or a nearer such second, is noted
// then. An execution that sleeps for a day is noted about five times.

// near is how far away a time may be that is noted as it is.
const near = 2 * time.Minute

// lookedAtAgain returns the second in which an execution is looked at again that is due at
// a time; false when that is near. There are about a dozen such seconds for each doubling of
// the time that is left, and each is before the execution is due by a sixteenth of that, or
// more.
func lookedAtAgain(due, now time.Time) (second int64, far bool) {
	left := due.Sub(now)
	if left <= near {
		return 0, false
	}
	apart := int64(1) << (bits.Len64(uint64(left/(8*time.Second))) - 1) // a power of two: the seconds of shorter times are among those of longer ones
	return (due.Unix()/apart - 1) * apart, true
}

// postpone notes when an execution may be claimed which may not be yet.
func (w *writer) postpone(e *entry, now time.Time) {
	second, far := lookedAtAgain(e.ready, now)
	if !far {
		w.due(e.ready)
		return
	}
	e.ready, e.later = time.Time{}, second
	w.due(time.Unix(second, 0))
}

func (e *entry) laterValue() any {
	if e.later == 0 {
		return nil
	}
	return e.later
}

// approach looks at some of the executions again that are to be looked at by now. It
// answers whether there may be more of them.
func (w *writer) approach() (more bool, err error) {
	list, err := w.numbers(nearBy, time.Now().Unix(), int64(inStep))
	if err != nil {
		return false, err
	}
	for _, seq := range list {
		e, err := w.findBySeq(seq)
		if err != nil {
			return false, err
		}
		if e == nil { // it has expired
			continue
		}
		w.settle(e)
		if _, err := w.conn.exec(setReady, timeValue(e.ready), e.laterValue(), e.seq); err != nil {
			return false, err
		}
	}
	return len(list) == inStep, nil
}
