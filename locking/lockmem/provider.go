// Package lockmem keeps locks in the memory of one process. It needs no server,
// and it excludes callers of this process only.
//
// One mutex guards everything. Nothing is kept for a key that nobody holds or
// waits for, and a provider has no goroutine of its own: locks that lapse share
// one timer, a caller that waits does so on its own stack, and one goroutine
// tells of events for as long as there are any.
package lockmem

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// DefaultWaitLockingTimeout is how long a request waits unless it, or the
// [Config], says otherwise.
const DefaultWaitLockingTimeout = 5 * time.Second

var errStartedTwice = errors.New("lockmem: the provider was started before")

// Config is what [New] needs. The zero value is ready for use.
type Config struct {
	// WaitLockingTimeout is how long a request waits that names no time of its
	// own; zero is [DefaultWaitLockingTimeout].
	WaitLockingTimeout time.Duration
}

// Provider keeps locks in memory. It must be made with [New].
//
// Invariants, whenever the mutex is free:
//  1. A key has a lock only while it is held or waited for, or until the next call
//     or the timer finds it lapsed, whichever is first.
//  2. Nobody who waits could go on: whatever lets one go on grants at once, those
//     of better rank first.
//  3. No circle of owners waits for what each other hold.
//  4. Who waits stands in the lines of all its keys, and is listed under the
//     owners that it holds up. A ticket with an offer stands in none: it is listed
//     with the holds of its grant.
type Provider struct {
	defaultWait time.Duration

	mu      sync.Mutex
	state   state
	table   table
	queue   queue
	changes changes
	tickets map[string]*waiter // those that wait, have an offer, or were claimed
	news    news
	audit   audit
	clock   clock
}

var (
	_ driver.Provider  = (*Provider)(nil)
	_ driver.Queuer    = (*Provider)(nil)
	_ driver.Inspector = (*Provider)(nil)
)

// state is where a provider is in its life.
type state int

const (
	made state = iota
	running
	closed
)

// New makes a provider that is not started.
func New(cfg Config) *Provider {
	return &Provider{defaultWait: cmp.Or(cfg.WaitLockingTimeout, DefaultWaitLockingTimeout)}
}

// Start implements [driver.Provider].
func (p *Provider) Start(ctx context.Context, env driver.Env) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if p.defaultWait < 0 {
		return fmt.Errorf("lockmem: Config.WaitLockingTimeout %s is negative", p.defaultWait)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch p.state {
	case made:
		p.table = newTable(time.Now())
		p.queue = newQueue()
		p.tickets = map[string]*waiter{}
		p.news.notify = env.Notify
		p.state = running
		return nil
	case running:
		return errStartedTwice
	case closed:
	}
	return driver.ErrClosed
}

// Describe implements [driver.Provider].
func (p *Provider) Describe() driver.Info {
	return driver.Info{DefaultWait: p.defaultWait, ProcessLocal: true}
}

// Close implements [driver.Provider]. Requests that wait get
// [driver.ErrClosed]; tickets, locks and events that nobody was told of are
// forgotten. It returns when no Notify runs any more, or when ctx ends. Closing a
// provider again does nothing else.
func (p *Provider) Close(ctx context.Context) error {
	told := p.shut()
	if told == nil {
		return nil
	}
	select {
	case <-told:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// shut ends everything but a Notify that runs; it returns what is closed when that
// one has ended, or nil.
func (p *Provider) shut() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state == running {
		p.clock.stop()
		for _, l := range p.table.locks {
			for _, pl := range l.line {
				if w := pl.w; w.state == waiting {
					w.state = ended
					w.settle(driver.Grant{}, driver.ErrClosed)
				}
			}
		}
		p.table, p.queue, p.changes, p.tickets, p.audit = table{}, queue{}, changes{}, nil, audit{}
		p.news.forget()
	}
	p.state = closed
	return p.news.told
}

// enter takes the mutex for one call, and first lets go what has lapsed: no call
// ever sees a lock past its end, whether the timer has fired or not.
//
// With an error the mutex is not held.
func (p *Provider) enter() (now time.Time, err error) {
	p.mu.Lock()
	if p.state != running {
		p.mu.Unlock()
		return time.Time{}, driver.ErrClosed
	}
	now = time.Now()
	p.lapse(now)
	return now, nil
}

// leave ends what enter began: it serves those that the call made room for.
func (p *Provider) leave(now time.Time) {
	p.serve(now)
	p.clock.arm(now, p.table.firstEnd(), p)
	p.news.tell(&p.mu)
	p.mu.Unlock()
}

// tick is the timer's callback. It does what every call does on its way in and
// out, so one that comes late or once too often is harmless.
func (p *Provider) tick() {
	p.mu.Lock()
	p.clock.fired()
	p.mu.Unlock()
	p.catchUp()
}

// catchUp is a call that asks for nothing.
func (p *Provider) catchUp() {
	if now, err := p.enter(); err == nil {
		p.leave(now)
	}
}
