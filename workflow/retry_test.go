package workflow_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/workflow"
)

// starts runs a step that always fails and tells when its attempts started.
func starts(t *testing.T, fail func(attempt int) error, opts ...steps.Option) (at []time.Duration, err error) {
	t.Helper()
	zero := time.Now()
	s := steps.New("s", func(ctx *steps.Context, _ string) (string, error) {
		at = append(at, time.Since(zero))
		return "", fail(ctx.Attempt())
	}, opts...)
	_, _, err = runs(t, inTurn(s))
	return at, err
}

func always(err error) func(int) error { return func(int) error { return err } }

func wantStarts(t *testing.T, got []time.Duration, want ...time.Duration) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("attempts started at %v, want %v", got, want)
	}
}

func TestWithoutAPolicyThereIsOneAttempt(t *testing.T) {
	at, err := starts(t, always(errBoom))
	if len(at) != 1 || !errors.Is(err, errBoom) {
		t.Error(at, err)
	}
}

func TestRetryBacksOffExponentiallyUpToItsMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at, err := starts(t, always(errBoom), steps.Retry(steps.RetryPolicy{
			MaxAttempts: 6, Backoff: time.Second, Multiplier: 2, MaxBackoff: 5 * time.Second,
		}))
		wantStarts(t, at, 0, 1*time.Second, 3*time.Second, 7*time.Second, 12*time.Second, 17*time.Second)
		if x := failure(t, err); x.Errs[0].(*workflow.StepError).Attempt != 6 {
			t.Error(err)
		}
	})
}

func TestRetryJitterOnlyShortensThePause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at, _ := starts(t, always(errBoom), steps.Retry(steps.RetryPolicy{MaxAttempts: 20, Backoff: time.Second, Jitter: 0.5}))
		varied := false
		for i := 1; i < len(at); i++ {
			pause := at[i] - at[i-1]
			if pause < 500*time.Millisecond || pause > time.Second {
				t.Errorf("pause %d is %s", i, pause)
			}
			varied = varied || pause != at[1]-at[0]
		}
		if len(at) != 20 || !varied {
			t.Error("no jitter in", at)
		}
	})
}

func TestRetryAfterReplacesThePauseOfThePolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at, _ := starts(t, func(attempt int) error {
			if attempt == 1 {
				return fmt.Errorf("wrapped: %w", steps.RetryAfter(errBoom, 7*time.Second))
			}
			return errBoom
		}, steps.Retry(steps.RetryPolicy{MaxAttempts: 3, Backoff: time.Second}))
		wantStarts(t, at, 0, 7*time.Second, 8*time.Second)
	})
}

func TestRetryAfterGivesNoAttemptBeyondThePolicy(t *testing.T) {
	at, err := starts(t, always(steps.RetryAfter(errBoom, time.Millisecond)))
	if len(at) != 1 || !errors.Is(err, errBoom) {
		t.Error(at, err)
	}
}

func TestPermanentStopsRetries(t *testing.T) {
	at, err := starts(t, always(fmt.Errorf("wrapped: %w", steps.Permanent(errBoom))), steps.Retry(steps.RetryPolicy{MaxAttempts: 5}))
	if len(at) != 1 || !errors.Is(err, errBoom) {
		t.Error(at, err)
	}
}

func TestRetryFilterSaysWhichErrorsAreTriedAgain(t *testing.T) {
	other := errors.New("other")
	at, err := starts(t, func(attempt int) error {
		if attempt == 3 {
			return other
		}
		return errBoom
	}, steps.Retry(steps.RetryPolicy{MaxAttempts: 9, If: func(err error) bool { return errors.Is(err, errBoom) }}))
	if len(at) != 3 || !errors.Is(err, other) || errors.Is(err, errBoom) {
		t.Error(at, err)
	}
}

func TestRetryFilterThatPanicsStopsRetries(t *testing.T) {
	at, err := starts(t, always(errBoom), steps.Retry(steps.RetryPolicy{MaxAttempts: 9, If: func(error) bool { panic("filter") }}))
	if len(at) != 1 || !errors.Is(err, errBoom) {
		t.Error(at, err)
	}
}

func TestMaxElapsedBoundsTheStartOfTheLastAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at, _ := starts(t, always(errBoom), steps.Retry(steps.RetryPolicy{
			MaxAttempts: -1, Backoff: 2 * time.Second, MaxElapsed: 5 * time.Second,
		}))
		wantStarts(t, at, 0, 2*time.Second, 4*time.Second)
	})
}

func TestNegativeMaxAttemptsIsWithoutALimit(t *testing.T) {
	at, err := starts(t, func(attempt int) error {
		if attempt < 500 {
			return errBoom
		}
		return nil
	}, steps.Retry(steps.RetryPolicy{MaxAttempts: -1}))
	if len(at) != 500 || err != nil {
		t.Error(len(at), err)
	}
}

func TestI6FailedCompensationIsRetriedByItsOwnPolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Duration
		zero := time.Now()
		tries := 0
		s := steps.New("s", func(*steps.Context, string) (string, error) {
			tries++
			return "", errBoom
		}, steps.RetryCompensation(steps.RetryPolicy{MaxAttempts: 3, Backoff: 3 * time.Second}),
			steps.Undo(func(*steps.Context, string) error {
				at = append(at, time.Since(zero))
				if len(at) < 3 {
					return errors.New("not yet")
				}
				return nil
			}))
		_, _, err := runs(t, inTurn(s))
		wantStarts(t, at, 0, 3*time.Second, 6*time.Second)
		if x := failure(t, err); tries != 1 || x.State != store.Reverted || len(x.Errs) != 1 {
			t.Error(tries, err)
		}
	})
}

func TestRetryHoldsForTheCompensationToo(t *testing.T) {
	undos := 0
	s := steps.New("s", func(*steps.Context, string) (string, error) { return "", steps.Permanent(errBoom) },
		steps.Retry(steps.RetryPolicy{MaxAttempts: 4}),
		steps.Undo(func(*steps.Context, string) error { undos++; return errBoom }))
	_, _, err := runs(t, inTurn(s))
	if undos != 4 || failure(t, err).State != store.Failed {
		t.Error(undos, err)
	}
}

func TestI6WhenACompensationIsSpentTheRestStillCompensatesAndAllErrorsAreKept(t *testing.T) {
	var j journal
	errUndo := errors.New("undo failed")
	stuck := doing(&j, "b", steps.Undo(func(*steps.Context, string) error {
		j.addf("undo b fails")
		return errUndo
	}), steps.RetryCompensation(steps.RetryPolicy{MaxAttempts: 2}))
	_, _, err := runs(t, inTurn(doing(&j, "a"), stuck, doing(&j, "c"), failing(&j, "f", errBoom)))
	j.want(t, "do a(-)", "do b(-a)", "do c(-ab)", "do f(-abc)",
		"undo f() failed", "undo c(-abc) succeeded", "undo b fails", "undo b fails", "undo a(-a) succeeded")
	x := failure(t, err)
	if x.State != store.Failed || len(x.Errs) != 2 || !errors.Is(err, errBoom) || !errors.Is(err, errUndo) {
		t.Fatal(x.State, err)
	}
	first, second := x.Errs[0].(*workflow.StepError), x.Errs[1].(*workflow.StepError)
	if first.Step != "f" || first.Phase != "invoke" || first.Attempt != 1 {
		t.Errorf("first error %+v", first)
	}
	if second.Step != "b" || second.Phase != "compensate" || second.Attempt != 2 {
		t.Errorf("second error %+v", second)
	}
}

func TestTimeoutEndsTheContextAndIsTheStepsError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var took time.Duration
		zero := time.Now()
		_, _, err := runs(t, inTurn(body(&journal{}, "s", func(ctx *steps.Context) error {
			<-ctx.Done()
			took = time.Since(zero)
			return ctx.Err()
		}, steps.Timeout(3*time.Second))))
		timeout, ok := errors.AsType[*steps.TimeoutError](err)
		if !ok || timeout.After != 3*time.Second || !errors.Is(err, context.DeadlineExceeded) || took != 3*time.Second {
			t.Error(took, err)
		}
	})
}

func TestTimeoutKeepsTheErrorOfTheBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, err := runs(t, inTurn(body(&journal{}, "s", func(ctx *steps.Context) error {
			<-ctx.Done()
			return errBoom
		}, steps.Timeout(time.Second))))
		if !errors.Is(err, errBoom) || !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

func TestTimeoutIsOfEachAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		zero := time.Now()
		attempts := 0
		_, out, err := runs(t, inTurn(body(&journal{}, "s", func(ctx *steps.Context) error {
			attempts++
			if ctx.Attempt() == 3 {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		}, steps.Timeout(time.Second), steps.Retry(steps.RetryPolicy{MaxAttempts: 3, Backoff: time.Second}))))
		if attempts != 3 || out != "-s" || err != nil || time.Since(zero) != 4*time.Second {
			t.Error(attempts, out, err, time.Since(zero))
		}
	})
}

func TestTimedOutStepIsRecordedAsSuchAndCompensated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		r, _, _ := runs(t, inTurn(body(&j, "s", func(ctx *steps.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}, steps.Timeout(time.Second))), workflow.WithExecutionID("x"))
		x, err := r.store.Load(t.Context(), store.Key{Workflow: "w", ID: "x"})
		if err != nil || node(t, x, 0).Invoke.State != store.StepTimeout {
			t.Errorf("%+v, %v", x, err)
		}
		j.want(t, "do s(-)", "undo s() failed")
	})
}

func TestCompensationTimeoutBoundsTheCompensation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		zero := time.Now()
		s := failing(&journal{}, "s", errBoom, steps.CompensationTimeout(2*time.Second), steps.Undo(func(ctx *steps.Context, _ string) error {
			<-ctx.Done()
			return ctx.Err()
		}))
		_, _, err := runs(t, inTurn(s))
		if x := failure(t, err); x.State != store.Failed || time.Since(zero) != 2*time.Second || !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err, time.Since(zero))
		}
	})
}

func TestResultThatComesWithinTheGraceCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, out, err := runs(t, inTurn(body(&journal{}, "s", func(ctx *steps.Context) error {
			<-ctx.Done()
			time.Sleep(time.Second) // virtual: some of the grace of 5 s
			return nil
		}, steps.Timeout(time.Second))))
		if out != "-s" || err != nil {
			t.Error(out, err)
		}
	})
}
