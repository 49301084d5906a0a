package lockmem

import (
	"container/heap"
	"time"
)

// expiring is a time at which a key may become free. It is void when the key's
// entry has another time by then.
type expiring struct {
	at  time.Time
	key string
}

type expiryHeap []expiring

func (h expiryHeap) Len() int           { return len(h) }
func (h expiryHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h expiryHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *expiryHeap) Push(x any)        { *h = append(*h, x.(expiring)) } //nolint:forcetypeassert // the heap holds nothing else
func (h *expiryHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = expiring{}
	*h = old[:len(old)-1]
	return last
}

// expireAt sets the end of an entry, and the timer. It requires mu.
func (p *Provider) expireAt(e *entry, at time.Time) {
	e.until = at
	p.compact()
	heap.Push(&p.expiry, expiring{at, e.hold.Key})
	p.setTimer()
}

// compact drops void times when they are the most part, so that extending a few
// locks for ever does not fill the memory. It requires mu.
func (p *Provider) compact() {
	if len(p.expiry) < 2*len(p.held)+64 {
		return
	}
	p.expiry = p.expiry[:0]
	for k, e := range p.held {
		if !e.until.IsZero() {
			p.expiry = append(p.expiry, expiring{e.until, k})
		}
	}
	heap.Init(&p.expiry)
}

// setTimer requires mu.
func (p *Provider) setTimer() {
	if len(p.expiry) == 0 {
		return
	}
	wait := time.Until(p.expiry[0].at)
	if p.timer == nil {
		p.timer = time.AfterFunc(wait, p.expire)
		return
	}
	p.timer.Reset(wait)
}

// expire frees what has lapsed and serves those who wait for it.
func (p *Provider) expire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.running {
		return
	}
	now := time.Now()
	for len(p.expiry) > 0 && !p.expiry[0].at.After(now) {
		due := heap.Pop(&p.expiry).(expiring) //nolint:forcetypeassert // as above
		if e := p.held[due.key]; e != nil && p.live(due.key, now) == nil {
			delete(p.held, due.key)
		}
	}
	p.grantWaiters(now)
	p.setTimer()
}
