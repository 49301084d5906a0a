// Package runctx carries through a context what an execution tells the code it
// runs: which attempt this is, and which scope the locks it takes belong to.
//
// It is the one path by which the engine reaches package steps and package
// locking without either of them knowing the engine.
package runctx

import (
	"context"
	"log/slog"
	"strings"
)

// Phase says which of a step's two bodies an attempt runs.
type Phase string

// The phases of a step.
const (
	Invoke     Phase = "invoke"
	Compensate Phase = "compensate"
)

// Outcome says how a step's invoke ended, for the compensation that follows it.
type Outcome string

// The outcomes of an invoke. The empty Outcome belongs to an invoke itself.
const (
	Succeeded Outcome = "succeeded"
	Failed    Outcome = "failed"
	Unknown   Outcome = "unknown"
)

// Attempt identifies one call of a step's body.
type Attempt struct {
	Workflow    string
	ExecutionID string
	// Step is the step's path in its workflow.
	Step string
	// Items say which item of each loop around the step it is about, from the outermost
	// on.
	Items []int
	// Place tells the step with its items from every other of the execution.
	Place string
	Phase Phase
	// Number counts the attempts of this phase from 1.
	Number int
	// Outcome is set for compensations.
	Outcome Outcome
	Logger  *slog.Logger
}

var keyEscaper = strings.NewReplacer("%", "%25", ":", "%3A")

// IdempotencyKey is equal for all attempts of this phase of this step, and differs from
// that of every other: it joins its parts so that no two sets of them run together,
// whatever bytes they hold. Outside executions it is empty.
func (a *Attempt) IdempotencyKey() string { return a.KeyOf(a.Phase) }

// KeyOf is the idempotency key of a phase of this attempt's step.
func (a *Attempt) KeyOf(phase Phase) string {
	if a.Place == "" {
		return ""
	}
	return keyEscaper.Replace(a.Workflow) + ":" + keyEscaper.Replace(a.ExecutionID) + ":" + keyEscaper.Replace(a.Place) + ":" + string(phase)
}

type attemptKey struct{}

// WithAttempt returns a context that carries the attempt.
func WithAttempt(ctx context.Context, a *Attempt) context.Context {
	return context.WithValue(ctx, attemptKey{}, a)
}

// AttemptFrom returns the attempt the context belongs to, or nil.
func AttemptFrom(ctx context.Context) *Attempt {
	a, _ := ctx.Value(attemptKey{}).(*Attempt)
	return a
}
