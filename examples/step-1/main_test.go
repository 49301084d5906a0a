package main

import (
	"context"
	"strings"
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
	if err := run(context.Background(), ""); err == nil || !strings.Contains(err.Error(), "LOCKING_REDIS_URL") {
		t.Fatalf("%v, want an error that names the variable", err)
	}
}
