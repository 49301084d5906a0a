package locking_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockingtest"
	"github.com/lockstep-dev/lockstep/locking/lockmem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTheServiceKeepsItsPromisesInMemory(t *testing.T) {
	lockingtest.RunService(t, func(testing.TB) driver.Provider { return lockmem.New(lockmem.Config{}) })
}
