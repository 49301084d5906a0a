package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/lockstep-dev/lockstep/internal/machine"
	"github.com/lockstep-dev/lockstep/internal/plan"
	"github.com/lockstep-dev/lockstep/store"
)

// decisionTime is what a decision may take. It is evaluated while its execution
// waits, and has to be pure.
const decisionTime = time.Second

// evaluate computes a decision, or gathers what the branches of a loop gave.
func (r *Run) evaluate(c machine.Command, _ time.Time) machine.Event {
	switch c := c.(type) {
	case machine.Gather:
		var output []byte
		f := r.guarded(c.Place, func(n *plan.Node) (err error) {
			output, err = n.Gather(r.e.cfg.Codec, r.s.Outputs(c.Place))
			return err
		})
		return machine.Gathered{Place: c.Place, Output: output, Failure: f}
	case machine.Evaluate:
		var d plan.Decision
		f := r.guarded(c.Place, func(n *plan.Node) (err error) {
			d, err = n.Decide(r.e.cfg.Codec, r.s.Inputs(c.Place))
			return err
		})
		return machine.Evaluated{Place: c.Place, Decision: d, Failure: f}
	}
	return nil
}

// guarded runs a user's function, and makes a failure of what goes wrong with it.
func (r *Run) guarded(at store.Place, fn func(n *plan.Node) error) *store.Failure {
	stack, err := r.quickly(at, fn)
	if err == nil {
		return nil
	}
	f := failureRecord(r.s.Path(at), machine.StartAttempt{Phase: machine.Invoke, Number: 1}, err)
	f.Stack = string(stack)
	r.remember(err)
	return &f
}

// remember keeps an error as it is for those who wait, beside the failure that is
// about to be added.
func (r *Run) remember(err error) {
	if r.errs == nil {
		r.errs = make(map[int]error)
	}
	r.errs[len(r.s.Failures)] = err
}

func (r *Run) quickly(at store.Place, fn func(n *plan.Node) error) (stack []byte, err error) {
	start := time.Now()
	n := &r.plan.Nodes[at.Node]
	defer func() {
		if v := recover(); v != nil {
			stack = debug.Stack()
			err = fmt.Errorf("workflow: %q panicked: %v", n.Path, v)
			if cause, ok := v.(error); ok {
				err = fmt.Errorf("workflow: %q panicked: %w", n.Path, cause)
			}
		}
		if took := time.Since(start); err == nil && took > decisionTime {
			err = fmt.Errorf("workflow: %q took %s: a decision has to be pure and quick, at most %s; do such work in a step",
				n.Path, took.Round(time.Millisecond), decisionTime)
		}
	}()
	return nil, fn(n)
}

// failureRecord is what is kept of an error.
func failureRecord(path string, c machine.StartAttempt, err error) store.Failure {
	f := store.Failure{Path: path, Phase: string(c.Phase), Attempt: c.Number, Message: err.Error()}
	f.Chain = chain(f.Chain, err)
	if past := context.DeadlineExceeded; errors.Is(err, past) && !slices.ContainsFunc(f.Chain, func(r store.ErrorRecord) bool { return r.Message == past.Error() }) {
		f.Chain = chain(f.Chain, past) // a timeout says of itself that it is one, and wraps none
	}
	return f
}

// FailureOf is what is kept of an error that came from outside.
func FailureOf(err error) store.Failure { return failureRecord("", machine.StartAttempt{}, err) }

// chain lists an error and those it wraps, itself first.
func chain(list []store.ErrorRecord, err error) []store.ErrorRecord {
	const most = 64
	if err == nil || len(list) == most {
		return list
	}
	list = append(list, store.ErrorRecord{Type: fmt.Sprintf("%T", err), Message: err.Error()})
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range many.Unwrap() {
			list = chain(list, e)
		}
		return list
	}
	return chain(list, errors.Unwrap(err))
}
