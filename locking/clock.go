package locking

import "time"

// clock reads both clocks of the process. Timers run on the monotonic one, which
// may stand still while the machine sleeps; the wall clock can be set. A lock ends
// when either of them says so: one that sleeps or is stopped for longer than its
// lease finds its locks ended, whichever clock went on. The price is that a wall
// clock which is set forward ends locks early; that is the safe side.
type clock struct {
	epoch time.Time
	// shift moves the wall clock as it is read. It is for tests; nil moves nothing.
	shift func() time.Duration
}

// instant is a moment on the monotonic clock, counted from the epoch; zero is none.
type instant time.Duration

func (i instant) add(d time.Duration) instant { return i + instant(d) }
func (i instant) sub(o instant) time.Duration { return time.Duration(i - o) }
func earliest(a, b instant) instant {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// reading is both clocks at one moment.
type reading struct {
	at   time.Time
	mono instant
	wall time.Duration // since 1970
}

// skew is how far the clocks are apart; it is constant while both go on alike.
func (r reading) skew() time.Duration { return r.wall - time.Duration(r.mono) }

// newClock begins a second ago, so that no moment of its own is zero.
func newClock() clock { return clock{epoch: time.Now().Add(-time.Second)} }

func (c *clock) read() reading {
	now := time.Now()
	r := reading{at: now, mono: instant(now.Sub(c.epoch)), wall: time.Duration(now.UnixNano())}
	if c.shift != nil {
		r.wall += c.shift()
	}
	return r
}

// end is a moment on both clocks; the zero value is never.
type end struct {
	mono instant
	wall time.Duration
}

// end puts a moment, which carries both clocks of when it was made, onto both, and
// takes it as the earlier one says: the machine may have slept since. A zero time is
// never.
func (c *clock) end(t time.Time, now reading) end {
	if t.IsZero() {
		return end{}
	}
	e := end{mono: now.mono.add(t.Sub(now.at)), wall: time.Duration(t.UnixNano())}
	e.reckon(now)
	return e
}

// reckon moves the end on the monotonic clock to an earlier moment where the wall
// clock has come nearer to it.
func (e *end) reckon(now reading) {
	if e.never() {
		return
	}
	if m := now.mono.add(e.wall - now.wall); m < e.mono {
		e.mono = max(m, 1)
	}
}

func (e end) never() bool { return e.mono == 0 }

func (e end) passed(now reading) bool {
	return !e.never() && (now.mono >= e.mono || now.wall >= e.wall)
}
