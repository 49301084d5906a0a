// Package lockstepfx wires Lockstep into an fx application. It is the one package
// that imports fx.
//
//	fx.New(
//		lockstepfx.Container(),
//		lockstepfx.Locking(),
//		lockstepfx.Redis(lockstepfx.RedisConfig{}), // LOCKING_REDIS_URL
//		lockstepfx.Engine(workflow.Config{}),
//		lockstepfx.Workflows(PlaceOrder),
//		lockstepfx.Provide(stockKey), // from the fx graph into the container
//	)
//
// The lock service connects when it is constructed, so that a server which cannot
// be reached is fx.New's error. The engine starts and stops with the application:
// it is drained before the lock service is closed.
package lockstepfx

import (
	"log/slog"

	"go.uber.org/fx"

	"github.com/lockstep-dev/lockstep/container"
)

// The groups of values by which modules find each other in the fx graph.
const (
	providersGroup = `group:"lockstep.locking.providers"`
	workflowsGroup = `group:"lockstep.workflows"`
)

// Container provides an empty *container.Container.
func Container() fx.Option {
	return fx.Module("lockstep.container", fx.Provide(container.New))
}

// Provide moves a value of the fx graph into the container, under the key. It is
// there before the engine starts. Registering a key twice is fx.New's error.
func Provide[T any](key container.Key[T]) fx.Option {
	return fx.Invoke(func(c *container.Container, value T) error {
		return container.Register(c, key, value)
	})
}

// logging is the logger of the graph, where it has one.
type logging struct {
	fx.In

	Logger *slog.Logger `optional:"true"`
}
