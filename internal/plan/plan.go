// Package plan is the erased form of a workflow: sequences of nodes whose values
// are bytes. The typed world above (packages steps and workflow) and the state
// machine below meet here, and nowhere else are types erased.
//
// A plan is immutable once [New] has returned it, and holds no state of any
// execution.
package plan

import "time"

// Codec turns values into bytes and back. It may be called concurrently.
type Codec interface {
	Encode(v any) ([]byte, error)
	Decode(data []byte, into any) error
}

// Ref names a value: one that a node gives, the workflow's input, or the item of a
// loop that the value is used in.
type Ref struct {
	// Node is the node's index, or [InputNode].
	Node int
	// Part is which of the node's branches gives the value, for a node that has
	// branches; [Item] is the item of the loop.
	Part int
}

const (
	// InputNode stands for the workflow's own input.
	InputNode = -1
	// Item as a Ref's part is the item of the loop.
	Item = -1
)

// Input is the workflow's own input.
var Input = Ref{Node: InputNode}

// Kind says what a node is.
type Kind string

// The kinds of nodes.
const (
	// StepNode runs a step's bodies: side effects, attempts, compensation. Where the
	// step is asynchronous its result comes from outside.
	StepNode Kind = "step"
	// DecisionNode computes a value from others.
	DecisionNode Kind = "decision"
	// ParallelNode runs its branches side by side.
	ParallelNode Kind = "parallel"
	// WhenNode runs the one of its branches that is decided upon, or none.
	WhenNode Kind = "when"
	// SleepNode lets time pass.
	SleepNode Kind = "sleep"
	// GuardNode runs its branch while the execution holds locks.
	GuardNode Kind = "guard"
	// EachNode runs its branch once for each item of a list.
	EachNode Kind = "each"
	// CallNode runs another workflow as a child.
	CallNode Kind = "call"
)

// Node is one place in a plan.
type Node struct {
	// Path addresses the node within its plan; it is unique.
	Path    string
	Kind    Kind
	Inputs  []Ref
	OutType string
	// Decide is evaluated before the node begins: pure and quick, once, before the
	// write that enables what follows it. Nil for nodes that decide nothing.
	Decide Decide
	// Gather makes the output of an EachNode from those of its branches.
	Gather   Gather
	Step     *Step // of a StepNode
	Call     *Call // of a CallNode
	Guard    *Guard
	Branches []int // the sequences of its branches
	// Limit bounds how many branches of an EachNode run at once.
	Limit int

	// Sequence is the one that the node stands in, and Position its place there. [New]
	// sets them.
	Sequence, Position int
}

// Decision is what a node's Decide came to. Which fields count depends on the
// node's kind.
type Decision struct {
	Output []byte   // of a DecisionNode, and the input of a child
	Branch int      // of a WhenNode: from 1, zero is none
	Pause  Pause    // of a SleepNode
	Keys   []string // of a GuardNode
	Items  [][]byte // of an EachNode
}

// Decide computes a decision from its encoded inputs.
type Decide func(c Codec, inputs [][]byte) (Decision, error)

// Gather makes one encoded value of several.
type Gather func(c Codec, outputs [][]byte) ([]byte, error)

// Call says which workflow a CallNode runs.
type Call struct {
	Workflow    string
	Fingerprint string
}

// Sequence is a list of nodes that run one after the other.
type Sequence struct {
	// Owner is the node that the sequence is a branch of; negative for the workflow's
	// own, which is the first. [New] sets it.
	Owner  int
	Nodes  []int
	Output Ref
}

// Plan is a workflow without its types.
type Plan struct {
	Name            string
	InType, OutType string
	// Nodes are in the order of their declaration: a node's inputs come before it.
	Nodes []Node
	// Sequences has the workflow's own first.
	Sequences []Sequence
	// Fingerprint identifies what executions depend on: names, kinds, order, nesting,
	// data edges and type names; not policies, and not the code of bodies.
	Fingerprint string
	// Deadline bounds the time of an execution; zero is without a bound.
	Deadline time.Duration
}

// Encloses says whether the sequence is the other one, or around it.
func (p *Plan) Encloses(outer, inner int) bool {
	for inner != outer {
		owner := p.Sequences[inner].Owner
		if owner < 0 {
			return false
		}
		inner = p.Nodes[owner].Sequence
	}
	return true
}

// Asynchronous says whether the node's result comes from outside.
func (n *Node) Asynchronous() bool { return n.Step != nil && n.Step.Asynchronous }
