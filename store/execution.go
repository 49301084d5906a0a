// Package store is the seam between the engine and what keeps executions: the
// records, their states, and the [Store] interface that implementers write.
package store

import (
	"strconv"
	"time"
)

// Key identifies an execution within a store.
type Key struct {
	Workflow string
	ID       string
}

func (k Key) String() string {
	return strconv.Quote(k.Workflow) + "/" + strconv.Quote(k.ID)
}

// ExecutionState is the state of an execution.
type ExecutionState string

// The states of an execution. Done, Reverted and Failed are final.
const (
	NotStarted          ExecutionState = "not_started"
	Invoking            ExecutionState = "invoking"
	WaitingToCompensate ExecutionState = "waiting_to_compensate"
	Compensating        ExecutionState = "compensating"
	Done                ExecutionState = "done"
	Reverted            ExecutionState = "reverted"
	Failed              ExecutionState = "failed"
)

// Finished says that nothing more happens in the state by itself.
func (s ExecutionState) Finished() bool {
	return s == Done || s == Reverted || s == Failed
}

// StepState is the state of one phase of a step.
type StepState string

// The states of a step's phase.
const (
	StepNotStarted   StepState = "not_started"
	StepInvoking     StepState = "invoking"
	StepCompensating StepState = "compensating"
	StepDone         StepState = "done"
	StepReverted     StepState = "reverted"
	StepFailed       StepState = "failed"
	StepDormant      StepState = "dormant"
	StepSkipped      StepState = "skipped"
	StepTimeout      StepState = "timeout"
)

// Execution is everything that is kept of one run of a workflow.
type Execution struct {
	Key
	// RunUID tells this run from every other, also of the same key.
	RunUID      string
	Fingerprint string
	Codec       string
	Input       []byte
	// InputHash is compared when the same key is asked for again.
	InputHash []byte
	// Generated says that the id was made, not given by the caller.
	Generated bool
	CreatedAt time.Time

	Fence
	Head
	Nodes    []Node
	Failures []Failure
}

// Fence is what every write is checked against.
type Fence struct {
	// Owner is the instance that drives the execution.
	Owner string
	// Epoch rises with every new owner.
	Epoch uint64
	// Revision rises with every write.
	Revision uint64
}

// Head is the part of an execution that every write replaces.
type Head struct {
	State       ExecutionState
	CancelledAt time.Time
	FinishedAt  time.Time
	// ForgetAt is when a finished execution may be deleted; zero is never.
	ForgetAt time.Time
	// Output is set when the execution is done.
	Output []byte
	// Holds are the locks that the workflow's own sequence keeps.
	Holds []Hold
	// Leaving are locks that are being given back.
	Leaving []Hold
}

// Node is the state of one node of the plan.
type Node struct {
	Invoke     Progress
	Compensate Progress
	// Attempts counts those of both phases; it is the attempt in a lock's
	// generation.
	Attempts uint64
	// Unknown says that an attempt of invoke ended without anybody knowing how.
	Unknown bool
	Output  []byte
	// Undo is the input of compensate; nil is the zero value.
	Undo []byte
}

// Progress is the state of one phase of a step.
type Progress struct {
	State    StepState
	Attempts int
	// FirstAt is when the first attempt was enabled.
	FirstAt time.Time
	// RetryAt is when the next attempt is due; zero when none is waited for.
	RetryAt time.Time
}

// Failure is an error that an execution came to.
type Failure struct {
	Path    string
	Phase   string
	Attempt int
	Message string
	// Chain lists the error and those it wraps.
	Chain []ErrorRecord
	Stack string
}

// ErrorRecord is what is kept of one error of a chain.
type ErrorRecord struct {
	Type    string
	Message string
}

// Hold is a lock that an execution has.
type Hold struct {
	Provider, Key, Owner string
	Epoch, Attempt       uint64
	Token                uint64
}

// Change is what one write changes of an execution.
type Change struct {
	Head     Head
	Nodes    []NodeChange
	Failures []Failure // added to those there are
}

// NodeChange replaces one node.
type NodeChange struct {
	Index int
	Node  Node
}

// Apply makes the change in memory.
func (x *Execution) Apply(c Change) {
	x.Head = c.Head
	for _, n := range c.Nodes {
		x.Nodes[n.Index] = n.Node
	}
	x.Failures = append(x.Failures, c.Failures...)
}

// Merge adds a later change to this one.
func (c *Change) Merge(later Change) {
	c.Head = later.Head
	for _, n := range later.Nodes {
		c.setNode(n)
	}
	c.Failures = append(c.Failures, later.Failures...)
}

func (c *Change) setNode(n NodeChange) {
	for i := range c.Nodes {
		if c.Nodes[i].Index == n.Index {
			c.Nodes[i] = n
			return
		}
	}
	c.Nodes = append(c.Nodes, n)
}
