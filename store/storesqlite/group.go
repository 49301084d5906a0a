package storesqlite

import (
	"errors"
	"time"
)

// group makes the calls that are queued in one transaction, and answers them.
func (w *writer) group() {
	jobs := w.s.next(w.jobs[:0], w.s.cfg.MostInGroup)
	jobs = w.attempt(jobs, true)
	clear(jobs)
	w.jobs = jobs
	w.after()
}

// after is to be done after each transaction.
func (w *writer) after() {
	if w.stirred {
		w.setAlarm()
	}
	w.forgetSome()
}

// attempt makes calls in one transaction, which others join while it is open to them, or, when
// a statement fails, each in one of its own, so that it fails alone. It returns all of them.
func (w *writer) attempt(jobs []*job, open bool) []*job {
	if len(jobs) == 0 {
		return jobs
	}
	if err := w.begin(); err != nil {
		answer(jobs, err)
		return jobs
	}
	w.notices = w.notices[:0]
	for made, waited := 0, false; made < len(jobs); {
		for ; made < len(jobs); made++ {
			if failed := w.run(jobs[made]); failed != nil {
				w.apart(jobs, failed)
				return jobs
			}
		}
		if open {
			jobs = w.join(jobs, &waited)
		}
	}
	began := time.Now()
	if err := w.commit(); err != nil {
		w.doubt(jobs, err)
		return jobs
	}
	w.commits++
	w.lastGroup, w.lastTook = len(jobs), time.Since(began)
	w.expected = len(jobs) + w.s.queued() // those who are answered now, and those who wait
	w.s.watch.tell(w.notices)
	for _, j := range jobs {
		j.wait.Done()
	}
	return jobs
}

// run makes a call, and returns the error of the file if there is one.
func (w *writer) run(j *job) error {
	if j.err = j.gone(); j.err == nil {
		j.err = j.run(w)
	}
	if failed, ok := errors.AsType[*FileError](j.err); ok {
		return failed
	}
	return nil
}

// apart makes calls each in a transaction of its own, after one of them has failed in that
// of all.
func (w *writer) apart(jobs []*job, failed error) {
	if err := w.rollback(); err != nil {
		answer(jobs, errors.Join(failed, err))
		return
	}
	if len(jobs) == 1 {
		answer(jobs, failed)
		return
	}
	for i := range jobs {
		w.attempt(jobs[i:i+1:i+1], false)
	}
}

func answer(jobs []*job, err error) {
	for _, j := range jobs {
		j.err = err
		j.wait.Done()
	}
}

// join adds to a group the calls that have come while it was made. When there are none it
// waits for those that are on their way, once for a group.
func (w *writer) join(group []*job, waited *bool) []*job {
	room := w.s.cfg.MostInGroup - len(group)
	joined := w.s.next(group, room)
	if len(joined) == len(group) && room > 0 && !*waited {
		*waited = true
		w.gather(min(w.expected-len(group), room))
		joined = w.s.next(group, room)
	}
	return joined
}

// gather waits for callers that are on their way: who was answered together comes back
// together, and to commit without the last of them would have those wait for two commits.
// It waits for about as many as are missing, and no longer than a commit takes: that much
// later at most is a call answered whose companions stay away, and if they do, the next
// group waits for fewer.
func (w *writer) gather(missing int) {
	if missing <= 0 {
		return
	}
	if w.s.expect(missing) {
		w.patience.Reset(min(w.lastTook, gatherMost))
		select {
		case <-w.s.wake: // they are there
		case <-w.patience.C:
		case <-w.s.done:
		}
		w.patience.Stop()
	}
	w.s.expect(1)
}

// gatherMost bounds that where the disk is slow.
const gatherMost = 2 * time.Millisecond

// expect has the writer be woken by as many calls as that, and answers whether there are
// fewer.
func (s *Store) expect(calls int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wakeAt = calls
	if len(s.queue) >= calls {
		return false
	}
	select {
	case <-s.wake: // by calls that are in the queue by now
	default:
	}
	return true
}
