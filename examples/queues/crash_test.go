package main

import (
	"context"
	"sync"
	"testing"

	"github.com/lockstep-dev/lockstep/container"
	"github.com/lockstep-dev/lockstep/workflow"
	"github.com/lockstep-dev/lockstep/workflow/workflowtest"
)

// printers outlive the processes of a history, which are played.
var printers sync.Map

func printerOf(dir string) *printer {
	p, _ := printers.LoadOrStore(dir, &printer{})
	return p.(*printer) //nolint:forcetypeassert // there are no others
}

func TestALabelIsPrintedWhereverProcessesDie(t *testing.T) {
	workflowtest.Explore(t, workflowtest.Subject{
		Twice: true,
		Program: func(t testing.TB, dir string) workflowtest.Program {
			t.Helper()
			return workflowtest.Program{
				Workflows: workflow.Set{ship}, Queues: []workflow.Queue{{Name: "printer", Workers: 2, Limit: 2}},
				Register: func(c *container.Container) {
					container.MustRegister(c, printerKey, printerOf(dir))
				},
				Run: func(ctx context.Context, e *workflow.Engine) error {
					label, err := workflow.Run(ctx, e, ship, "order-1", workflow.WithExecutionID("order-1"))
					if err == nil && label != "label of order-1" {
						t.Errorf("%q", label)
					}
					return err
				},
			}
		},
		Check: func(t testing.TB, dir string, err error) {
			t.Helper()
			if p := printerOf(dir); err != nil || p.printed() != 1 {
				t.Errorf("%d labels are printed; %v", p.printed(), err)
			}
		},
	})
}
