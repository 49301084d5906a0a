package store_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/lockstep-dev/lockstep/store"
)

func TestStatesAndReasonsAreTheirNamesAsText(t *testing.T) {
	for want, v := range map[string]fmt.Stringer{
		"not_started": store.StepNotStarted, "invoking": store.StepInvoking, "compensating": store.StepCompensating, "done": store.StepDone,
		"reverted": store.StepReverted, "failed": store.StepFailed, "dormant": store.StepDormant, "skipped": store.StepSkipped,
		"skipped_failure": store.StepSkippedFailure, "timeout": store.StepTimeout,
		"retry": store.WaitingForRetry, "timer": store.WaitingForTimer, "lock": store.WaitingForLock, "external": store.WaitingOutside,
		"child": store.WaitingForChild, "suspect": store.WaitingForTurn, "queue": store.WaitingForQueue, "StepState(99)": store.StepState(99),
	} {
		if got := fmt.Sprint(v); got != want {
			t.Errorf("%q, want %q", got, want)
		}
		if text, err := json.Marshal(v); string(text) != fmt.Sprintf("%q", want) || err != nil {
			t.Errorf("%s, %v, want %q", text, err, want)
		}
	}
	if store.StepNone.String() != "" || store.NotWaiting.String() != "" {
		t.Error("what is not known has a name")
	}
}

func TestStatesAndReasonsAreReadFromTheirNames(t *testing.T) {
	for s := store.StepNone; s <= store.StepTimeout; s++ {
		var got store.StepState
		if err := got.UnmarshalText([]byte(s.String())); got != s || err != nil {
			t.Errorf("%s became %s, %v", s, got, err)
		}
	}
	for w := store.NotWaiting; w <= store.WaitingForQueue; w++ {
		var got store.WaitReason
		if err := got.UnmarshalText([]byte(w.String())); got != w || err != nil {
			t.Errorf("%s became %s, %v", w, got, err)
		}
	}
	s, w := store.StepDone, store.WaitingForLock
	if s.UnmarshalText([]byte("strange")) == nil || w.UnmarshalText([]byte("strange")) == nil {
		t.Error("names are read that are none")
	}
}
