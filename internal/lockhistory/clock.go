package lockhistory

import "time"

// Clock counts nanoseconds alike in all processes of a machine: from the wall clock at
// its start, and monotonically from there. Processes agree as long as nobody sets the
// wall clock, which [Clock.Jumped] tells.
type Clock struct{ base time.Time }

// NewClock returns a clock.
func NewClock() *Clock { return &Clock{time.Now()} }

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
	now := time.Now()
	return time.Duration(now.UnixNano()-c.base.UnixNano()) - now.Sub(c.base)
}
