package store

import "fmt"

// StepState is the state of one phase of a node. As text it is its name.
type StepState uint8

// The states of a node's phase. Their numbers are part of what is kept.
const (
	StepNone           StepState = iota // nothing is known of the phase
	StepNotStarted                      // "not_started"
	StepInvoking                        // "invoking"
	StepCompensating                    // "compensating"
	StepDone                            // "done"
	StepReverted                        // "reverted"
	StepFailed                          // "failed"
	StepDormant                         // "dormant"
	StepSkipped                         // "skipped"
	StepSkippedFailure                  // "skipped_failure"
	StepTimeout                         // "timeout"
)

var stepStates = []string{
	"", "not_started", "invoking", "compensating", "done", "reverted", "failed", "dormant", "skipped", "skipped_failure", "timeout",
}

func (s StepState) String() string { return nameOf(stepStates, "StepState", uint8(s)) }

// MarshalText implements [encoding.TextMarshaler].
func (s StepState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (s *StepState) UnmarshalText(text []byte) error {
	n, err := numberOf(stepStates, "step state", text)
	*s = StepState(n)
	return err
}

// WaitReason says what a node waits for. As text it is its name.
type WaitReason uint8

// The reasons to wait. Their numbers are part of what is kept.
const (
	NotWaiting      WaitReason = iota
	WaitingForRetry            // "retry": the time of the next attempt
	WaitingForTimer            // "timer": the end of a sleep
	WaitingForLock             // "lock": a place in the queues of its keys
	WaitingOutside             // "external": somebody who completes it
	WaitingForChild            // "child": the end of another execution
	WaitingForTurn             // "suspect": its turn among those that may have killed their process
	WaitingForQueue            // "queue": an instance that serves its queue, and the result from there
)

var waitReasons = []string{"", "retry", "timer", "lock", "external", "child", "suspect", "queue"}

func (w WaitReason) String() string { return nameOf(waitReasons, "WaitReason", uint8(w)) }

// MarshalText implements [encoding.TextMarshaler].
func (w WaitReason) MarshalText() ([]byte, error) { return []byte(w.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (w *WaitReason) UnmarshalText(text []byte) error {
	n, err := numberOf(waitReasons, "wait reason", text)
	*w = WaitReason(n)
	return err
}

func nameOf(names []string, what string, n uint8) string {
	if int(n) >= len(names) {
		return fmt.Sprintf("%s(%d)", what, n)
	}
	return names[n]
}

func numberOf(names []string, what string, text []byte) (uint8, error) {
	for n, name := range names {
		if name == string(text) {
			return uint8(n), nil
		}
	}
	return 0, fmt.Errorf("store: there is no %s %q", what, text)
}
