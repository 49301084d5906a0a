package lockstepfx

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/fx"

	"github.com/lockstep-dev/lockstep/container"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

// connectTime bounds the construction of the lock service. Each provider has a
// shorter bound of its own.
const connectTime = 30 * time.Second

// Locking provides *locking.Service over all providers that [LockProvider] and
// [Redis] add, and registers it in the container under [locking.ServiceKey]. With
// none it has the in-memory provider. The service is closed when the application
// stops.
func Locking() fx.Option {
	return fx.Module("lockstep.locking",
		fx.Provide(newLocking),
		fx.Invoke(func(c *container.Container, s *locking.Service) error {
			return container.Register(c, locking.ServiceKey, s)
		}),
	)
}

// lockingParams is what the lock service takes from the graph.
type lockingParams struct {
	fx.In

	Life      fx.Lifecycle
	Log       logging
	Providers []locking.Registration `group:"lockstep.locking.providers"`
}

func newLocking(p lockingParams) (*locking.Service, error) {
	ctx, cancel := context.WithTimeout(context.Background(), connectTime)
	defer cancel()
	s, err := locking.New(ctx, locking.Config{Providers: p.Providers, Logger: p.Log.Logger})
	if err != nil {
		return nil, fmt.Errorf("lockstepfx: %w", err)
	}
	p.Life.Append(fx.StopHook(s.Close))
	return s, nil
}

// LockProvider adds a provider to the lock service.
func LockProvider(reg locking.Registration) fx.Option {
	return fx.Provide(fx.Annotate(func() locking.Registration { return reg }, fx.ResultTags(providersGroup)))
}

// RedisConfig configures [Redis].
type RedisConfig struct {
	// ID is the provider's; empty is "locking-redis", addressed as
	// "lp_locking-redis".
	ID string
	// IsDefault makes it the default among several.
	IsDefault bool
	// Config is the provider's own. The zero value takes LOCKING_REDIS_URL.
	lockredis.Config
}

// Redis adds the Redis provider to the lock service.
func Redis(cfg RedisConfig) fx.Option {
	id := cfg.ID
	if id == "" {
		id = "locking-redis"
	}
	return LockProvider(locking.Registration{ID: id, IsDefault: cfg.IsDefault, Provider: lockredis.New(cfg.Config)})
}
