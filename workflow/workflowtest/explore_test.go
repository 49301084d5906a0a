package workflowtest_test

import (
	"context"
	"errors"
	"testing"

	"go.uber.org/goleak"

	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/workflow"
	"github.com/lockstep-dev/lockstep/workflow/workflowtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errBoom = errors.New("boom")

// noted is a reversible step that notes what it does.
func noted(l *workflowtest.Ledger, name string, do func(ctx *steps.Context) error) *steps.Step[string, string] {
	return steps.NewReversible(name,
		func(ctx *steps.Context, in string) (_ string, undo string, err error) {
			leave := l.Enter(ctx)
			defer func() { leave(err) }()
			return in + name, in, do(ctx)
		},
		func(ctx *steps.Context, _ string) error {
			l.Enter(ctx)(nil)
			return nil
		})
}

func succeeds(*steps.Context) error { return nil }

// order reserves two things under a guard, and then does what the last step does.
func order(last func(ctx *steps.Context) error) func(t testing.TB, dir string) workflowtest.Program {
	return func(t testing.TB, dir string) workflowtest.Program {
		t.Helper()
		l := workflowtest.OpenLedger(t, dir)
		w := workflow.New("order", func(b *workflow.Builder, in workflow.Value[string]) workflow.Value[string] {
			v := workflow.Do(b, noted(l, "open", succeeds), in)
			v = workflow.Guard(b, workflow.Const(b, []string{"prod_1", "prod_2"}), func(b *workflow.Builder) workflow.Value[string] {
				return workflow.Do(b, noted(l, "reserve-2", succeeds), workflow.Do(b, noted(l, "reserve-1", succeeds), v))
			})
			return workflow.Do(b, noted(l, "pay", last), v)
		})
		return workflowtest.Program{Workflows: workflow.Set{w}, Run: func(ctx context.Context, e *workflow.Engine) error {
			_, err := workflow.Run(ctx, e, w, "-", workflow.WithExecutionID("x"))
			return err
		}}
	}
}

var inOrder = []string{"open", "reserve-1", "reserve-2", "pay"}

func wantDone(t testing.TB, dir string, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
	workflowtest.ReadLedger(t, dir).Done(t, "x", inOrder...)
}

func wantUndone(t testing.TB, dir string, err error) {
	t.Helper()
	if !errors.Is(err, errBoom) {
		t.Error(err)
	}
	workflowtest.ReadLedger(t, dir).Undone(t, "x", inOrder...)
}

func TestWorkflowThatSucceedsIsDoneWhereverItsProcessDies(t *testing.T) {
	workflowtest.Explore(t, workflowtest.Subject{Program: order(succeeds), Check: wantDone})
}

func TestWorkflowThatFailsIsUndoneWhereverItsProcessDies(t *testing.T) {
	workflowtest.Explore(t, workflowtest.Subject{
		Program: order(func(*steps.Context) error { return steps.Permanent(errBoom) }), Check: wantUndone,
	})
}

func onQueue(last func(ctx *steps.Context) error) func(t testing.TB, dir string) workflowtest.Program {
	return func(t testing.TB, dir string) workflowtest.Program {
		t.Helper()
		l := workflowtest.OpenLedger(t, dir)
		w := workflow.New("order", func(b *workflow.Builder, in workflow.Value[string]) workflow.Value[string] {
			v := workflow.Do(b, noted(l, "open", succeeds), in)
			for _, name := range []string{"reserve-1", "reserve-2"} {
				v = workflow.Do(b, steps.With(noted(l, name, succeeds), steps.Background()), v)
			}
			return workflow.Do(b, noted(l, "pay", last), v)
		})
		return workflowtest.Program{Workflows: workflow.Set{w}, Run: func(ctx context.Context, e *workflow.Engine) error {
			_, err := workflow.Run(ctx, e, w, "-", workflow.WithExecutionID("x"))
			return err
		}}
	}
}

func TestStepsOnQueuesAreDoneWhereverProcessesDie(t *testing.T) {
	workflowtest.Explore(t, workflowtest.Subject{Program: onQueue(succeeds), Check: wantDone, Twice: true})
}

func TestStepsOnQueuesAreUndoneWhereverTheirProcessDies(t *testing.T) {
	workflowtest.Explore(t, workflowtest.Subject{
		Program: onQueue(func(*steps.Context) error { return steps.Permanent(errBoom) }), Check: wantUndone,
	})
}

// A process that takes the locks of a guard over and dies before that is recorded leaves
// nobody a way to know whether they were held all the time.
func TestWorkflowIsDoneOrUndoneInWholeWhereverTwoProcessesDie(t *testing.T) {
	workflowtest.Explore(t, workflowtest.Subject{
		Program: order(succeeds), Twice: true,
		Check: func(t testing.TB, dir string, err error) {
			h := workflowtest.ReadLedger(t, dir)
			switch {
			case err == nil:
				h.Done(t, "x", inOrder...)
			case errors.Is(err, workflow.ErrGuardLost):
				h.Undone(t, "x", inOrder...)
			default:
				t.Error(err)
			}
		},
	})
}
