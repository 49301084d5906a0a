package main

import (
	"bytes"
	"context"
	"testing"

	"go.uber.org/goleak"

	"github.com/lockstep-dev/lockstep/internal/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestItSellsOneInMemoryAndOnRedis(t *testing.T) {
	for _, url := range []string{"", redistest.Start(t).URL()} {
		t.Setenv("LOCKING_REDIS_URL", url)
		var out bytes.Buffer
		if err := run(context.Background(), &out); err != nil || out.String() != "sold one prod_123, 2 left\n" {
			t.Errorf("with %q: %q, %v", url, out.String(), err)
		}
	}
}
