// Package plan is the erased form of a workflow: a graph of nodes whose values
// are bytes. The typed world above (packages steps and workflow) and the state
// machine below meet here, and nowhere else are types erased.
//
// A plan is immutable once [New] has returned it, and holds no state of any
// execution.
package plan

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Codec turns values into bytes and back. It may be called concurrently.
type Codec interface {
	Encode(v any) ([]byte, error)
	Decode(data []byte, into any) error
}

// Ref names a value: the output of the node with that index, or [Input].
type Ref int

// Input is the workflow's own input.
const Input Ref = -1

// Kind says what a node is.
type Kind string

// The kinds of nodes.
const (
	// StepNode runs a step's bodies: side effects, attempts, compensation.
	StepNode Kind = "step"
	// DecisionNode computes a value from others: pure and quick, evaluated once,
	// before the write that enables what follows it.
	DecisionNode Kind = "decision"
)

// Node is one place in a plan.
type Node struct {
	// Path addresses the node within its plan; it is unique.
	Path    string
	Kind    Kind
	Inputs  []Ref
	OutType string
	Step    *Step // for a StepNode
	Eval    Eval  // for a DecisionNode
}

// Eval computes a decision from its encoded inputs.
type Eval func(c Codec, inputs [][]byte) ([]byte, error)

// Step is a step without its types.
type Step struct {
	Name                      string
	InType, OutType, UndoType string
	Invoke                    func(ctx context.Context, c Codec, input []byte) Result
	// Compensate is nil for a step that has nothing to undo. Nil undo data stands
	// for the zero value.
	Compensate func(ctx context.Context, c Codec, undo []byte) Result
	Policy     Policy
}

// Result is what an attempt came to.
type Result struct {
	Output []byte // of an invoke
	// Undo is what compensate gets. Beside an error it is nil unless the step
	// asked for it to be kept.
	Undo    []byte
	Skipped bool
	Err     error
	// Permanent says that no other attempt would mend the error.
	Permanent bool
	// RetryAfter, when it is not nil, is the pause the body asked for.
	RetryAfter *time.Duration
}

// Plan is a workflow without its types.
type Plan struct {
	Name            string
	InType, OutType string
	// Nodes are in plan order: a node's inputs come before it.
	Nodes  []Node
	Output Ref
	// Fingerprint identifies what executions depend on: names, kinds, order, data
	// edges and type names; not policies, and not the code of bodies.
	Fingerprint string
}

// New checks a plan and completes it. All faults are reported together.
func New(p Plan) (*Plan, error) {
	var faults []error
	paths := make(map[string]int, len(p.Nodes))
	for i := range p.Nodes {
		n := &p.Nodes[i]
		if at, taken := paths[n.Path]; taken {
			faults = append(faults, fmt.Errorf("the name %s is used twice, by %s %d and %d; give one of them another name",
				strconv.Quote(n.Path), n.Kind, at+1, i+1))
		}
		paths[n.Path] = i
		for _, ref := range n.Inputs {
			if ref < Input || int(ref) >= i {
				faults = append(faults, fmt.Errorf("%s %s uses a value that does not come before it", n.Kind, strconv.Quote(n.Path)))
			}
		}
	}
	if p.Output < Input || int(p.Output) >= len(p.Nodes) {
		faults = append(faults, errors.New("the result is not a value of this workflow"))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	p.Fingerprint = fingerprint(&p)
	return &p, nil
}
