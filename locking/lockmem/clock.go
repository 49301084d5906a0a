package lockmem

import "time"

// clock is the one timer of a provider. The zero value has none yet.
type clock struct {
	timer *time.Timer
	at    time.Time // when it fires, zero when it does not
}

// arm makes the timer fire at the given moment, or earlier: one that is set for
// an earlier moment stays, so that locks which are freed long before their end
// leave the timer alone. A zero moment asks for nothing. It is the provider's tick
// that is called.
func (c *clock) arm(now, at time.Time, p *Provider) {
	if at.IsZero() || !c.at.IsZero() && !at.Before(c.at) {
		return
	}
	c.at = at
	if c.timer == nil {
		c.timer = time.AfterFunc(at.Sub(now), p.tick)
		return
	}
	c.timer.Reset(at.Sub(now))
}

// fired notes that the timer is not set any more.
func (c *clock) fired() { c.at = time.Time{} }

func (c *clock) stop() {
	if c.timer != nil {
		c.timer.Stop()
	}
	*c = clock{}
}
