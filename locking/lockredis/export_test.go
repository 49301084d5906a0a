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
			p.pipe.next()
		}
	}
	return queued, release
}
