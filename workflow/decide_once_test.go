package workflow_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/lockstep-dev/lockstep/store/storemem"
	"github.com/lockstep-dev/lockstep/workflow"
)

func TestARecordedDecisionIsNotEvaluatedAgainBySecondStart(t *testing.T) {
	t.Parallel()
	var evaluated atomic.Int32
	flow := workflow.New("decide", func(b *workflow.Builder, in workflow.Value[int]) workflow.Value[int] {
		return workflow.Map(b, in, func(n int) int { evaluated.Add(1); return n + 1 })
	})
	e, err := workflow.NewEngine(workflow.Config{Store: storemem.New(), Workflows: workflow.Set{flow}})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	if err := e.Start(ctx); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if n, err := workflow.Run(ctx, e, flow, 1, workflow.WithExecutionID("same")); n != 2 || err != nil {
			t.Fatalf("got %d, %v", n, err)
		}
	}
	if err := e.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if n := evaluated.Load(); n != 1 {
		t.Fatalf("evaluated %d times", n)
	}
}
