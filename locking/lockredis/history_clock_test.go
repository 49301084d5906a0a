package lockredis_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/internal/lockhistory"
	"github.com/lockstep-dev/lockstep/internal/redistest"
)

// clocksApart is from how far apart on a process's two clocks count as set. They are read
// one shortly after the other.
const clocksApart = 20 * time.Microsecond

// clockSetError means that somebody has set the machine's clock while a history was
// recorded. Processes compare their times by it, so that nothing can be judged.
type clockSetError struct{ by time.Duration }

func (e *clockSetError) Error() string {
	return fmt.Sprintf("the clock was set by %s meanwhile, which no history can be judged over", e.by)
}

// recordMost is how often a history is recorded over which the clock is set.
const recordMost = 3

// recordAgain records a history, and does so again when the clock was set meanwhile. Each
// time is a test of its own, with which its servers and processes end. An error means that
// the clock was set each time.
func recordAgain(t *testing.T, record func(*testing.T) (lockhistory.History, error)) (h lockhistory.History, err error) {
	t.Helper()
	for n := 1; n <= recordMost; n++ {
		ended := false
		t.Run(fmt.Sprint("recorded ", n), func(t *testing.T) {
			h, err = record(t)
			if err != nil {
				t.Logf("this is not judged: %v", err)
			}
			ended = true
		})
		if !ended {
			t.FailNow()
		}
		if _, set := errors.AsType[*clockSetError](err); !set {
			return h, err
		}
	}
	return h, err
}

func TestAHistoryOverWhichTheClockWasSetIsRecordedAgain(t *testing.T) {
	times := 0
	h, err := recordAgain(t, func(*testing.T) (lockhistory.History, error) {
		if times++; times < recordMost {
			return lockhistory.History{}, &clockSetError{time.Hour}
		}
		return lockhistory.History{Ops: make([]lockhistory.Op, 7)}, nil
	})
	if err != nil || len(h.Ops) != 7 || times != recordMost {
		t.Errorf("got %d operations, %v after %d times", len(h.Ops), err, times)
	}
}

func TestAHistoryOverWhichTheClockIsSetEachTimeIsGivenUpWithTheReason(t *testing.T) {
	times := 0
	_, err := recordAgain(t, func(*testing.T) (lockhistory.History, error) {
		times++
		return lockhistory.History{}, &clockSetError{time.Hour}
	})
	if set, ok := errors.AsType[*clockSetError](err); !ok || set.by != time.Hour || times != recordMost {
		t.Errorf("got %v after %d times", err, times)
	}
}

// The first child finds its clocks apart however close they are.
func TestAChildWhoseClockWasSetSaysSoAndItsHistoryIsRecordedAgain(t *testing.T) {
	server := redistest.Start(t)
	times := 0
	h, err := recordAgain(t, func(t *testing.T) (lockhistory.History, error) {
		o := orders{Apart: clocksApart, Workload: lockhistory.Workload{
			Seed: 1, Prefix: fmt.Sprint(times, "-"), Ops: lockhistory.Never, Workers: 2, Keys: 3, Era: 500,
			Wait: time.Second, Full: time.Second,
		}}
		if times++; times == 1 {
			o.Apart = -1
		}
		c := &crew{t: t, server: server, order: o}
		c.hire()
		c.work(t.Context(), 20)
		h, err := c.history()
		if _, set := errors.AsType[*clockSetError](err); times == 1 && !set {
			t.Errorf("the first child said %v", err)
		}
		return h, err
	})
	switch {
	case times < 2:
		t.Errorf("recorded is only what the first child made: %v", err)
	case err != nil:
		t.Skipf("skipped: %v", err)
	case h.Total() < 20:
		t.Errorf("got %d operations", h.Total())
	}
}
