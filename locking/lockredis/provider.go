// Package lockredis keeps locks on a Redis server, 7.0 or later, where all
// processes share them.
//
// A lock is the string <namespace><key> with its owner as the value, as Medusa
// keeps it: with the default namespace, Medusa's processes and these exclude each
// other. Locks are as safe as the server: one that forgets acknowledged writes, in
// a failover say, forgets locks. A resource that checks the fencing tokens is safe
// then too.
package lockredis

import (
	"context"
	_ "embed"
	"fmt"
	"sync/atomic"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/lockstep-dev/lockstep/internal/rediskit"
	"github.com/lockstep-dev/lockstep/locking/driver"
)

var (
	//go:embed acquire.lua
	acquireSource string
	//go:embed release.lua
	releaseSource string
	//go:embed extend.lua
	extendSource string
	//go:embed cancel.lua
	cancelSource string

	acquireScript = rediskit.NewScript(acquireSource)
	releaseScript = rediskit.NewScript(releaseSource)
	extendScript  = rediskit.NewScript(extendSource)
	cancelScript  = rediskit.NewScript(cancelSource)
)

// Provider is a [driver.Provider] on Redis.
type Provider struct {
	cfg     Config
	keys    layout
	client  redis.UniversalClient
	own     bool // the client is ours to close
	cluster bool
	life    lifecycle

	// What tells this provider's requests from each other, and from all others.
	requestPrefix string
	requests      atomic.Uint64
}

var _ driver.Provider = (*Provider)(nil)

// New returns a provider. It connects when it is started.
func New(cfg Config) *Provider { return &Provider{cfg: cfg} }

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
	p.client, p.own = client, own
	_, p.cluster = client.(*redis.ClusterClient)
	p.keys = newLayout(p.cfg.Namespace)
	p.requestPrefix = uuid.NewString() + ":"
	p.life.start()
	env.Logger.Info(fmt.Sprintf("Connection to Redis in %q provider established", env.ID))
	return nil
}

// Describe implements [driver.Provider].
func (p *Provider) Describe() driver.Info {
	return driver.Info{DefaultWait: p.cfg.WaitLockingTimeout}
}

// Close implements [driver.Provider]. Calls that wait get [driver.ErrClosed].
func (p *Provider) Close(ctx context.Context) error {
	if !p.life.end(ctx) || !p.own {
		return nil
	}
	if err := p.client.Close(); err != nil {
		return fmt.Errorf("lockredis: close the client: %w", err)
	}
	return nil
}
