// Package lockmem keeps locks in the memory of one process. It needs no server,
// and it excludes callers of this process only.
//
// One mutex guards everything. Nothing is kept for a key that nobody holds or
// waits for, and a provider has no goroutine of its own: locks that lapse share
// one timer, and a caller that waits does so on its own stack.
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
//  1. A key has an entry only while it is held, or until the next call or the
//     timer finds it lapsed, whichever is first.
//  2. No waiter's keys are all available: whatever makes a key available grants
//     at once, in the order of the tickets.
//  3. A waiter stands in the lines of its keys until it is settled or withdraws.
type Provider struct {
	defaultWait time.Duration

	mu    sync.Mutex
	state state
	table table
	queue queue
	clock clock
}

var _ driver.Provider = (*Provider)(nil)

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

// Start implements [driver.Provider]. It takes nothing from env: there is
// nothing that this provider would have to report.
func (p *Provider) Start(ctx context.Context, _ driver.Env) error {
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
// [driver.ErrClosed]. Closing a provider again does nothing.
func (p *Provider) Close(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state == running {
		p.clock.stop()
		for w := range p.queue.all() {
			w.settle(driver.Grant{}, driver.ErrClosed)
		}
		p.table, p.queue = table{}, queue{}
	}
	p.state = closed
	return nil
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

// leave ends what enter began: it serves the waiters that the call made room
// for.
func (p *Provider) leave(now time.Time) {
	p.serve(now)
	p.clock.arm(now, p.table.firstEnd(), p.tick)
	p.mu.Unlock()
}
