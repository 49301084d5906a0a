package engine

import (
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/lockstep-dev/lockstep/internal/machine"
	"github.com/lockstep-dev/lockstep/store"
)

// decisionTime is what a decision may take. It is evaluated while its execution
// waits, and has to be pure.
const decisionTime = time.Second

// evaluate computes a decision.
func (r *Run) evaluate(node int) machine.Event {
	output, stack, err := r.eval(node)
	if err == nil {
		return machine.Evaluated{Node: node, Output: output}
	}
	r.errs = append(r.errs, err)
	f := failureRecord(r.plan.Nodes[node].Path, machine.StartAttempt{Phase: machine.Invoke, Number: 1}, err)
	f.Stack = string(stack)
	return machine.Evaluated{Node: node, Failure: &f}
}

func (r *Run) eval(node int) (output, stack []byte, err error) {
	start := time.Now()
	defer func() {
		if v := recover(); v != nil {
			stack = debug.Stack()
			err = fmt.Errorf("workflow: %q panicked: %v", r.plan.Nodes[node].Path, v)
			if cause, ok := v.(error); ok {
				err = fmt.Errorf("workflow: %q panicked: %w", r.plan.Nodes[node].Path, cause)
			}
		}
		if took := time.Since(start); err == nil && took > decisionTime {
			err = fmt.Errorf("workflow: %q took %s: a decision has to be pure and quick, at most %s; do such work in a step",
				r.plan.Nodes[node].Path, took.Round(time.Millisecond), decisionTime)
		}
	}()
	output, err = r.plan.Nodes[node].Eval(r.e.cfg.Codec, machine.Inputs(r.plan, r.x, node))
	return output, nil, err
}

// failureRecord is what is kept of an error.
func failureRecord(path string, c machine.StartAttempt, err error) store.Failure {
	f := store.Failure{Path: path, Phase: string(c.Phase), Attempt: c.Number, Message: err.Error()}
	f.Chain = chain(f.Chain, err)
	return f
}

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
