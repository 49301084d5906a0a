package lockredis

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// waysMost is how many waits and locks a round looks at, beside those it began with.
const waysMost = 512

// aside is the score from which on a waiter is passed over: see queue.lua.
const aside = 1 << 48

// holding is who has a lock, and by which token.
type holding struct {
	owner string
	token driver.Token
}

// ways are the waits that were found to stand, and who has what they wait for.
type ways struct {
	seen map[string]sight      // by request
	of   map[string][]*waiting // those that hold up an owner
}

// sight is one look at a wait: the holders of its keys that can be compared, by key. A
// wait that does not stand has none, nor has one whose holders are not sure for the moment.
type sight map[string]holding

// link is a member of a circle: a wait, and the key that the next one's owner holds.
type link struct {
	wait *waiting
	key  string
	by   holding
}

// follow finds what can be come to from waits of this process: their holders, what those
// wait for, and so on. An error means that not all of it was answered.
func (p *Provider) follow(ctx context.Context, starts []*published) (*ways, error) {
	found := &ways{seen: map[string]sight{}, of: map[string][]*waiting{}}
	next, budget := make([]*waiting, len(starts)), waysMost
	for i, w := range starts {
		next[i] = &w.waiting
	}
	var errs error
	for len(next) > 0 {
		var further []*waiting
		looked, err := p.sights(ctx, next)
		var owners []string
		for id, holders := range looked {
			found.seen[id] = holders
			for _, h := range holders {
				if _, known := found.of[h.owner]; !known {
					found.of[h.owner] = nil
					owners = append(owners, h.owner)
				}
			}
		}
		e := p.readAll(ctx, owners, found)
		errs = errors.Join(errs, err, e)
		for _, owner := range owners {
			for _, w := range found.of[owner] {
				if _, known := found.seen[w.id]; known || budget < len(w.keys) {
					continue
				}
				budget -= len(w.keys)
				found.seen[w.id] = nil
				further = append(further, w)
			}
		}
		next = further
	}
	return found, errs
}

// readAll reads the waits that are published under owners: of very many some, others the
// next time.
func (p *Provider) readAll(ctx context.Context, owners []string, found *ways) error {
	if len(owners) == 0 {
		return nil
	}
	line := p.client.Pipeline()
	cmds := make([]*redis.KeyValueSliceCmd, len(owners))
	for i, owner := range owners {
		cmds[i] = line.HRandFieldWithValues(ctx, p.keys.waitsOf(owner), waysMost/2)
	}
	_, err := line.Exec(ctx)
	for i, owner := range owners {
		for _, kv := range cmds[i].Val() {
			if w, ok := p.readWaiting(kv.Key, kv.Value); ok {
				found.of[owner] = append(found.of[owner], w)
			}
		}
	}
	return err
}

// sights looks at waits: whether they stand in their queues, with a process that lives, and
// who has their keys. An error means that there is no look at some of them.
func (p *Provider) sights(ctx context.Context, list []*waiting) (looked map[string]sight, err error) {
	line := p.client.Pipeline()
	scores := make([]*redis.FloatCmd, len(list))
	lives := make([]*redis.IntCmd, len(list))
	locks := make([]*redis.Cmd, len(list))
	for i, w := range list {
		scores[i] = line.ZScore(ctx, w.group.places[0].queue, w.id)
		lives[i] = line.Exists(ctx, w.group.hub.base+"p:"+w.process)
		locks[i] = line.Do(ctx, w.group.command(listScript, 0)...)
	}
	_, _ = line.Exec(ctx) // each command has its own error
	looked = map[string]sight{}
	for i, w := range list {
		reply, e := locks[i].Result()
		if unknown(e) {
			reply, e = p.send(ctx, listScript, locks[i].Args())
		}
		var states []driver.State
		var unsure bool
		if e == nil {
			states, _, unsure, e = p.readStates(reply)
		}
		if scores[i].Err() != nil && !errors.Is(scores[i].Err(), redis.Nil) {
			e = errors.Join(e, scores[i].Err())
		}
		if e = errors.Join(e, lives[i].Err()); e != nil {
			err = errors.Join(err, e)
			continue
		}
		looked[w.id] = sight{}
		if scores[i].Err() != nil || scores[i].Val() >= aside || lives[i].Val() == 0 || unsure {
			continue
		}
		for _, st := range states {
			if !st.Foreign && st.Owner != driver.Anonymous && st.Owner != w.owner {
				looked[w.id][st.Key] = holding{st.Owner, st.Token}
			}
		}
	}
	return looked, err
}

// circle is the circle that a wait is in, beginning with its victim, or nil.
func (f *ways) circle(w *published) []link {
	ends := map[string]bool{}
	for _, owner := range w.owners {
		ends[owner] = true
	}
	list := f.circleTo(&w.waiting, ends, map[string]bool{})
	if list == nil {
		return nil
	}
	victim := 0
	for i := range list {
		if younger(list[i].wait, list[victim].wait) {
			victim = i
		}
	}
	return append(list[victim:len(list):len(list)], list[:victim]...)
}

func (f *ways) circleTo(w *waiting, ends, been map[string]bool) []link {
	been[w.id] = true
	for _, key := range w.keys {
		h, held := f.seen[w.id][key]
		if !held {
			continue
		}
		if ends[h.owner] {
			return []link{{w, key, h}}
		}
		for _, other := range f.of[h.owner] {
			if been[other.id] {
				continue
			}
			if rest := f.circleTo(other, ends, been); rest != nil {
				return append([]link{{w, key, h}}, rest...)
			}
		}
	}
	return nil
}

// breakCircle looks at a circle again. If it stands, its victim is ended when it is a
// request of this process, and else its process is told.
func (p *Provider) breakCircle(ctx context.Context, circle []link) error {
	list := make([]*waiting, len(circle))
	for i, l := range circle {
		list[i] = l.wait
	}
	looked, err := p.sights(ctx, list)
	if err != nil {
		return err
	}
	found := &driver.DeadlockError{}
	for _, l := range circle {
		if looked[l.wait.id][l.key] != l.by {
			return nil
		}
		found.Cycle = append(found.Cycle, driver.Wait{Owner: l.wait.owner, Key: l.key, Holder: l.by.owner})
	}
	victim := circle[0].wait
	if victim.process != p.self {
		return p.client.Publish(ctx, p.keys.channel(victim.process), fieldText("c", victim.id)).Err()
	}
	p.giveUpWait(ctx, victim, found)
	return nil
}

// giveUpWait ends a wait of this process with an error, here and on the server. What a
// request has taken in earlier slots its call gives back.
func (p *Provider) giveUpWait(ctx context.Context, victim *waiting, err error) {
	s := p.waits
	s.mu.Lock()
	w := s.byID[victim.id]
	if w == nil || !w.began || w.offered || w.ask.group.places[0].lock != victim.group.places[0].lock {
		s.mu.Unlock()
		return
	}
	l := w.leaving()
	s.remove(w) // from here on no grant comes to it
	w.began = false
	s.mu.Unlock()
	_ = p.leave(ctx, l) // it has noted what is left to do
	if w.ask.mode == modeTicket {
		p.notify(driver.Event{Ticket: ticketID(victim.id), Err: err})
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer(w, w.holds, err)
}
