package plan

import (
	"errors"
	"fmt"
	"strconv"
)

// New checks a plan and completes it. All faults are reported together.
func New(p Plan) (*Plan, error) {
	c := checker{p: &p, paths: make(map[string]int, len(p.Nodes))}
	c.structure()
	for i := range p.Nodes {
		c.shape(&p.Nodes[i])
	}
	if len(c.faults) == 0 {
		for i := range p.Nodes {
			c.node(i)
		}
		for i := range p.Sequences {
			c.output(i)
		}
	}
	if err := errors.Join(c.faults...); err != nil {
		return nil, err
	}
	p.Fingerprint = fingerprint(&p)
	return &p, nil
}

type checker struct {
	p      *Plan
	paths  map[string]int
	faults []error
}

func (c *checker) faultf(format string, args ...any) {
	c.faults = append(c.faults, fmt.Errorf(format, args...))
}

// structure checks that each node stands in one sequence, and each sequence but the
// first in one node that comes before its own nodes.
func (c *checker) structure() {
	if len(c.p.Sequences) == 0 {
		c.faultf("there is no sequence")
		return
	}
	for i := range c.p.Sequences {
		c.p.Sequences[i].Owner = -1
	}
	for i := range c.p.Nodes {
		c.p.Nodes[i].Sequence = -1
		for _, s := range c.p.Nodes[i].Branches {
			if s <= 0 || s >= len(c.p.Sequences) || c.p.Sequences[s].Owner >= 0 {
				c.faultf("%s %s has a branch %d that is none, or another's", c.p.Nodes[i].Kind, strconv.Quote(c.p.Nodes[i].Path), s)
				continue
			}
			c.p.Sequences[s].Owner = i
		}
	}
	for s := range c.p.Sequences {
		q := &c.p.Sequences[s]
		if s > 0 && q.Owner < 0 {
			c.faultf("sequence %d is nobody's branch", s)
		}
		for at, i := range q.Nodes {
			if i <= q.Owner || i >= len(c.p.Nodes) || c.p.Nodes[i].Sequence >= 0 || (at > 0 && i <= q.Nodes[at-1]) {
				c.faultf("sequence %d has a node %d that is none, another's, or out of order", s, i)
				continue
			}
			c.p.Nodes[i].Sequence, c.p.Nodes[i].Position = s, at
		}
	}
	for i := range c.p.Nodes {
		if c.p.Nodes[i].Sequence < 0 {
			c.faultf("%s %s stands nowhere", c.p.Nodes[i].Kind, strconv.Quote(c.p.Nodes[i].Path))
		}
	}
}

// shape checks that a node has what its kind needs, and nothing of another kind.
func (c *checker) shape(n *Node) {
	fault := func(has bool, what string) {
		if has {
			c.faultf("%s %s %s", n.Kind, strconv.Quote(n.Path), what)
		}
	}
	least, most, decides := 0, 0, n.Decide != nil
	switch n.Kind {
	case StepNode:
		decides = false
		fault(len(n.Inputs) != 1, "needs one input")
	case CallNode: // its input is decided, or is the one that it has
		fault(n.Decide == nil && len(n.Inputs) != 1, "needs one input")
	case ParallelNode:
		least, most, decides = 1, len(c.p.Sequences), false
	case WhenNode:
		least, most, decides = 1, 2, true
	case GuardNode, EachNode:
		least, most, decides = 1, 1, true
	case DecisionNode, SleepNode:
		decides = true
	default:
		fault(true, "is of no known kind")
		return
	}
	fault(len(n.Branches) < least || len(n.Branches) > most, "has "+strconv.Itoa(len(n.Branches))+" branches")
	fault(decides != (n.Decide != nil), "has a decision that its kind does not make, or lacks one that it makes")
	fault((n.Kind == EachNode) != (n.Gather != nil), "gathers although its kind does not, or cannot gather")
	fault((n.Kind == StepNode) != (n.Step != nil), "has a step although it is none, or lacks one")
	fault((n.Kind == CallNode) != (n.Call != nil), "has a call although it is none, or lacks one")
	fault((n.Kind == GuardNode) != (n.Guard != nil), "has a guard although it is none, or lacks one")
	fault(n.Limit < 0 || (n.Limit > 0 && n.Kind != EachNode), "cannot have the limit "+strconv.Itoa(n.Limit))
}

func (c *checker) node(i int) {
	n := &c.p.Nodes[i]
	if at, taken := c.paths[n.Path]; taken {
		c.faultf("the name %s is used twice, by %s %d and %d; give one of them another name",
			strconv.Quote(n.Path), n.Kind, at+1, i+1)
	}
	c.paths[n.Path] = i
	if g := c.guardAround(n); g != nil && n.Step != nil && n.Step.Queue != nil {
		c.faultf("%s %s is on the queue %s, within %s %s: its locks are those of the instance that drives the execution; take the lock in the step",
			n.Kind, strconv.Quote(n.Path), strconv.Quote(n.Step.Queue.Name), g.Kind, strconv.Quote(g.Path))
	}
	for _, ref := range n.Inputs {
		if !c.visible(ref, i, n.Sequence) {
			c.faultf("%s %s uses a value that does not come before it, or that belongs to another branch", n.Kind, strconv.Quote(n.Path))
		}
	}
}

// guardAround returns the nearest guard that the node stands in, or nil.
func (c *checker) guardAround(n *Node) *Node {
	for owner := c.p.Sequences[n.Sequence].Owner; owner >= 0; {
		if n = &c.p.Nodes[owner]; n.Kind == GuardNode {
			return n
		}
		owner = c.p.Sequences[n.Sequence].Owner
	}
	return nil
}

func (c *checker) output(s int) {
	q := &c.p.Sequences[s]
	if c.visible(q.Output, len(c.p.Nodes), s) {
		return
	}
	if s == 0 {
		c.faultf("the result is not a value of this workflow")
		return
	}
	c.faultf("the result of a branch of %s is not a value that it can see", strconv.Quote(c.p.Nodes[q.Owner].Path))
}

// visible says whether a value can be used by the node, in the sequence: it stands
// in that one or around it, and comes before it, or before what the sequence is in.
func (c *checker) visible(ref Ref, by, sequence int) bool {
	switch {
	case ref.Node == InputNode:
		return ref.Part == 0
	case ref.Node < 0 || ref.Node >= len(c.p.Nodes):
		return false
	}
	n := &c.p.Nodes[ref.Node]
	if ref.Part == Item {
		return n.Kind == EachNode && c.p.Encloses(n.Branches[0], sequence)
	}
	if !c.p.Encloses(n.Sequence, sequence) || ref.Part < 0 || ref.Part > n.parts()-1 {
		return false
	}
	for s := sequence; s != n.Sequence; s = c.p.Nodes[by].Sequence {
		by = c.p.Sequences[s].Owner
	}
	return ref.Node < by
}

// parts is how many values the node gives.
func (n *Node) parts() int {
	switch n.Kind {
	case ParallelNode, GuardNode:
		return len(n.Branches)
	case SleepNode:
		return 0
	}
	return 1
}
