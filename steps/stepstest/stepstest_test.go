package stepstest_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/lockstep-dev/lockstep/container"
	"github.com/lockstep-dev/lockstep/locking"
	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/steps/stepstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errBoom = errors.New("boom")

// seen is what a body's context told.
type seen struct {
	phase   string
	undo    int
	outcome steps.Outcome
	attempt int
	key     string
	id      string
}

// telling is a step whose bodies tell what they saw.
func telling(log *[]seen, err error, opts ...steps.Option) *steps.Step[string, string] {
	note := func(ctx *steps.Context, phase string, undo int) {
		*log = append(*log, seen{phase, undo, ctx.Outcome(), ctx.Attempt(), ctx.IdempotencyKey(), ctx.ExecutionID()})
	}
	return steps.NewReversible("s", func(ctx *steps.Context, in string) (string, int, error) {
		note(ctx, "invoke", 0)
		return in + "!", 42, err
	}, func(ctx *steps.Context, undo int) error {
		note(ctx, "compensate", undo)
		return nil
	}, opts...)
}

func withLocks(t *testing.T) (*container.Container, *locking.Service) {
	t.Helper()
	locks, err := locking.New(t.Context(), locking.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = locks.Close(context.Background()) })
	c := container.New()
	container.MustRegister(c, locking.ServiceKey, locks)
	return c, locks
}

func TestRunGivesTheOutput(t *testing.T) {
	var log []seen
	res, err := stepstest.Run(t.Context(), nil, telling(&log, nil), "in")
	if err != nil || res.Output != "in!" || res.Skipped {
		t.Errorf("%+v, %v", res, err)
	}
}

func TestCompensateGetsTheUndoDataOfASuccess(t *testing.T) {
	var log []seen
	res, _ := stepstest.Run(t.Context(), nil, telling(&log, nil), "in")
	if err := res.Compensate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := log[1]; got.undo != 42 || got.outcome != steps.Succeeded || got.attempt != 1 {
		t.Errorf("%+v", got)
	}
}

func TestCompensateAfterAFailureGetsTheZeroValue(t *testing.T) {
	var log []seen
	res, err := stepstest.Run(t.Context(), nil, telling(&log, errBoom), "in")
	if !errors.Is(err, errBoom) || res.Output != "" {
		t.Errorf("%+v, %v", res, err)
	}
	if err := res.Compensate(t.Context()); err != nil || log[1].undo != 0 || log[1].outcome != steps.Failed {
		t.Errorf("%+v, %v", log, err)
	}
}

func TestCompensateAfterAFailureGetsWhatKeepUndoKept(t *testing.T) {
	var log []seen
	res, err := stepstest.Run(t.Context(), nil, telling(&log, steps.KeepUndo(errBoom)), "in")
	if e := res.Compensate(t.Context()); !errors.Is(err, errBoom) || e != nil || log[1].undo != 42 || log[1].outcome != steps.Failed {
		t.Errorf("%+v, %v", log, e)
	}
}

func TestCompensateFailedIsAsAfterAFailureAlthoughThereWasNone(t *testing.T) {
	var log []seen
	res, _ := stepstest.Run(t.Context(), nil, telling(&log, nil), "in")
	if err := res.CompensateFailed(t.Context()); err != nil || log[1].undo != 0 || log[1].outcome != steps.Failed {
		t.Errorf("%+v, %v", log, err)
	}
}

func TestCompensateUnknownIsNotLeftOutByCompensateOnlyDone(t *testing.T) {
	var log []seen
	res, _ := stepstest.Run(t.Context(), nil, telling(&log, errBoom, steps.CompensateOnlyDone()), "in")
	if err := res.Compensate(t.Context()); err != nil || len(log) != 1 {
		t.Errorf("%+v, %v", log, err)
	}
	if err := res.CompensateUnknown(t.Context()); err != nil || len(log) != 2 || log[1].outcome != steps.Unknown {
		t.Errorf("%+v, %v", log, err)
	}
}

func TestSkippedStepIsNotCompensated(t *testing.T) {
	var log []seen
	res, err := stepstest.Run(t.Context(), nil, telling(&log, steps.Skip()), "in")
	if err != nil || !res.Skipped || res.Output != "" {
		t.Errorf("%+v, %v", res, err)
	}
	if err := res.Compensate(t.Context()); err != nil || len(log) != 1 {
		t.Errorf("%+v, %v", log, err)
	}
}

func TestStepWithoutCompensationHasNothingToCall(t *testing.T) {
	s := steps.New("s", func(_ *steps.Context, in string) (string, error) { return in, nil })
	res, err := stepstest.Run(t.Context(), nil, s, "in")
	if e := res.Compensate(t.Context()); err != nil || e != nil {
		t.Error(err, e)
	}
}

func TestAttemptIDAndIdempotencyKeyAreSet(t *testing.T) {
	var log []seen
	s := telling(&log, nil)
	res, _ := stepstest.Run(t.Context(), nil, s, "in", stepstest.ExecutionID("x:1"), stepstest.Attempt(3))
	_, _ = stepstest.Run(t.Context(), nil, s, "in")
	_ = res.Compensate(t.Context())
	_ = res.Compensate(t.Context())
	invoke, other, first, second := log[0], log[1], log[2], log[3]
	if invoke.id != "x:1" || invoke.attempt != 3 || invoke.key == "" || other.attempt != 1 {
		t.Errorf("%+v, %+v", invoke, other)
	}
	if first.key == invoke.key || first.key != second.key || first.attempt != 1 || second.attempt != 2 || other.key == invoke.key {
		t.Errorf("%+v", log)
	}
}

func TestLocksTakenInsideExcludeOthersAndAreReleasedAtTheEnd(t *testing.T) {
	c, locks := withLocks(t)
	take := func(ctx *steps.Context) error {
		lock, err := container.MustResolve(ctx, locking.ServiceKey).Acquire(ctx, locking.Keys("k"))
		if err != nil {
			return err
		}
		if !strings.HasPrefix(lock.Owner(), "lockstep:") || lock.Token("k") == 0 {
			t.Error("the lock is not the run's:", lock.Owner())
		}
		if _, err := locks.TryAcquire(context.Background(), locking.Keys("k")); !errors.Is(err, locking.ErrNotAcquired) {
			t.Error("somebody else got it:", err)
		}
		return nil
	}
	free := func() {
		t.Helper()
		lock, err := locks.TryAcquire(t.Context(), locking.Keys("k"))
		if err != nil {
			t.Fatal(err)
		}
		lock.Close()
	}
	s := steps.New("s", func(ctx *steps.Context, in string) (string, error) { return in, take(ctx) },
		steps.Undo(func(ctx *steps.Context, _ string) error { return errors.Join(take(ctx), errBoom) }))
	res, err := stepstest.Run(t.Context(), c, s, "in")
	if err != nil {
		t.Fatal(err)
	}
	free()
	if err := res.Compensate(t.Context()); !errors.Is(err, errBoom) {
		t.Error(err)
	}
	free()
}

func TestLocksAreReleasedAfterAPanicAndAnEndedContext(t *testing.T) {
	c, locks := withLocks(t)
	ctx, cancel := context.WithCancel(t.Context())
	s := steps.New("s", func(sc *steps.Context, in string) (string, error) {
		if _, err := container.MustResolve(sc, locking.ServiceKey).Acquire(sc, locking.Keys("k")); err != nil {
			return "", err
		}
		cancel()
		panic("ouch")
	})
	_, err := stepstest.Run(ctx, c, s, "in")
	if _, ok := errors.AsType[*steps.PanicError](err); !ok {
		t.Error(err)
	}
	lock, err := locks.TryAcquire(t.Context(), locking.Keys("k"))
	if err != nil {
		t.Fatal(err)
	}
	lock.Close()
}

func TestTimeoutOfTheStepIsApplied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := steps.New("s", func(ctx *steps.Context, in string) (string, error) {
			<-ctx.Done()
			return in, ctx.Err()
		}, steps.Timeout(3*time.Second))
		zero := time.Now()
		_, err := stepstest.Run(t.Context(), nil, s, "in")
		if late, ok := errors.AsType[*steps.TimeoutError](err); !ok || late.After != 3*time.Second || time.Since(zero) != 3*time.Second {
			t.Error(err, time.Since(zero))
		}
	})
}

func TestValuesThatDoNotEncodeAreRefused(t *testing.T) {
	called := false
	s := steps.New("s", func(_ *steps.Context, in string) (string, error) { called = true; return in + "\xff", nil })
	if _, err := stepstest.Run(t.Context(), nil, s, "a\xffb"); err == nil || called {
		t.Error("input:", err, called)
	}
	_, err := stepstest.Run(t.Context(), nil, s, "ok")
	if _, ok := errors.AsType[*steps.EncodingError](err); !ok {
		t.Error("output:", err)
	}
	echo := steps.New("s", func(_ *steps.Context, in string) (string, error) { return in, nil })
	for _, text := range []string{"\ufffd", `\ufffd`, `\\ufffd`} {
		if res, err := stepstest.Run(t.Context(), nil, echo, text); err != nil || res.Output != text {
			t.Errorf("%q became %q, %v", text, res.Output, err)
		}
	}
}

func TestNilStepIsAnError(t *testing.T) {
	var none *steps.Step[string, string]
	res, err := stepstest.Run(t.Context(), nil, none, "in")
	if err == nil {
		t.Error("no error")
	}
	if err := res.Compensate(t.Context()); !errors.Is(err, stepstest.ErrNothingRan) {
		t.Error(err)
	}
}
