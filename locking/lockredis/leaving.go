package lockredis

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// leaving is a request that has ended here, and that the server may still have: its
// end could not be said. Until it has been, each offer to it would keep the lock from
// the others for as long as an offer lives.
type leaving struct {
	owner, id string
	group     group
	// unanswered says that it was sent without an answer, so that it may come yet.
	unanswered bool
	rest       []any // what else cancel.lua is told
}

// name tells the ends of a request at several hubs from each other.
func (l *leaving) name() string { return l.id + " " + l.group.places[0].lock }

// leaving is the end of a wait that was stated again while it ended. What it was given
// stays: its caller has that by now. It requires waits.mu.
func (w *wait) leaving() leaving {
	l := w.ask.leaving(w.holds)
	if g := w.ask.req.Generation; w.ask.mode == modeTicket {
		l.rest[0], l.rest[1] = g.Epoch, g.Attempt
	}
	return l
}

// leaving is the end of a request; what it holds stays.
func (a *ask) leaving(holds []driver.Granted) leaving {
	l := leaving{owner: a.req.Owner, id: a.id, group: *a.group, unanswered: a.unanswered, rest: []any{"", ""}}
	for i := range holds {
		l.rest = append(l.rest, tokenText(holds[i].Token))
	}
	return l
}

// sentInVain notes that a request was sent without an answer.
func (s *waits) sentInVain(a *ask) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a.unanswered = true
}

// saidEnd notes that the end of a request has been said, or is noted. The clock may read the
// request still.
func (s *waits) saidEnd(a *ask) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a.unanswered = false
}

// leave says the end of a request. Where the server cannot be reached that is tried again
// at each tick.
func (p *Provider) leave(ctx context.Context, l leaving) error {
	_, err := p.cancelGroup(ctx, &l)
	if err != nil {
		p.waits.leaveLater(l)
	}
	return err
}

// leaveLater notes a request whose end is to be said.
func (s *waits) leaveLater(l leaving) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left[l.name()] = &l
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
	list := slices.Collect(maps.Values(s.left))
	s.mu.Unlock()
	spread(ctx, p, list, func(l *leaving) *hub { return l.group.hub }, func(ctx context.Context, l *leaving) error {
		if _, err := p.cancelGroup(ctx, l); err != nil && (lost(err) || passing(err)) {
			p.log.Debug("lockredis: the end of a request could not be said; that is tried again", "error", err)
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.left[l.name()] == l { // else there is more to say by now
			delete(s.left, l.name())
		}
		return nil
	}, nil)
}

// leaveLast says the end of the requests that are leaving when the provider closes: nobody
// would do so later. What fails lasts until this process counts as dead, and what is offered
// to it lapses.
func (p *Provider) leaveLast(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, cancelTime)
	defer cancel()
	s := p.waits
	s.mu.Lock()
	list := slices.Collect(maps.Values(s.left))
	s.mu.Unlock()
	var all sync.WaitGroup
	for _, l := range list { // a node that does not answer is not to hold up the others
		all.Go(func() {
			if _, err := p.cancelGroup(ctx, l); err != nil {
				p.log.Debug("lockredis: the end of a request could not be said before the provider's own", "error", err)
			}
		})
	}
	all.Wait()
}

// unanswered sees to a request that was stated again and got an error. One that has
// ended meanwhile may have come back to the queue, or may yet.
func (p *Provider) unanswered(w *wait, err error) {
	s := p.waits
	s.mu.Lock()
	ended := s.byID[w.ask.id] != w && w.ask.mode != modeTicket
	if !ended && lost(err) {
		w.ask.unanswered = true
	}
	l := w.leaving()
	l.unanswered = true
	s.mu.Unlock()
	if ended {
		s.leaveLater(l)
	}
}
