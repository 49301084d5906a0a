// Package lockmem keeps locks in the memory of one process. It protects callers
// of this process only; several instances need a provider on a server.
package lockmem

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// Config configures a provider. The zero value is complete.
type Config struct {
	// WaitLockingTimeout is how long a request waits that names no time of its
	// own; zero is 5 s.
	WaitLockingTimeout time.Duration
}

// Provider is an in-memory [driver.Provider].
//
// Invariants:
//  1. A key has an entry only while it is held. An entry whose time is up is as
//     good as none, whether or not the timer has run.
//  2. No waiter's keys are all available: whatever makes a key available grants
//     at once, in the order in which the waiters came.
//  3. Tokens come from one counter, so they rise for every key without anything
//     being kept for keys that are free.
type Provider struct {
	wait time.Duration

	mu      sync.Mutex
	running bool
	held    map[string]*entry
	waiters list
	expiry  expiryHeap
	timer   *time.Timer
	token   driver.Token
}

var _ driver.Provider = (*Provider)(nil)

// entry is a key that is held.
type entry struct {
	hold  driver.Hold
	until time.Time // zero: no expiry
}

// New returns a provider. It starts nothing.
func New(cfg Config) *Provider {
	return &Provider{wait: cfg.WaitLockingTimeout, held: make(map[string]*entry)}
}

// Start implements [driver.Provider].
func (p *Provider) Start(context.Context, driver.Env) error {
	if p.wait < 0 {
		return fmt.Errorf("lockmem: Config.WaitLockingTimeout %s is negative", p.wait)
	}
	if p.wait == 0 {
		p.wait = 5 * time.Second
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running = true
	// From the clock, so that tokens rise over a restart of the process too.
	p.token = driver.Token(time.Now().UnixMicro())
	return nil
}

// Describe implements [driver.Provider].
func (p *Provider) Describe() driver.Info {
	return driver.Info{DefaultWait: p.wait, ProcessLocal: true}
}

// Acquire implements [driver.Provider].
func (p *Provider) Acquire(ctx context.Context, req driver.Request) (driver.Grant, error) {
	if err := ctx.Err(); err != nil {
		return driver.Grant{}, err //nolint:wrapcheck // the context's own error is the contract
	}
	p.mu.Lock()
	if !p.running {
		p.mu.Unlock()
		return driver.Grant{}, driver.ErrClosed
	}
	grant, busy, err := p.try(&req, time.Now())
	switch {
	case err != nil || busy == nil:
		p.mu.Unlock()
		return grant, err
	case req.Wait < 0:
		p.mu.Unlock()
		return driver.Grant{}, busy
	}
	w := &waiter{req: req, done: make(chan struct{})}
	p.waiters.push(w)
	p.mu.Unlock()
	return p.await(ctx, w)
}

// await waits for the grant, and leaves nothing behind when it goes without.
func (p *Provider) await(ctx context.Context, w *waiter) (driver.Grant, error) {
	timeout := time.NewTimer(w.req.Wait)
	defer timeout.Stop()
	var why error
	select {
	case <-w.done:
		return w.grant, w.err
	case <-timeout.C:
		why = driver.ErrTimeout
	case <-ctx.Done():
		why = ctx.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-w.done: // granted while it was leaving: the grant stands
		return w.grant, w.err
	default:
		p.waiters.remove(w)
		return driver.Grant{}, why
	}
}

// try takes all keys of the request, if it can. It requires mu.
func (p *Provider) try(req *driver.Request, now time.Time) (driver.Grant, *driver.BusyError, error) {
	for _, k := range req.Keys {
		e := p.live(k, now)
		switch {
		case e == nil:
		case e.hold.Owner != req.Owner || req.Owner == driver.Anonymous:
			return driver.Grant{}, &driver.BusyError{Key: k, Holder: e.hold.Owner}, nil
		case req.Generation.Compare(e.hold.Generation) < 0:
			return driver.Grant{}, nil, driver.ErrRevoked
		}
	}
	grant := driver.Grant{Holds: make([]driver.Granted, len(req.Keys))}
	for i, k := range req.Keys {
		grant.Holds[i] = p.take(k, req, now)
	}
	return grant, nil, nil
}

// take gives one available key to the request. It requires mu.
func (p *Provider) take(key string, req *driver.Request, now time.Time) driver.Granted {
	e := p.live(key, now)
	joined := false
	switch {
	case e == nil:
		e = &entry{}
		p.held[key] = e
		p.token++
		e.hold = driver.Hold{Key: key, Owner: req.Owner, Generation: req.Generation, Token: p.token}
		if req.TTL > 0 {
			p.expireAt(e, now.Add(req.TTL))
		}
		return driver.Granted{Hold: e.hold, Until: e.until}
	case e.hold.Generation == req.Generation:
		joined = true
	default:
		p.token++
		e.hold.Generation, e.hold.Token = req.Generation, p.token
	}
	p.extend(e, req.TTL, now)
	return driver.Granted{Hold: e.hold, Joined: joined, Until: e.until}
}

// extend makes an entry end later, never sooner. It requires mu.
func (p *Provider) extend(e *entry, ttl time.Duration, now time.Time) {
	if ttl > 0 && !e.until.IsZero() && now.Add(ttl).After(e.until) {
		p.expireAt(e, now.Add(ttl))
	}
}

// live returns the entry of a key that is held now. It requires mu.
func (p *Provider) live(key string, now time.Time) *entry {
	e := p.held[key]
	if e == nil || (!e.until.IsZero() && !now.Before(e.until)) {
		return nil
	}
	return e
}

// matching returns the live entry that the hold stands for, or nil.
func (p *Provider) matching(h driver.Hold, now time.Time) *entry {
	e := p.live(h.Key, now)
	if e == nil || e.hold.Owner != h.Owner || (h.Token != 0 && e.hold.Token != h.Token) {
		return nil
	}
	return e
}

// Extend implements [driver.Provider].
func (p *Provider) Extend(_ context.Context, ttl time.Duration, holds []driver.Hold) ([]driver.Extension, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.running {
		return nil, driver.ErrClosed
	}
	now := time.Now()
	answers := make([]driver.Extension, len(holds))
	for i, h := range holds {
		if e := p.matching(h, now); e != nil {
			p.extend(e, ttl, now)
			answers[i] = driver.Extension{Held: true, Until: e.until}
		}
	}
	return answers, nil
}

// Release implements [driver.Provider].
func (p *Provider) Release(_ context.Context, holds []driver.Hold) ([]bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.running {
		return nil, driver.ErrClosed
	}
	now := time.Now()
	answers := make([]bool, len(holds))
	for i, h := range holds {
		if e := p.matching(h, now); e != nil {
			delete(p.held, h.Key)
			answers[i] = true
		}
	}
	p.grantWaiters(now)
	return answers, nil
}

// ReleaseAll implements [driver.Provider].
func (p *Provider) ReleaseAll(_ context.Context, owner string) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.running {
		return 0, driver.ErrClosed
	}
	now, n := time.Now(), 0
	for k, e := range p.held {
		if e.hold.Owner == owner && p.live(k, now) != nil {
			delete(p.held, k)
			n++
		}
	}
	p.grantWaiters(now)
	return n, nil
}

// Close implements [driver.Provider]. Waiters get [driver.ErrClosed].
func (p *Provider) Close(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running = false
	if p.timer != nil {
		p.timer.Stop()
	}
	for w := p.waiters.first; w != nil; w = w.next {
		w.err = driver.ErrClosed
		close(w.done)
	}
	p.waiters = list{}
	p.held, p.expiry = map[string]*entry{}, nil
	return nil
}
