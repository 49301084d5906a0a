package lockmem_test

import (
	"testing"

	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockingtest"
	"github.com/lockstep-dev/lockstep/locking/lockmem"
)

func TestProvider(t *testing.T) {
	t.Parallel()
	lockingtest.RunProvider(t, lockingtest.Subject{
		New: func(testing.TB) driver.Provider { return lockmem.New(lockmem.Config{}) },
	})
}
