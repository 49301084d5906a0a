package lockredis

import (
	"context"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockstep-dev/lockstep/internal/rediskit"
	"github.com/lockstep-dev/lockstep/locking/driver"
)

// crossing finds deadlocks whose members wait in several slots of a cluster. A script sees
// one slot only; so processes publish what waits there, and follow each other's waits.
//
// A wait is published under each owner that it holds up: its own, and the enclosing ones.
// Then the way is followed from it: the holders of its keys, the waits that hold those up,
// and so on. Who publishes last finds the circle, since the others have published before;
// it tells the victim's process, which looks itself, and acts.
//
// Invariants:
//  1. A wait is published before the way is followed from it.
//  2. Nobody is given up for a circle unless two looks at all of it, one after the other,
//     saw the same requests wait and the same tokens hold: there was a moment between
//     the two at which the whole circle stood.
//  3. Of a circle all processes choose the same victim, and only its own ends it.
//
// What cannot be seen: anonymous owners ([driver.Anonymous]) are many under one name, and
// the locks of other programs have no token; a way ends at both. A circle that is closed
// by a grant, and not by a wait, is found when the turn of one of its older waits comes.
//
// All fields but failing are guarded by waits.mu.
type crossing struct {
	off       bool // all that waits is seen by the scripts
	published map[string]*published
	older     []*published // the same, in turn; some that have ended, too
	running   bool
	again     bool // a round is to follow the one that is running
	failing   atomic.Bool
}

// published is a wait of this process that others may read.
type published struct {
	waiting

	wait      *wait     // a request may wait in one slot, and then in the next
	owners    []string  // it stands under each of them
	refreshed time.Time // zero: not yet
	looked    bool      // the way was followed from it
}

const (
	// crossingAge is how long a wait has lasted at least that is published: most are over
	// before that.
	crossingAge = tickInterval / 5
	// crossingTime is how long what a process has published is there when it dies.
	crossingTime = time.Minute
	// crossingRefresh is how old it becomes before it is written again: the server may
	// have forgotten it.
	crossingRefresh = crossingTime / 3
	// publishMost is how many waits are published in one round.
	publishMost = 1024
	// A round follows the way from waits that are new, and from olderMost others in turn;
	// either have startKeys keys at most, but for the last one.
	olderMost, startKeys = 16, 256
)

func newCrossing(l *layout) crossing {
	together := rediskit.Slot(l.namespace+"a") == rediskit.Slot(l.namespace+"b") // by a tag
	return crossing{off: !l.slotted || together, published: map[string]*published{}}
}

// lookAcross begins a round, unless there is nothing to do: behind the one that is under way,
// which may have passed by already what is to be looked at. It takes no time of the clock's:
// a node that does not answer must not keep this process from saying that it lives.
func (p *Provider) lookAcross() {
	s, c := p.waits, &p.crossing
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.off || len(s.byID)+len(c.published) == 0 {
		return
	}
	if c.running {
		c.again = true
		return
	}
	if p.life.enter() != nil {
		return
	}
	c.running = true
	go func() {
		defer p.life.leave()
		for again := true; again; again = p.crossedAll() {
			ctx, cancel := context.WithTimeout(context.Background(), tickTime)
			p.crossed(p.round(ctx))
			cancel()
		}
	}()
}

// crossedAll ends the running of rounds, unless another one was asked for.
func (p *Provider) crossedAll() (again bool) {
	s, c := p.waits, &p.crossing
	s.mu.Lock()
	defer s.mu.Unlock()
	again, c.again = c.again, false
	c.running = again
	return again
}

// crossed logs when rounds begin to fail, and when they do not any more.
func (p *Provider) crossed(err error) {
	switch failed := err != nil; {
	case p.crossing.failing.Swap(failed) == failed:
	case failed:
		p.log.Warn("lockredis: deadlocks over several slots may not be found now; that is tried again", "error", err)
	default:
		p.log.Info("lockredis: deadlocks over several slots are found again")
	}
}

// askedAcross sees to another process's finding that a request of this one is the victim of a
// circle.
func (p *Provider) askedAcross(id string) {
	s, c := p.waits, &p.crossing
	s.mu.Lock()
	if w := c.published[id]; w != nil {
		w.looked = false
	}
	s.mu.Unlock()
	p.lookAcross()
}

// round publishes what is to be, and follows the way from it. An error means that some
// server has not answered; what others have answered is acted on all the same.
func (p *Provider) round(ctx context.Context) error {
	write, ended := p.toPublish(time.Now())
	err := p.publish(ctx, write, ended)
	starts := p.starts()
	if len(starts) == 0 {
		return err
	}
	ways, e := p.follow(ctx, starts)
	if err == nil {
		err = e
	}
	done := map[string]bool{}
	for _, w := range starts {
		circle := ways.circle(w)
		if circle == nil || done[circle[0].wait.id] {
			continue
		}
		done[circle[0].wait.id] = true
		if e := p.breakCircle(ctx, circle); err == nil {
			err = e
		}
		p.lookFrom(w)
	}
	return err
}

// toPublish returns the waits that are to be written, and those that have ended.
func (p *Provider) toPublish(now time.Time) (write, ended []*published) {
	s, c := p.waits, &p.crossing
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, w := range s.byID {
		if old := c.published[id]; old != nil && old.wait == w || !w.began || w.offered || now.Sub(w.came) < crossingAge {
			continue
		}
		if owners := heldUp(w.ask); len(owners) > 0 {
			own := &published{waiting: p.waitingOf(w), wait: w, owners: owners}
			c.published[id], c.older = own, append(c.older, own)
		}
	}
	if len(c.older) > 2*len(c.published)+startKeys {
		c.older = slices.DeleteFunc(c.older, func(w *published) bool { return c.published[w.id] != w })
	}
	for id, w := range c.published {
		if s.byID[id] != w.wait {
			ended = append(ended, w)
		} else if now.Sub(w.refreshed) > crossingRefresh && len(write) < publishMost {
			write = append(write, w)
		}
	}
	return write, ended
}

// heldUp are the owners that give nothing back before a request is answered, as far as
// they may hold anything that others wait for.
func heldUp(a *ask) []string {
	owners := slices.Clone(a.req.Enclosing)
	own := a.req.Owner
	later := len(a.group.at) < len(a.req.Keys) // keys of earlier slots may have been taken
	if own != driver.Anonymous && (listed(own) || later) && !slices.Contains(owners, own) {
		owners = append(owners, own)
	}
	return owners
}

// publish writes waits, and deletes those that have ended. What fails is tried again in the
// next round, as long as it may be there.
func (p *Provider) publish(ctx context.Context, write, ended []*published) error {
	if len(write)+len(ended) == 0 {
		return nil
	}
	began, line := time.Now(), p.client.Pipeline()
	for _, w := range write {
		for _, owner := range w.owners {
			line.HSet(ctx, p.keys.waitsOf(owner), w.id, w.record())
			line.PExpire(ctx, p.keys.waitsOf(owner), crossingTime)
		}
	}
	for _, w := range ended {
		for _, owner := range w.owners {
			line.HDel(ctx, p.keys.waitsOf(owner), w.id)
		}
	}
	cmds, err := line.Exec(ctx)
	failed := func(n int) bool {
		own := cmds[:n]
		cmds = cmds[n:]
		return slices.ContainsFunc(own, func(c redis.Cmder) bool { return c.Err() != nil })
	}
	s := p.waits
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range write {
		if !failed(2 * len(w.owners)) {
			w.refreshed = began
		}
	}
	for _, w := range ended {
		if !failed(len(w.owners)) || began.Sub(w.refreshed) > crossingTime {
			delete(p.crossing.published, w.id)
		}
	}
	return err
}

// unpublish deletes what is published when the provider closes. What fails ends by itself.
func (p *Provider) unpublish(ctx context.Context) {
	s := p.waits
	s.mu.Lock()
	ended := slices.Collect(maps.Values(p.crossing.published))
	s.mu.Unlock()
	if err := p.publish(ctx, nil, ended); err != nil {
		p.log.Debug("lockredis: waits that are over stay published for a minute at most", "error", err)
	}
}

// starts are the waits from which a round follows the way.
func (p *Provider) starts() (list []*published) {
	s, c := p.waits, &p.crossing
	s.mu.Lock()
	defer s.mu.Unlock()
	for n, keys := min(olderMost, len(c.older)), 0; n > 0 && keys < startKeys; n-- {
		w := c.older[0]
		c.older = c.older[1:]
		if c.published[w.id] != w {
			continue
		}
		c.older = append(c.older, w)
		if w.looked {
			list, keys = append(list, w), keys+len(w.keys)
		}
	}
	keys := 0
	for _, w := range c.published {
		if !w.looked && !w.refreshed.IsZero() && keys < startKeys {
			list, keys = append(list, w), keys+len(w.keys)
			w.looked = true
		}
	}
	return list
}

// lookFrom has the way followed from a wait in the next round, too.
func (p *Provider) lookFrom(w *published) {
	s := p.waits
	s.mu.Lock()
	defer s.mu.Unlock()
	w.looked = false
}
