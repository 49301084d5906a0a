package machine

import (
	"fmt"

	"github.com/lockstep-dev/lockstep/internal/plan"
	"github.com/lockstep-dev/lockstep/store"
)

// MostDeaths is how many processes a step may kill before it fails for good (I11).
const MostDeaths = 3

// Recovered says that the execution has a new owner, which starts again what was at
// work.
type Recovered struct {
	// Unclean says that the process before may have died of an attempt in flight.
	Unclean bool
}

func (e Recovered) apply(t *transition) error { //nolint:unparam // the interface's
	if t.head().State == store.NotStarted || t.head().State.Finished() {
		return nil
	}
	// What follows from one of them may end others, or start some, which are no part of
	// this.
	list := t.atWork()
	for _, w := range list {
		if n, _ := t.node(w.at); n.Attempts == w.attempts && working(&n.Node, w.phase) {
			t.recover(w.at, n, w.phase, e.Unclean)
		}
	}
	t.regainAll()
	for _, w := range list { // what was in flight in them is not any more
		t.relockOnce(w.at)
	}
	t.turned()
	return nil
}

// work is a phase of a node that is at work.
type work struct {
	at       store.Place
	phase    Phase
	attempts uint64
}

// atWork returns what was at work.
func (t *transition) atWork() []work {
	var list []work
	for i := range t.head().Frames {
		id := store.FrameID(i)
		if f := t.frame(id); f.State != store.FrameRunning && f.State != store.FrameUnwinding {
			continue
		}
		for _, i := range t.sequence(id)[:t.begun(id)] {
			at := store.Place{Frame: id, Node: i}
			n, _ := t.node(at)
			switch {
			case working(&n.Node, Compensate): // a region that is left in its midst is invoking still
				list = append(list, work{at, Compensate, n.Attempts})
			case working(&n.Node, Invoke):
				list = append(list, work{at, Invoke, n.Attempts})
			}
		}
	}
	return list
}

func working(n *store.Node, phase Phase) bool {
	if phase == Compensate {
		return n.Compensate.State == store.StepCompensating
	}
	return n.Invoke.State == store.StepInvoking
}

// recover starts again what was at work at a node.
func (t *transition) recover(at store.Place, n node, phase Phase, unclean bool) {
	switch p := progress(&n.Node, phase); {
	case p.Waits == store.WaitingForLock:
		if n.Ticket != "" { // else it waits for the locks of a guard around it, or for what was at work in it
			t.command(Park{at})
		}
	case p.Waits == store.WaitingForTurn:
		t.command(AwaitTurn{at, phase})
	case p.Waits == store.WaitingForQueue: // whoever does it goes on
		if phase == Invoke && t.head().State != store.Invoking {
			t.command(CancelAttempt{at, Cancelled}) // its task was dropped before
		}
	case t.plan().Nodes[at.Node].Kind == plan.StepNode && p.Waits == store.NotWaiting:
		t.recoverAttempt(at, n, phase, unclean)
	}
}

func (t *transition) recoverAttempt(at store.Place, n node, phase Phase, unclean bool) {
	p := progress(&n.Node, phase)
	if unclean && p.Suspect {
		p.Deaths++
	}
	// Nobody has seen the end of the attempt: its effect may be there, whatever becomes
	// of the next one.
	n.Unknown = n.Unknown || phase == Invoke
	switch {
	case p.Deaths >= MostDeaths:
		t.crashLoop(at, n, phase)
	case phase == Invoke && t.head().State != store.Invoking:
		// It was being cancelled, and has died with its process.
		n.Invoke.State = store.StepFailed
		t.setNode(at, n)
	case unclean:
		p.Suspect, p.Waits = false, store.WaitingForTurn
		t.setNode(at, n)
		t.command(AwaitTurn{at, phase})
	default:
		t.again(at, n, phase)
	}
}

// crashLoop fails an attempt that has killed too many processes.
func (t *transition) crashLoop(at store.Place, n node, phase Phase) {
	p := progress(&n.Node, phase)
	f := store.Failure{
		Path: t.s.Path(at), Phase: string(phase), Attempt: p.Attempts,
		Message: fmt.Sprintf("workflow: step %q killed its process %d times", t.s.Path(at), p.Deaths),
		Chain:   []store.ErrorRecord{{Type: CrashLoopType, Message: decimal(uint64(p.Deaths))}},
	}
	clearSuspect(p)
	t.attemptFailed(AttemptFailed{Place: at, Phase: phase, Failure: f, Permanent: true, Unknown: true, counts: true}, n)
}

// CrashLoopType is the type under which a crash loop stands in a failure's chain.
const CrashLoopType = "*workflow.CrashLoopError"

// TurnCame lets an attempt be made that may have killed its process. The mark that it
// is, is durable before it starts. One that has to wait for the locks of a guard is
// marked, and asks for its turn again when it has them.
type TurnCame struct {
	Place store.Place
	Phase Phase
}

func (e TurnCame) apply(t *transition) error {
	n, err := t.expect(e.Place, plan.StepNode)
	if err != nil {
		return err
	}
	p := progress(&n.Node, e.Phase)
	if p.Waits != store.WaitingForTurn {
		return t.notDue(e.Place, "it waits for no turn")
	}
	p.Suspect = true
	if t.unlocked(e.Place) {
		p.Waits = store.WaitingForLock // others take their turns meanwhile: it asks again
		t.setNode(e.Place, n)
		return nil
	}
	t.again(e.Place, n, e.Phase)
	return nil
}
