package lockredis

import (
	"context"
	"maps"
	"time"
)

// leaving is a request that has ended here, and that the server may still have: its
// end could not be said. Until it has been, each offer to it would keep the lock from
// the others for as long as an offer lives.
type leaving struct {
	owner, id string
	group     group
}

// leaveLater notes a request whose end is to be said.
func (s *waits) leaveLater(l leaving) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left[l.id+" "+l.group.places[0].lock] = l
	s.wake(time.Now().Add(tickInterval))
}

// leaveAtOnce says the end of a request at once that was granted something after it.
func (p *Provider) leaveAtOnce(id string) {
	s := p.waits
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.left {
		if l.id == id {
			p.schedule(time.Now())
			return
		}
	}
}

// leaveNow says the end of the requests that are leaving. What fails is tried again at
// the next tick.
func (p *Provider) leaveNow(ctx context.Context) {
	s := p.waits
	s.mu.Lock()
	list := maps.Clone(s.left)
	s.mu.Unlock()
	for key, l := range list {
		if _, err := p.cancelGroup(ctx, l.owner, l.id, &l.group); err != nil && (lost(err) || passing(err)) {
			p.log.Debug("lockredis: the end of a request could not be said; that is tried again", "error", err)
			return
		}
		s.mu.Lock()
		delete(s.left, key)
		s.mu.Unlock()
	}
}

// unanswered sees to a request that was stated again without an answer. One that has
// ended meanwhile may have come back to the queue.
func (p *Provider) unanswered(w *wait) {
	s := p.waits
	s.mu.Lock()
	ended := s.byID[w.ask.id] != w
	s.mu.Unlock()
	if ended && w.ask.mode != modeTicket {
		s.leaveLater(leaving{w.ask.req.Owner, w.ask.id, *w.ask.group})
	}
}
