// Package lockredis keeps locks on a Redis server, 7.0 or later, where all
// processes share them.
//
// A lock is the string <namespace><key> with its owner as the value, as Medusa
// keeps it: with the default namespace, Medusa's processes and these exclude each
// other. Locks are as safe as the server: one that forgets acknowledged writes, in
// a failover say, forgets locks. A resource that checks the fencing tokens is safe
// then too.
//
// Who has to wait stands in a queue on the server, in the order of arrival. A
// release hands the lock to the next in line in the same call, and tells its
// process through the one connection that each process listens on.
package lockredis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/lockstep-dev/lockstep/locking/driver"
)

// Provider is a [driver.Provider], a [driver.Queuer] and a [driver.Inspector] on
// Redis.
type Provider struct {
	cfg    Config
	log    *slog.Logger
	keys   *layout
	client redis.UniversalClient
	own    bool // the client is ours to close
	pipe   *pipe
	life   lifecycle

	// self is the name of this process among those that use the server.
	self     string
	born     time.Time
	requests atomic.Uint64
	// lastShape is that of the last request: see shape.
	lastShape atomic.Pointer[string]

	waits   *waits
	clock   clock // guarded by waits.mu
	push    *push
	track   tracking
	masters *masters

	crossing crossing

	notifying sync.Mutex
	tell      func(driver.Event)
}

var (
	_ driver.Provider = (*Provider)(nil)
	_ driver.Queuer   = (*Provider)(nil)
)

// New returns a provider. It connects when it is started.
func New(cfg Config) *Provider { return &Provider{cfg: cfg} }

// pipeBatch is how many shares a batch of [pipe] has at most.
const pipeBatch = 200

// Start implements [driver.Provider]. It returns within the dial timeout, 5 s
// unless the options say otherwise; its errors name what is wrong, and never the
// password.
func (p *Provider) Start(ctx context.Context, env driver.Env) error {
	if err := p.cfg.normalize(); err != nil {
		return err
	}
	client, own, err := p.cfg.connect(ctx)
	if err != nil {
		return fmt.Errorf("lockredis: %w", err)
	}
	p.client, p.own, p.log, p.tell = client, own, env.Logger, env.Notify
	slotted, err := inCluster(ctx, client)
	if err == nil && slotted {
		err = alone(ctx, client)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("lockredis: %w", err), p.closeClient())
	}
	p.keys = newLayout(p.cfg.Namespace, slotted)
	if _, ok := client.(*redis.Client); ok && !slotted {
		p.pipe = newPipe(p.sendBatch, pipeBatch)
	}
	p.self, p.born = uuid.NewString(), time.Now().Add(-time.Hour)
	if slotted {
		p.self = "~" + p.self // see absent in queue.lua
	}
	p.waits = newWaits(p.self, p.schedule, func(lock string) { p.armLocks([]string{lock}, false) })
	p.clock = clock{sent: map[uint64]mark{}, sweeping: map[*hub]struct{}{}, busy: map[string]bool{}}
	p.crossing = newCrossing(p.keys)
	p.masters = newMasters(client)
	p.track = tracking{armed: map[string]bool{}, asked: map[string]bool{}}
	if err := p.checkRights(ctx); err != nil {
		return errors.Join(err, p.closeClient())
	}
	if err := p.listen(ctx); err != nil {
		return errors.Join(fmt.Errorf("lockredis: subscribe to %s: %w", p.keys.channel(p.self), deniedChannels(err, p.keys.side)), p.closeClient())
	}
	env.Logger.Info(fmt.Sprintf("Connection to Redis in %q provider established", env.ID))
	return nil
}

// listen opens the connection on which grants come.
func (p *Provider) listen(ctx context.Context) error {
	push, err := openPush(ctx, p.client, p.keys.channel(p.self))
	if err != nil {
		return err
	}
	push.handle, push.joined, push.flushed = p.hear, p.sightLost, p.sightLost
	p.push = push
	p.life.start()
	go push.run() //nolint:gosec // it ends with the provider, not with the start's context
	return nil
}

// sightLost sees to what may have happened unseen: the push connection was broken, or
// everything was deleted.
func (p *Provider) sightLost() {
	p.waits.allOvertaken()
	p.resync()
	p.notify(driver.Event{Verify: true})
}

// notify tells of an event, one after the other.
func (p *Provider) notify(e driver.Event) {
	if p.tell == nil {
		return
	}
	p.notifying.Lock()
	defer p.notifying.Unlock()
	p.tell(e)
}

// Describe implements [driver.Provider].
func (p *Provider) Describe() driver.Info {
	return driver.Info{DefaultWait: p.cfg.WaitLockingTimeout}
}

// Close implements [driver.Provider]. Calls that wait get [driver.ErrClosed].
// Tickets stay in their queues, passed over until another process takes them up.
func (p *Provider) Close(ctx context.Context) error {
	if !p.life.end(ctx) {
		return nil
	}
	p.waits.mu.Lock()
	if p.clock.timer != nil {
		p.clock.timer.Stop()
	}
	p.waits.mu.Unlock()
	p.masters.stop()
	p.leaveLast(ctx)
	p.unpublish(ctx)
	return errors.Join(p.push.close(), p.track.close(), p.closeClient())
}

func (p *Provider) closeClient() error {
	if !p.own {
		return nil
	}
	if err := p.client.Close(); err != nil {
		return fmt.Errorf("lockredis: close the client: %w", err)
	}
	return nil
}

// pause waits before a command is sent again: longer each time, and no longer than
// the deadline where there is one.
func (p *Provider) pause(ctx context.Context, times int, deadline time.Time) error {
	d := p.cfg.DefaultRetryInterval << min(times-1, 16)
	if d > p.cfg.MaximumRetryInterval || d <= 0 {
		d = p.cfg.MaximumRetryInterval
	}
	if !deadline.IsZero() {
		d = min(d, time.Until(deadline))
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-p.life.closing:
		return driver.ErrClosed
	}
}
