// Package runctx carries through a context what an execution tells the code it
// runs: which attempt this is, and which scope the locks it takes belong to.
//
// It is the one path by which the engine reaches package steps and package
// locking without either of them knowing the engine.
package runctx

import (
	"context"
	"log/slog"
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
	Phase Phase
	// Number counts the attempts of this phase from 1.
	Number int
	// IdempotencyKey is equal for all attempts of this phase of this step.
	IdempotencyKey string
	// Outcome is set for compensations.
	Outcome Outcome
	Logger  *slog.Logger
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
