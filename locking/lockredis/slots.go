package lockredis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

const (
	// slotLease is for how long at most what is taken of one slot is kept while later slots'
	// keys are waited for. It is renewed. A process that dies meanwhile leaves nothing for
	// longer.
	slotLease = 30 * time.Second
	// slotHaste is how soon after one another slots are taken whose locks may lapse as if
	// they had been taken at once.
	slotHaste = 50 * time.Millisecond
)

// lapsedError means that what was taken of one slot was gone before all slots were had.
type lapsedError struct{ key string }

func (e *lapsedError) Error() string {
	return "lockredis: " + strconv.Quote(e.key) + " has lapsed before the locks of other slots were taken"
}

// acquireGroups takes the keys of several slots, one slot after the other. It begins anew
// when a slot's keys are lost meanwhile, as with a node that has forgotten them: a request
// that does not wait once only, which tells who has them by now.
func (p *Provider) acquireGroups(ctx context.Context, req *driver.Request, groups []group, deadline time.Time) (driver.Grant, error) {
	for begun := 1; ; begun++ {
		grant, err := p.acquireInTurn(ctx, req, groups, deadline)
		lapsed, ok := errors.AsType[*lapsedError](err)
		switch {
		case !ok:
			return grant, err
		case req.Wait < 0 && begun > 1:
			return driver.Grant{}, fmt.Errorf("%w: %w", &driver.BusyError{Key: lapsed.key}, err)
		case req.Wait >= 0 && !time.Now().Before(deadline):
			return driver.Grant{}, fmt.Errorf("%w: %w", driver.ErrTimeout, err)
		}
	}
}

// acquireInTurn takes the slots' keys once. What an owner has joined may have been extended
// by slotLease, at most, when another slot's keys cannot be had.
func (p *Provider) acquireInTurn(ctx context.Context, req *driver.Request, groups []group, deadline time.Time) (driver.Grant, error) {
	id := p.requestID()
	asks, who := make([]*ask, 0, len(groups)), make([]string, len(groups))
	first := *req
	if first.TTL == 0 || first.TTL > slotLease {
		first.TTL = slotLease
	}
	grant := driver.Grant{Holds: make([]driver.Granted, len(req.Keys))}
	had := &keeping{p: p, ttl: first.TTL, since: time.Now()}
	defer had.stop()
	for i := range groups {
		asked := &first
		if i == len(groups)-1 {
			asked = req
		}
		a := &ask{req: asked, group: &groups[i], id: id}
		asks, who[i] = append(asks, a), p.masters.whoHas(ctx, a.group.hub)
		holds, err := p.take(ctx, a, deadline)
		if err == nil && i < len(groups)-1 {
			err = had.add(ctx, holds)
		}
		if err != nil {
			return driver.Grant{}, errors.Join(err, p.cancel(ctx, asks...))
		}
		p.owe(groups[i].hub, len(holds), asked.TTL)
		for n, at := range groups[i].at {
			grant.Holds[at] = holds[n]
		}
	}
	had.stop()
	if err := had.complete(ctx, req.TTL, &grant); err != nil {
		var holds []driver.Hold // by their tokens: to the server the last ones may be successors
		for i := range grant.Holds {
			if !grant.Holds[i].Joined {
				holds = append(holds, grant.Holds[i].Hold)
			}
		}
		free, stop := context.WithTimeout(context.WithoutCancel(ctx), cancelTime)
		defer stop()
		_, _ = p.Release(free, holds) // what it does not reach the cancel notes
		return driver.Grant{}, errors.Join(err, p.cancel(ctx, asks...))
	}
	for i := range groups {
		for _, at := range groups[i].at {
			p.watch(groups[i].hub, grant.Holds[at:at+1], who[i])
		}
	}
	return grant, nil
}

// keeping is what a request has of some slots while it waits for the others.
type keeping struct {
	p     *Provider
	ttl   time.Duration
	since time.Time
	// waited says that something was not free at once.
	waited bool

	mu     sync.Mutex
	holds  []driver.Hold
	joined []driver.Hold      // they keep the expiry that stands, where the request asks for none
	quit   context.CancelFunc // nil: nothing is renewed
	ended  chan struct{}
}

// add keeps what was taken. Offers become full holds: they would lapse.
func (k *keeping) add(ctx context.Context, holds []driver.Granted) error {
	var offers []driver.Hold
	var at []int
	k.mu.Lock()
	for i := range holds {
		if holds[i].Offer {
			offers, at = append(offers, holds[i].Hold), append(at, i)
		}
		if holds[i].Joined {
			k.joined = append(k.joined, holds[i].Hold)
		} else {
			k.holds = append(k.holds, holds[i].Hold)
		}
	}
	k.mu.Unlock()
	if k.quit == nil {
		var life context.Context
		life, k.quit = context.WithCancel(context.WithoutCancel(ctx)) // stop ends it, not the caller's context
		k.ended = make(chan struct{})
		go k.renew(life, k.ended)
	}
	if len(offers) == 0 {
		return nil
	}
	k.waited = true
	answers, err := k.p.extendAll(ctx, k.ttl, offers)
	for i := range answers {
		holds[at[i]].Offer, holds[at[i]].Until = false, answers[i].Until
	}
	return err
}

// renew extends what is kept each third of its time to live.
func (k *keeping) renew(life context.Context, ended chan struct{}) {
	defer close(ended)
	every := time.NewTicker(max(k.ttl/3, time.Millisecond))
	defer every.Stop()
	for {
		select {
		case <-life.Done():
			return
		case <-every.C:
		}
		ctx, cancel := context.WithTimeout(life, max(k.ttl/3, 10*time.Millisecond))
		k.mu.Lock()
		holds := k.holds
		k.mu.Unlock()
		_, _ = k.p.Extend(ctx, k.ttl, holds) // what is lost shows when all are had
		cancel()
	}
}

// stop ends the renewing. A renewal that is on its way to a node which does not answer ends
// later: it can only make the expiry of what is still held later, and must not hold up the
// caller.
func (k *keeping) stop() {
	if k.quit == nil {
		return
	}
	k.quit()
	k.quit = nil
	grace := time.NewTimer(inFlightGrace)
	defer grace.Stop()
	select {
	case <-k.ended:
	case <-grace.C:
	}
}

// complete gives what was taken first the time that was asked for, counted from now, and
// makes sure that it is there.
func (k *keeping) complete(ctx context.Context, ttl time.Duration, grant *driver.Grant) error {
	waited := k.waited || slices.ContainsFunc(grant.Holds, func(h driver.Granted) bool { return h.Offer })
	if ttl == k.ttl && !waited && time.Since(k.since) < min(slotHaste, ttl/10) {
		return nil
	}
	holds := k.holds
	if ttl > 0 {
		holds = append(holds, k.joined...)
	} else if len(k.joined) > 0 { // they keep their expiry, and may have lapsed by it
		if _, err := k.p.extendAll(ctx, time.Millisecond, k.joined); err != nil {
			return err
		}
	}
	answers, err := k.p.extendAll(ctx, ttl, holds)
	if err != nil {
		return err
	}
	ends := map[string]time.Time{}
	for i, a := range answers {
		ends[holds[i].Key] = a.Until
	}
	for i := range grant.Holds {
		if end, ok := ends[grant.Holds[i].Key]; ok {
			grant.Holds[i].Until = end
		}
	}
	return nil
}

// extendAll is Extend of holds that all have to be there.
func (p *Provider) extendAll(ctx context.Context, ttl time.Duration, holds []driver.Hold) ([]driver.Extension, error) {
	var answers []driver.Extension
	err := p.again(ctx, func() (err error) {
		answers, err = p.Extend(ctx, ttl, holds)
		for i := range answers {
			if err == nil {
				err = answers[i].Err
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	for i, a := range answers {
		switch {
		case a.Revoked:
			return nil, fmt.Errorf("lockredis: %q: %w", holds[i].Key, driver.ErrRevoked)
		case !a.Held:
			return nil, &lapsedError{holds[i].Key}
		}
	}
	return answers, nil
}
