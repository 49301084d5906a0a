package main

import (
	"context"
	"testing"

	"go.uber.org/goleak"

	"github.com/lockstep-dev/lockstep/internal/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTheLockOfStep1IsThereForStep2AndFreeAfterTheWorkflow(t *testing.T) {
	if err := run(context.Background(), redistest.Start(t).URL()); err != nil {
		t.Fatal(err)
	}
}

func TestWithoutAServerTheErrorSaysWhatToDo(t *testing.T) {
	t.Setenv("LOCKING_REDIS_URL", "")
	if err := run(context.Background(), ""); err == nil {
		t.Fatal("it ran without a server")
	}
}
