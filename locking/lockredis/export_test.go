package lockredis

import (
	"testing"
	"time"
)

// HoldPipe keeps back what callers ask, as if all places were taken; nothing may be
// under way. Queued is how many shares are kept; release sends them in one batch.
func (p *Provider) HoldPipe() (queued func() int, release func()) {
	p.pipe.mu.Lock()
	defer p.pipe.mu.Unlock()
	taken := p.pipe.places
	p.pipe.places = 0
	queued = func() int {
		p.pipe.mu.Lock()
		defer p.pipe.mu.Unlock()
		return len(p.pipe.queue)
	}
	release = func() {
		for range taken {
			go p.pipe.run(p.pipe.next(nil))
		}
	}
	return queued, release
}

// WhoSHA is the name of the script by which a node of a cluster is asked who it is.
var WhoSHA = whoScript.sha

// Waiting is how many requests of this process the server has put into a queue, as
// far as the process knows.
func (p *Provider) Waiting() int64 { return p.waits.queued.Load() }

// Ticks is how often the process has looked at the server at what it waits for, and whether
// it is about to.
func (p *Provider) Ticks() (n uint64, underWay bool) {
	p.waits.mu.Lock()
	defer p.waits.mu.Unlock()
	return p.clock.marks, p.clock.running
}

// Resync has all that waits stated again.
func (p *Provider) Resync() { p.resync() }

// HandsOn says how long this process hands a lock on by itself, and how long a hold may
// have been for that.
func (p *Provider) HandsOn(handingOn, briefly time.Duration) {
	p.waits.mu.Lock()
	defer p.waits.mu.Unlock()
	p.waits.handingOn, p.waits.briefly = handingOn, briefly
}

// Successions is how many locks this process hands on by itself, and how many it has stopped
// to.
func (p *Provider) Successions() (open, closed int) {
	p.waits.mu.Lock()
	defer p.waits.mu.Unlock()
	for _, l := range p.waits.successions {
		if l.closed {
			closed++
		} else {
			open++
		}
	}
	return open, closed
}

// Watched looks at what is known of a lock that is waited for: whether another program has
// it, and when it lapses at the latest; zero is never.
func (p *Provider) Watched(t testing.TB, key string, alien bool, within time.Duration) {
	t.Helper()
	p.waits.mu.Lock()
	defer p.waits.mu.Unlock()
	v := p.waits.watched[p.keys.place(key).lock]
	switch {
	case v == nil:
		t.Errorf("nobody waits for %q", key)
	case v.alien != alien, v.due.IsZero() != (within == 0), within > 0 && time.Until(v.due) > within+time.Millisecond:
		t.Errorf("of %q is known: another program's: %t, due in %s", key, v.alien, time.Until(v.due))
	}
}
