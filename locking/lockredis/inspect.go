package lockredis

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

var _ driver.Inspector = (*Provider)(nil)

// maxWaiters is how many waiters one answer tells of at most.
const maxWaiters = 1000

// Inspect implements [driver.Inspector]. It is one call, and tells of at most 1,000
// waiters. A lock that an anonymous owner has without expiry cannot be told from one
// that another program took in its place.
func (p *Provider) Inspect(ctx context.Context, key string, waiters int) (driver.State, error) {
	if err := p.life.enter(); err != nil {
		return driver.State{}, err
	}
	defer p.life.leave()
	g := &p.keys.groups([]string{key})[0]
	args := append(g.command(inspectScript, 1), min(max(waiters, 0), maxWaiters))
	var s driver.State
	_, err := p.untilSure(ctx, sureSoon, func() (unsure bool, err error) {
		reply, err := p.callAgain(ctx, inspectScript, args)
		if err == nil {
			s, unsure, err = p.readInspect(key, reply)
		}
		return unsure, err
	})
	if err != nil {
		return driver.State{}, fmt.Errorf("lockredis: inspect: %w", err)
	}
	return s, nil
}

// readInspect reads what inspect.lua answered.
func (p *Provider) readInspect(key string, reply any) (s driver.State, unsure bool, err error) {
	list, ok := reply.([]any)
	r := reader{list: list}
	micros, held, waiting := r.number(), r.nested(), r.number()
	s = driver.State{Key: key}
	if len(held.list) > 0 {
		s = held.state(key, micros)
	}
	s.Waiting = int(waiting)
	for len(r.list) > 0 && !r.bad {
		w := r.nested()
		s.Waiters = append(s.Waiters, p.readWaiter(&w))
		r.bad = r.bad || w.bad
	}
	if !ok || r.bad || held.bad {
		return driver.State{}, false, badReply(inspectScript.name, reply)
	}
	return s, held.unsure, nil
}

// nested reads a list within the list.
func (r *reader) nested() reader {
	list, ok := r.next().([]any)
	r.bad = r.bad || !ok
	return reader{list: list}
}

// state reads what state.lua says of a holder, at a time of the server.
func (r *reader) state(key string, micros int64) driver.State {
	s := driver.State{Key: key, Held: true, Owner: r.text()}
	if left := r.number(); left >= 0 {
		s.Expires, s.TTL = true, time.Duration(left)*time.Millisecond
	}
	s.Foreign = r.number() == 1
	s.Generation = driver.Generation{Epoch: uint64(r.number()), Attempt: uint64(r.number())}
	token := r.number()
	s.Token = driver.Token(token)
	s.Offer, s.Revoked, s.Reason = r.number() == 1, r.number() == 1, r.text()
	r.unsure = r.number() == 1
	if !s.Foreign {
		// A token is the time of the grant, unless the server's clock has been set back.
		s.Since = time.UnixMicro(min(token, micros))
	}
	r.bad = r.bad || len(r.list) > 0
	return s
}

func (p *Provider) readWaiter(r *reader) driver.Waiter {
	w := driver.Waiter{Owner: r.text()}
	if r.number() == 1 {
		w.Rank = driver.Compensation
	}
	w.Ticket = strings.TrimPrefix(r.text(), ticketPrefix)
	w.Waited = time.Duration(r.number()) * time.Millisecond
	w.Aside = r.number() == 1
	for len(r.list) > 0 && !r.bad {
		w.Keys = append(w.Keys, p.keys.key(r.text()))
	}
	return w
}
