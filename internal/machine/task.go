package machine

import (
	"slices"
	"time"

	"github.com/lockstep-dev/lockstep/internal/plan"
	"github.com/lockstep-dev/lockstep/store"
)

// An attempt of a step on a queue is a task of the execution, which is part of the write
// that enables it. Its result is a message. A task has the key of its place as its ID: it
// has one at a time.

// enqueue makes a task of an attempt.
func (t *transition) enqueue(at store.Place, n *node, phase Phase) {
	pn := &t.plan().Nodes[at.Node]
	p := progress(&n.Node, phase)
	o := store.Order{
		Place: at, Path: pn.Path, Key: t.key(at), Items: items(t, at), Compensate: phase == Compensate,
		Number: p.Attempts, Ordinal: n.Attempts, Epoch: t.s.Epoch, Suspect: p.Suspect,
	}
	if len(o.Items) > 0 {
		o.Path += indices(o.Items)
	}
	if o.Compensate {
		o.Input, o.Outcome = n.Undo, Outcome(&n.Node)
	} else {
		o.Input = value(t, at.Frame, pn.Inputs[0])
	}
	t.d.tasks = append(t.d.tasks, store.Task{ID: o.Key, Queue: pn.Step.Queue.Name, Priority: pn.Step.Queue.Priority, Data: o.Encode(nil)})
}

// Outcome says how a step's invoke has ended, for its compensation.
func Outcome(n *store.Node) string {
	switch {
	case n.Invoke.State == store.StepDone:
		return "succeeded"
	case n.Unknown:
		return "unknown"
	}
	return "failed"
}

// stopQueued ends an attempt that is on a queue. One whose task is not recorded is not
// made; else whoever does it may be at it.
func (t *transition) stopQueued(at store.Place, n node, cause CancelCause) {
	id := t.key(at)
	same := func(o store.Task) bool { return o.ID == id }
	fresh := slices.ContainsFunc(t.d.tasks, same)
	t.d.tasks = slices.DeleteFunc(t.d.tasks, same)
	t.d.dropped = append(t.d.dropped, id)
	if !fresh && !slices.ContainsFunc(t.s.tasks, same) {
		t.command(CancelAttempt{at, cause})
		return
	}
	n.Invoke.State, n.Invoke.Waits = store.StepFailed, store.NotWaiting // as the attempt before
	if n.Invoke.Attempts--; n.Invoke.Attempts == 0 {
		n.Invoke.State = store.StepSkipped
	}
	t.setNode(at, n)
}

// taskEnded is the result of an attempt that was made from a queue.
func (t *transition) taskEnded(e store.Event) error {
	n, err := t.expectTask(e.Place, phaseOf(e.Task))
	if err != nil || n.Attempts != e.Task.Ordinal || e.Task.Run != t.s.RunUID {
		return ErrMisfit
	}
	phase := phaseOf(e.Task)
	progress(&n.Node, phase).Waits = store.NotWaiting
	if e.Task.Died {
		return t.doerDied(e.Place, n, phase)
	}
	t.setNode(e.Place, n)
	if !e.Task.Failed {
		return Succeeded{Place: e.Place, Phase: phase, Output: e.Output, Undo: e.Task.Undo, Skipped: e.Task.Skipped}.apply(t)
	}
	failed := AttemptFailed{
		Place: e.Place, Phase: phase, Undo: e.Task.Undo, Permanent: e.Permanent, Unknown: e.Task.Unknown, TimedOut: e.Task.TimedOut,
	}
	if e.Task.Pauses {
		failed.RetryAfter = new(time.Duration)
		*failed.RetryAfter = e.Task.RetryAfter
	}
	if len(e.Failures) > 0 {
		failed.Failure = e.Failures[0]
	}
	return failed.apply(t)
}

func phaseOf(r store.TaskResult) Phase {
	if r.Compensate {
		return Compensate
	}
	return Invoke
}

// expectTask returns a node with an attempt that is on a queue.
func (t *transition) expectTask(at store.Place, phase Phase) (node, error) {
	n, err := t.expect(at, plan.StepNode)
	if err != nil {
		return n, err
	}
	if p := progress(&n.Node, phase); !working(&n.Node, phase) || p.Waits != store.WaitingForQueue {
		return n, t.notDue(at, "it has no attempt on a queue")
	}
	return n, nil
}

// doerDied makes an attempt again whose instance has died at it, marked as one that may
// have killed it (I11).
func (t *transition) doerDied(at store.Place, n node, phase Phase) error {
	p := progress(&n.Node, phase)
	if p.Suspect {
		p.Deaths++
	}
	n.Unknown = n.Unknown || phase == Invoke
	switch {
	case p.Deaths >= MostDeaths:
		t.crashLoop(at, n, phase)
	case phase == Invoke && t.head().State != store.Invoking:
		n.Invoke.State = store.StepFailed
		t.setNode(at, n)
		t.turned()
	default:
		p.Suspect = true
		t.again(at, n, phase)
	}
	return nil
}

// TaskAbandoned says that whoever does the task of an attempt that was cancelled was not
// heard of in time: the body may still be running.
type TaskAbandoned struct {
	Place   store.Place
	Failure store.Failure
}

func (e TaskAbandoned) apply(t *transition) error {
	n, err := t.expectTask(e.Place, Invoke)
	if err != nil {
		return err
	}
	if t.head().State == store.Invoking {
		return t.notDue(e.Place, "it was not cancelled")
	}
	n.Invoke.Waits = store.NotWaiting
	t.setNode(e.Place, n)
	return AttemptFailed{Place: e.Place, Phase: Invoke, Failure: e.Failure, Permanent: true, Unknown: true}.apply(t)
}

func (s *State) applyTasks(d *Decision) {
	for _, id := range d.dropped {
		s.tasks = slices.DeleteFunc(s.tasks, func(o store.Task) bool { return o.ID == id })
		s.drops = append(s.drops, id)
	}
	s.tasks = append(s.tasks, d.tasks...)
}

// FlushTasks returns which tasks were made and which are dropped since it was called last.
func (s *State) FlushTasks() (made []store.Task, dropped []string) {
	made, dropped = s.tasks, s.drops
	s.tasks, s.drops = nil, nil
	return made, dropped
}
