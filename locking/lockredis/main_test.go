package lockredis_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockingtest"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTheServiceKeepsItsPromisesOnRedis(t *testing.T) {
	server := redistest.Start(t)
	lockingtest.RunService(t, func(testing.TB) driver.Provider {
		return lockredis.New(lockredis.Config{RedisURL: server.URL()})
	})
}

func TestTheProviderKeepsItsContractOnRedis(t *testing.T) {
	server := redistest.Start(t)
	lockingtest.RunProvider(t, lockingtest.Subject{
		New: func(t testing.TB) driver.Provider {
			return lockredis.New(lockredis.Config{RedisURL: server.URL(), Namespace: t.Name() + ":"})
		},
		Shared: true,
	})
}
