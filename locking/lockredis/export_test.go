package lockredis

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

// Waiting is how many requests of this process the server has put into a queue, as
// far as the process knows.
func (p *Provider) Waiting() int64 { return p.waits.queued.Load() }
