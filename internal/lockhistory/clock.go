package lockhistory

import "time"

// Clock counts nanoseconds alike in all processes of a machine: from the wall clock at
// its start, and monotonically from there. Processes agree as long as nobody sets the
// wall clock, which [Clock.Jumped] tells.
type Clock struct{ base time.Time }

// NewClock returns a clock.
func NewClock() *Clock { return &Clock{bothClocks()} }

// bothClocks reads the wall clock and the monotonic one at the same moment. A process
// that is interrupted between the two readings reads them again: two that follow each
// other closely then do not agree.
func bothClocks() time.Time {
	a := time.Now()
	for {
		b := time.Now()
		if wall := time.Duration(b.UnixNano() - a.UnixNano()); (wall-b.Sub(a)).Abs() < time.Microsecond && b.Sub(a) < 10*time.Microsecond {
			return b
		}
		a = b
	}
}

// Now is the present moment.
func (c *Clock) Now() int64 { return c.At(time.Now()) }

// At is a moment of this process's clocks; the zero time is Never.
func (c *Clock) At(t time.Time) int64 {
	if t.IsZero() {
		return Never
	}
	return c.base.UnixNano() + int64(t.Sub(c.base))
}

// Jumped is by how much the wall clock was set since the start of this clock.
func (c *Clock) Jumped() time.Duration {
	now := bothClocks()
	return time.Duration(now.UnixNano()-c.base.UnixNano()) - now.Sub(c.base)
}
