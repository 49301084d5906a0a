package workflow_test

import (
	"testing"

	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store/storemem"
	"github.com/lockstep-dev/lockstep/workflow"
)

func BenchmarkThreeSteps(b *testing.B) {
	step := func(name string) text {
		return steps.New(name, func(*steps.Context, string) (string, error) { return name, nil })
	}
	w := inTurn(step("a"), step("b"), step("c"))
	e, err := workflow.NewEngine(workflow.Config{Store: storemem.New(), Workflows: workflow.Set{w}, Logger: quiet})
	if err != nil {
		b.Fatal(err)
	}
	if err := e.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := workflow.Run(b.Context(), e, w, "in"); err != nil {
				b.Error(err)
			}
		}
	})
}
