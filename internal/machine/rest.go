package machine

import (
	"github.com/lockstep-dev/lockstep/internal/plan"
	"github.com/lockstep-dev/lockstep/store"
)

// Rests says that nothing of the execution is in its owner's hands: no attempt is under
// way or has its turn to come, no lock is held or waited for, and nothing is to be done
// elsewhere. All that it waits for is a time, or a message.
func (s *State) Rests() bool {
	if s.State.Finished() || s.State == store.NotStarted || s.State == store.WaitingToCompensate || len(s.outbox) > 0 {
		return false
	}
	for _, f := range s.frames {
		if !s.frameRests(f) {
			return false
		}
	}
	return true
}

func (s *State) frameRests(f *frame) bool {
	if len(f.Holds) > 0 {
		return false
	}
	nodes := f.nodes
	switch f.State {
	case store.FrameRunning: // one after the other: those before the last have ended
		nodes = nodes[max(len(nodes)-1, 0):]
	case store.FrameUnwinding:
	default:
		return true
	}
	for i := range nodes {
		at := len(f.nodes) - len(nodes) + i
		if !nodeRests(s.Plan.Nodes[s.Plan.Sequences[f.Sequence].Nodes[at]].Kind, &nodes[i].Node) {
			return false
		}
	}
	return true
}

func nodeRests(kind plan.Kind, n *store.Node) bool {
	if len(n.Holds) > 0 || n.Ticket != "" {
		return false
	}
	p := &n.Invoke
	switch {
	case working(n, Compensate):
		p = &n.Compensate
	case !working(n, Invoke):
		return true
	}
	switch p.Waits {
	case store.WaitingForRetry, store.WaitingForTimer, store.WaitingOutside, store.WaitingForChild, store.WaitingForQueue:
		return true
	case store.NotWaiting: // the branches of one that has some are looked at by themselves
		return kind != plan.StepNode && kind != plan.CallNode && kind != plan.SleepNode
	default:
		return false
	}
}
