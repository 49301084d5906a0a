package lockredis

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

const (
	// tickInterval is how often a process that waits for something says that it
	// lives, and looks at what it waits for.
	tickInterval = 500 * time.Millisecond
	// livenessTime is how long the others believe it.
	livenessTime = 2 * time.Second
	// tickTime bounds one tick.
	tickTime = 2 * time.Second
	// tickKeys is how many locks one command looks at.
	tickKeys = 100
	// staleAfter is how old an answer may become before the request is stated again.
	// It heals what no rule foresees.
	staleAfter = 3 * time.Second
	// staleMost is how many requests a tick states again for that reason.
	staleMost = 16
	// restateMost is how many requests are stated in one call.
	restateMost = 50
)

// schedule makes the clock strike at the given moment, or earlier. It requires
// waits.mu.
func (p *Provider) schedule(at time.Time) {
	c := &p.clock
	if c.running || (!c.due.IsZero() && !at.Before(c.due)) {
		if c.running && (c.due.IsZero() || at.Before(c.due)) {
			c.due = at // the running strike sees to it
		}
		return
	}
	c.due = at
	wait := time.Until(at)
	if c.timer == nil {
		c.timer = time.AfterFunc(wait, p.strike)
		return
	}
	c.timer.Reset(wait)
}

// clock is the one timer for all that waits. There is no goroutine unless it
// strikes. Its fields are guarded by waits.mu.
type clock struct {
	timer    *time.Timer
	due      time.Time // when it strikes; zero: it does not
	running  bool
	ticked   time.Time
	marks    uint64
	sent     map[uint64]mark // those that have not come back
	sweeping map[*hub]struct{}
	resync   bool // everything is to be stated again
	refused  refused
	busy     map[string]bool // nodes of a cluster at which a strike's work is under way
}

// mark is sent with each tick through the stream of grants, so that it comes back.
type mark struct {
	hub  *hub
	sent time.Time
}

// strike looks at the locks that are due, and ticks when it is time to.
func (p *Provider) strike() {
	if p.life.enter() != nil {
		return
	}
	defer p.life.leave()
	s := p.waits
	s.mu.Lock()
	c := &p.clock
	if c.running {
		s.mu.Unlock()
		return
	}
	c.running, c.due = true, time.Time{}
	now := time.Now()
	tick := now.Sub(c.ticked) >= tickInterval
	c.refused.prune(s)
	look := s.due(now, tick && len(s.byID) > 0, &c.refused)
	sweep := c.toSweep(now)
	s.mu.Unlock()

	ctx, cancel := context.WithTimeout(context.Background(), tickTime)
	p.look(ctx, look, tick)
	if tick {
		p.restateStale(ctx)
		p.lookAcross()
	}
	p.leaveNow(ctx)
	p.sweepHubs(ctx, sweep)
	cancel()

	s.mu.Lock()
	defer s.mu.Unlock()
	if tick && !c.resync { // what is to be stated again meanwhile does not wait for a whole tick
		c.ticked = now
	}
	c.running = false
	early := c.due
	c.due = time.Time{}
	if next := p.next(early, tick); !next.IsZero() {
		p.schedule(next)
	}
}

// next returns when the clock is to strike after the one that ends, which was a tick or
// not; zero when nothing is left to do. It requires waits.mu.
func (p *Provider) next(early time.Time, ticked bool) (next time.Time) {
	s, c := p.waits, &p.clock
	sooner := func(at time.Time) {
		if !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	if len(s.byID)+len(s.left)+len(p.crossing.published) > 0 {
		next = c.ticked.Add(tickInterval)
		if ticked && next.Before(time.Now()) {
			next = time.Now().Add(tickInterval) // the server was slow; it is not to be pressed
		}
		for _, v := range s.watched {
			sooner(v.due)
		}
	}
	for h := range c.sweeping {
		sooner(h.sweep.at)
	}
	sooner(s.lapsed(time.Now()))
	sooner(early)
	return next
}

// due returns the locks to look at, each hub's together but for those that the server
// refuses; it requires mu.
func (s *waits) due(now time.Time, all bool, refused *refused) []group {
	var list, alone []group
	byHub := map[*hub]int{}
	for _, v := range s.watched {
		if !all && (v.due.IsZero() || now.Before(v.due)) {
			continue
		}
		v.due = time.Time{}
		n, ok := byHub[v.group.hub]
		if !ok || len(list[n].places) == tickKeys {
			n = len(list)
			byHub[v.group.hub] = n
			list = append(list, group{hub: v.group.hub})
		}
		if refused.locks[v.group.places[0].lock] { // it must not cost the others their answer
			alone = append(alone, v.group)
			continue
		}
		list[n].places = append(list[n].places, v.group.places...)
	}
	return append(list, alone...)
}

// look sends tick.lua for each group.
func (p *Provider) look(ctx context.Context, list []group, janitor bool) {
	if len(list) == 0 {
		return
	}
	first := list[0].hub
	spread(ctx, p, list, func(g group) *hub { return g.hub }, func(ctx context.Context, g group) error {
		err := p.lookThrough(ctx, &g, janitor && g.hub == first)
		if err != nil {
			p.log.Warn("lockredis: a tick got no answer; waiting goes on", "error", err)
		}
		return err
	}, nil)
}

// lookThrough looks at a group, again while dead waiters are left. What the server
// refuses as a whole, for the sake of one lock perhaps, is looked at one by one.
func (p *Provider) lookThrough(ctx context.Context, g *group, janitor bool) error {
	more, err := p.lookAt(ctx, g, janitor)
	for err == nil && more {
		more, err = p.lookAt(ctx, g, janitor)
	}
	switch {
	case err == nil || lost(err) || passing(err):
		return err
	case janitor: // what it would clear away may be refused, whatever is asked
		p.log.Debug("lockredis: what others have left could not be cleared away; that is tried again", "error", err)
		return p.lookThrough(ctx, g, false)
	case len(g.places) == 0:
		return err
	case len(g.places) == 1:
		p.refusedLock(g.places[0].lock, err)
		return nil
	}
	for i := range g.places {
		if err := p.lookThrough(ctx, &group{hub: g.hub, places: g.places[i : i+1]}, false); err != nil {
			return err
		}
	}
	return nil
}

// lookAt sends tick.lua once, and notes what it says.
func (p *Provider) lookAt(ctx context.Context, g *group, janitor bool) (more bool, err error) {
	s := p.waits
	s.mu.Lock()
	c := &p.clock
	c.marks++
	number, cursor := c.marks, [2]int64{-1, -1}
	if janitor {
		cursor = g.hub.sweep.cursor
	}
	sent := time.Now()
	c.sent[number] = mark{g.hub, sent}
	s.mu.Unlock()
	reply, err := p.send(ctx, tickScript, append(g.command(tickScript, 5),
		p.self, livenessTime.Milliseconds(), strconv.FormatUint(number, 10), cursor[0], cursor[1]))
	if err != nil {
		s.mu.Lock()
		delete(c.sent, number) // whether it was sent is not known
		s.mu.Unlock()
		return false, err
	}
	list, ok := reply.([]any)
	r := reader{list: list}
	lapsed, dead, next := r.number(), r.number(), [2]int64{r.number(), r.number()}
	if !ok || r.bad || len(r.list) != 2*len(g.places) {
		return false, badReply(tickScript.name, reply)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.announced(g.hub, sent) {
		c.resync = true
	}
	if janitor {
		p.swept(g.hub, sent, next)
	}
	if lapsed == 1 {
		c.resync = true // this process was taken for dead
	}
	var foreign []string
	for i := range g.places {
		left, alien := r.number(), r.number()
		if alien == 1 {
			foreign = append(foreign, g.places[i].lock)
		}
		if left == -2 {
			left = -1 // free: whoever gets it is told
		}
		delete(c.refused.locks, g.places[i].lock)
		s.see(g.places[i].lock, time.Duration(left)*time.Millisecond, alien == 1)
	}
	p.armLocks(foreign, true)
	return dead == 1, nil
}

// lookAgain sees to queues in which dead waiters are left, beside the caller.
func (p *Provider) lookAgain(g *group) {
	if p.life.enter() != nil {
		return
	}
	go func() {
		defer p.life.leave()
		ctx, cancel := context.WithTimeout(context.Background(), tickTime)
		defer cancel()
		p.look(ctx, []group{*g}, false)
	}()
}

// marked notes that a mark has come back.
func (p *Provider) marked(number uint64) {
	s := p.waits
	s.mu.Lock()
	defer s.mu.Unlock()
	back, ok := p.clock.sent[number]
	if !ok {
		return
	}
	if back.sent.After(back.hub.mark) {
		back.hub.mark = back.sent
	}
	for n, m := range p.clock.sent {
		if m.hub == back.hub && n <= number {
			delete(p.clock.sent, n)
		}
	}
}

// overdue says that the stream of grants is silent although a mark was sent.
func (c *clock) overdue(now time.Time) bool {
	for _, m := range c.sent {
		if now.Sub(m.sent) > 3*tickInterval {
			return true
		}
	}
	return false
}

// resync has every request that waits stated again: the stream of grants was
// interrupted, or the server has forgotten the queue.
func (p *Provider) resync() {
	s := p.waits
	s.mu.Lock()
	defer s.mu.Unlock()
	p.clock.resync = true
	p.clock.ticked = time.Time{}
	clear(p.clock.sent)
	if len(s.byID) > 0 {
		p.schedule(time.Now())
	}
}

// restateStale states again what the server may know nothing of.
func (p *Provider) restateStale(ctx context.Context) {
	s := p.waits
	now := time.Now()
	s.mu.Lock()
	all := p.clock.resync
	p.clock.resync = false
	silent := p.clock.overdue(now)
	var list []*wait
	for _, w := range s.byID {
		switch {
		case !w.began && w.ask.mode != modeTicket:
			w.missed = w.missed || all
		case all:
			list = append(list, w)
		case now.Sub(p.clock.refused.requests[w]) < staleAfter:
		case w.missed, w.lapses(now):
			list = append(list, w)
		case now.Sub(w.asked) > staleAfter && len(list) < staleMost:
			list = append(list, w)
		}
	}
	slices.SortFunc(list, inFront)
	chunks := byHub(list)
	s.mu.Unlock()
	if silent {
		p.push.renew(ctx)
	}
	spread(ctx, p, chunks, func(chunk []*wait) *hub { return chunk[0].ask.group.hub }, func(ctx context.Context, chunk []*wait) error {
		err := p.restate(ctx, chunk)
		if err != nil {
			p.log.Warn("lockredis: requests that wait could not be stated again; that is tried at the next tick", "requests", len(chunk), "error", err)
		}
		return err
	}, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		p.clock.resync = p.clock.resync || all
	})
}

// inFront orders waits by their places, so that a key which is free by now goes to the
// one in front. Those that have had no place are last. It requires waits.mu.
func inFront(a, b *wait) int {
	if a.ask.place == 0 || b.ask.place == 0 {
		return cmp.Compare(b.ask.place, a.ask.place)
	}
	return cmp.Compare(a.ask.place, b.ask.place)
}

// byHub returns waits that can be stated in one call together. It requires waits.mu.
func byHub(list []*wait) (chunks [][]*wait) {
	hubs := make(map[*hub][]*wait)
	for _, w := range list {
		hubs[w.ask.group.hub] = append(hubs[w.ask.group.hub], w)
	}
	for _, of := range hubs {
		chunks = slices.AppendSeq(chunks, slices.Chunk(of, restateMost))
	}
	return chunks
}

// restate asks the server where requests stand, or to put them where they stood.
// They are of one hub. An error means that the server gives no answers; what it
// answers to one of them is that one's own affair.
func (p *Provider) restate(ctx context.Context, list []*wait) error {
	asks := make([]ask, len(list))
	shares := make([]*share, len(list))
	p.waits.mu.Lock()
	for i, w := range list {
		asks[i] = *w.ask
	}
	p.waits.mu.Unlock()
	sent := time.Now()
	for i := range asks {
		shares[i] = p.askShare(&asks[i], sent)
	}
	p.sendShares(ctx, shares)
	var errs error
	for i, sh := range shares {
		var got answer
		err := sh.err
		if err == nil {
			err = p.readAnswer(&asks[i], sh, sent, &got)
		}
		if err != nil {
			p.unanswered(list[i], err)
			if lost(err) || passing(err) {
				errs = cmp.Or(errs, err)
			} else {
				p.refusedRequest(list[i], err)
			}
			continue
		}
		p.restated(ctx, list[i], &asks[i], &got, sent)
	}
	return errs
}

// restated acts on the answer to a request that was stated again.
func (p *Provider) restated(ctx context.Context, w *wait, a *ask, got *answer, sent time.Time) {
	s := p.waits
	s.mu.Lock()
	known, l := s.byID[w.ask.id], w.leaving()
	there := known == w
	if there && got.kind == answerWaiting {
		w.asked, w.ask.place, w.missed = sent, got.place, false
		delete(p.clock.refused.requests, w)
		s.unoffer(w)
		s.mu.Unlock()
		s.begin(w, got)
		return
	}
	s.mu.Unlock()
	switch {
	case !there:
		if known == nil && (got.kind == answerWaiting || got.kind == answerGranted) {
			// It ended meanwhile, and may have come back to the queue.
			_ = p.leave(ctx, l) // it has noted what is left to do
		}
	case got.kind == answerGranted:
		p.granted(a.id, got.holds, got.successors)
	default:
		_, err := final(a, got)
		p.refused(a.id, err)
	}
}

// granted tells who waits for it of a grant, and notes the successors that it names.
func (p *Provider) granted(id string, holds []driver.Granted, successors reader) {
	if t := p.waits.offer(id, holds); t != nil {
		p.notify(driver.Event{Ticket: ticketID(id), Grant: driver.Grant{Holds: holds}})
		return
	}
	p.waits.settle(id, holds, successors, nil)
}

// refused tells who waits for it that a request has ended.
func (p *Provider) refused(id string, err error) {
	if t := p.waits.end(id); t != nil {
		p.notify(driver.Event{Ticket: ticketID(id), Err: err})
		return
	}
	p.waits.settle(id, nil, reader{}, err)
}
