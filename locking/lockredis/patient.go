package lockredis

import (
	"context"
	"slices"
	"time"
)

// patience is how long a share waits at most that is in no hurry. Requests of a process that
// stand together are served together, without a call for each: where four processes contend
// it hands over 1.5 times as often with this as with a third of it. One process alone does a
// tenth less.
const patience = 1500 * time.Microsecond

// patient are shares in no hurry: requests for a lock that a crowd of this process waits
// for already. They go to the server along with the next release, which costs nothing,
// where a call of their own would hold up those who hand the lock over. The pipe's mu
// guards it.
type patient struct {
	waiting []*share
	timer   *time.Timer
}

// processPatiently has a share answered that is in no hurry.
func (p *pipe) processPatiently(ctx context.Context, s *share) error {
	s.sleeps()
	p.mu.Lock()
	p.waiting = append(p.waiting, s)
	switch {
	case len(p.waiting) > 1:
	case p.timer == nil:
		p.timer = time.AfterFunc(patience, p.hurry)
	default:
		p.timer.Reset(patience)
	}
	p.mu.Unlock()
	return p.await(ctx, s)
}

// hurry sends the patient ones now.
func (p *pipe) hurry() {
	p.mu.Lock()
	p.queue = append(p.queue, p.waiting...)
	p.waiting = nil
	if p.places == 0 || len(p.queue) == 0 {
		p.mu.Unlock()
		return
	}
	p.places--
	batch := p.cut()
	p.mu.Unlock()
	p.run(batch)
}

// processAtOnce has a share answered that is in a hurry, whatever else is under way.
// The patient ones go along.
func (p *pipe) processAtOnce(ctx context.Context, s *share) error {
	p.mu.Lock()
	n := min(len(p.waiting), p.most)
	if n < s.company {
		n = 0
	}
	batch := append(make([]*share, 0, n+1), s)
	batch = append(batch, p.waiting[:n]...)
	p.waiting = slices.Delete(p.waiting, 0, n)
	if n > 0 && len(p.waiting) == 0 {
		p.timer.Stop()
	}
	p.mu.Unlock()
	if n > 0 { // one caller's end must not end the others' commands
		ctx = context.WithoutCancel(ctx)
	}
	p.send(ctx, batch)
	for _, other := range batch[1:] {
		other.wake <- struct{}{}
	}
	return s.err
}
