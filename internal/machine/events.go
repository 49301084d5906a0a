package machine

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/lockstep-dev/lockstep/internal/plan"
	"github.com/lockstep-dev/lockstep/store"
)

var zero time.Time

// Begun starts an execution.
type Begun struct{}

func (Begun) apply(t *transition) error {
	if t.s.State != store.NotStarted {
		return errors.New("it has begun already")
	}
	t.head().State = store.Invoking
	t.head().Frames = 1
	t.setFrame(0, store.Frame{State: store.FrameRunning})
	t.advance(0, 0)
	return nil
}

// Evaluated answers an [Evaluate] command.
type Evaluated struct {
	Place    store.Place
	Decision plan.Decision
	Failure  *store.Failure // nil when there is a decision
}

func (e Evaluated) apply(t *transition) error {
	n, err := t.expect(e.Place)
	if err != nil {
		return err
	}
	if n.Invoke.State != store.StepInvoking || n.Invoke.Waits != store.NotWaiting || n.Count > 0 || n.Invoke.Attempts > 0 {
		return t.notDue(e.Place, "its decision is made")
	}
	if e.Failure != nil {
		return t.undecided(e.Place, n, *e.Failure)
	}
	t.decided(e.Place, n, e.Decision)
	return nil
}

func (t *transition) undecided(at store.Place, n node, f store.Failure) error {
	n.Invoke.State = store.StepFailed
	t.setNode(at, n)
	t.fail(f, Failed)
	return nil
}

// Gathered answers a [Gather] command.
type Gathered struct {
	Place   store.Place
	Output  []byte
	Failure *store.Failure // nil when there is an output
}

func (e Gathered) apply(t *transition) error {
	n, err := t.expect(e.Place, plan.EachNode)
	if err != nil {
		return err
	}
	if n.Invoke.State != store.StepInvoking || n.open > 0 || n.next < n.Count {
		return t.notDue(e.Place, "it has not come to its end")
	}
	if e.Failure != nil {
		return t.undecided(e.Place, n, *e.Failure)
	}
	n.Output = e.Output
	t.leave(e.Place, n)
	return nil
}

// Succeeded is the good end of an attempt.
type Succeeded struct {
	Place   store.Place
	Phase   Phase
	Output  []byte // of an invoke
	Undo    []byte // of an invoke
	Skipped bool   // the invoke asked to count as not made
}

func (e Succeeded) apply(t *transition) error {
	n, err := t.expectAttempt(e.Place, e.Phase)
	if err != nil {
		return err
	}
	clearSuspect(progress(&n.Node, e.Phase))
	if e.Phase == Compensate {
		n.Compensate.State = store.StepReverted
		t.setNode(e.Place, n)
		t.below(e.Place)
		t.relockAround(e.Place)
		return nil
	}
	n.Undo = e.Undo
	step := t.plan().Nodes[e.Place.Node].Step
	switch {
	case e.Skipped:
		n.Invoke.State, n.Undo = store.StepSkipped, nil
	case step.Asynchronous:
		return t.await(e.Place, n, step)
	default:
		n.Invoke.State, n.Output = store.StepDone, e.Output
	}
	t.setNode(e.Place, n)
	t.landed(e.Place)
	t.regainAround(e.Place)
	return nil
}

// await has an asynchronous step wait for its result.
func (t *transition) await(at store.Place, n node, step *plan.Step) error {
	if t.head().State != store.Invoking {
		n.Invoke.State, n.Unknown = store.StepFailed, true
		t.setNode(at, n)
		t.turned()
		return nil
	}
	n.Invoke.Waits = store.WaitingOutside
	if step.Await > 0 {
		n.Invoke.DueAt = t.now.Add(step.Await)
	}
	t.setNode(at, n)
	t.regainAround(at)
	return nil
}

// landed goes on behind an invoke that has come to its result.
func (t *transition) landed(at store.Place) {
	if t.head().State == store.Invoking {
		t.behind(at)
		return
	}
	t.turned()
}

// AttemptFailed is the bad end of an attempt.
type AttemptFailed struct {
	Place   store.Place
	Phase   Phase
	Failure store.Failure
	Undo    []byte // kept by an invoke in spite of its error
	// Permanent says that no further attempt is worth making.
	Permanent bool
	// RetryAfter, when it is not nil, is the pause the attempt asked for.
	RetryAfter *time.Duration
	// Unknown says that the body may still be running.
	Unknown bool
	// TimedOut says that the attempt's timeout ended it.
	TimedOut bool
	// Quiet says that the failure tells nothing: the attempt has only heeded the end of
	// its context.
	Quiet bool

	counts bool // whatever has become of the locks around it
}

func (e AttemptFailed) apply(t *transition) error {
	n, err := t.expectAttempt(e.Place, e.Phase)
	if err != nil {
		return err
	}
	clearSuspect(progress(&n.Node, e.Phase))
	t.attemptFailed(e, n)
	t.regainAround(e.Place)
	t.relockAround(e.Place)
	return nil
}

func (t *transition) attemptFailed(e AttemptFailed, n node) {
	if e.Phase == Invoke {
		n.Unknown = n.Unknown || e.Unknown
		if e.Undo != nil {
			n.Undo = e.Undo
		}
	}
	p := progress(&n.Node, e.Phase)
	if !e.counts && t.unlocked(e.Place) { // whatever it came to, it is to be made under locks
		p.Attempts--
		p.Waits, p.DueAt = store.WaitingForLock, zero
		t.setNode(e.Place, n)
		return
	}
	if t.retry(e, n) {
		return
	}
	p.State, p.Waits, p.DueAt = store.StepFailed, store.NotWaiting, zero
	if e.TimedOut && e.Phase == Invoke {
		p.State = store.StepTimeout
	}
	t.setNode(e.Place, n)
	switch {
	case e.Phase == Invoke && e.Quiet:
		t.turn(Failed)
		return
	case e.Phase == Invoke:
		t.fail(e.Failure, Failed)
		return
	}
	t.d.failures = append(t.d.failures, e.Failure)
	t.below(e.Place)
}

// retry enables another attempt, now or later, where the policy has one.
func (t *transition) retry(e AttemptFailed, n node) bool {
	if e.Permanent || (e.Phase == Invoke && t.head().State != store.Invoking) {
		return false
	}
	policy, p := attempts(t.plan().Nodes[e.Place.Node].Step, e.Phase), progress(&n.Node, e.Phase)
	pause := policy.PauseAfter(p.Attempts, t.s.RunUID+"/"+t.key(e.Place)+"/"+string(e.Phase))
	if e.RetryAfter != nil {
		pause = max(0, *e.RetryAfter)
	}
	at := t.now.Add(pause)
	if !policy.Another(p.Attempts, p.FirstAt, at) {
		return false
	}
	if pause == 0 {
		t.start(e.Place, n, e.Phase)
		return true
	}
	p.Waits, p.DueAt = store.WaitingForRetry, at
	t.setNode(e.Place, n)
	return true
}

// Withdrawn takes back an attempt that the very change has enabled which turns the
// execution round: it is not made (I4).
type Withdrawn struct{ Place store.Place }

func (e Withdrawn) apply(t *transition) error {
	n, err := t.expectAttempt(e.Place, Invoke)
	if err != nil {
		return err
	}
	n.Invoke.State = store.StepFailed // as the attempt before
	if n.Invoke.Attempts--; n.Invoke.Attempts == 0 {
		n.Invoke.State = store.StepSkipped
	}
	t.setNode(e.Place, n)
	t.turned()
	return nil
}

// Woken says that time has passed.
type Woken struct{}

func (Woken) apply(t *transition) error { //nolint:unparam // the interface's
	for _, at := range t.s.timers.due(t.now) {
		t.wake(at)
	}
	if d := t.s.Deadline; t.head().State == store.Invoking && !d.IsZero() && !d.After(t.now) {
		f := timeFailure("", deadlinePassed+", "+d.Format(time.RFC3339Nano))
		f.Chain = append(f.Chain, store.ErrorRecord{Type: "*errors.errorString", Message: "workflow: " + deadlinePassed})
		t.fail(f, PastTheTime)
	}
	return nil
}

// deadlinePassed is what package engine's ErrDeadline says.
const deadlinePassed = "the execution did not end by its deadline"

func timeFailure(path, message string) store.Failure {
	const exceeded = "context deadline exceeded" // as package context says it
	return store.Failure{
		Path: path, Phase: string(Invoke), Attempt: 1, Message: "workflow: " + message,
		Chain: []store.ErrorRecord{{Type: "context.deadlineExceededError", Message: exceeded}},
	}
}

// waitFailure is that of a guard whose wait is over. It matches package locking's
// ErrTimeout, which its chain names.
func waitFailure(path string) store.Failure {
	const message = "Timed-out acquiring lock."
	return store.Failure{
		Path: path, Phase: string(Invoke), Attempt: 1, Message: "workflow: " + message,
		Chain: []store.ErrorRecord{
			{Type: "*locking.TimeoutError", Message: message},
			{Type: "*errors.errorString", Message: "locking: timed out acquiring lock"},
		},
	}
}

// wake goes on with a node whose time has come. What was decided before may have
// ended its wait.
func (t *transition) wake(at store.Place) {
	n, _ := t.node(at)
	for _, phase := range []Phase{Invoke, Compensate} {
		p := progress(&n.Node, phase)
		if p.DueAt.IsZero() || p.DueAt.After(t.now) {
			continue
		}
		switch p.Waits {
		case store.WaitingForRetry:
			t.start(at, n, phase)
		case store.WaitingForTimer:
			p.State, p.Waits, p.DueAt = store.StepDone, store.NotWaiting, zero
			t.setNode(at, n)
			t.behind(at)
		case store.WaitingOutside:
			p.State, p.Waits, p.DueAt = store.StepTimeout, store.NotWaiting, zero
			n.Unknown = true
			t.setNode(at, n)
			t.fail(timeFailure(t.s.Plan.Nodes[at.Node].Path, "no result came from outside in time"), Failed)
		case store.WaitingForLock:
			t.unpark(at, &n)
			p.Waits, p.DueAt = store.NotWaiting, zero
			if n.Count == 0 { // else what is in it ends first
				p.State = store.StepFailed
			}
			t.setNode(at, n)
			t.fail(waitFailure(t.s.Plan.Nodes[at.Node].Path), Failed)
		}
		return
	}
}

// expect returns the node an event speaks of, if it has begun and is of one of the
// kinds.
func (t *transition) expect(at store.Place, kinds ...plan.Kind) (node, error) {
	n, begun := t.node(at)
	if !begun {
		return n, fmt.Errorf("nothing has begun at node %d of frame %d", at.Node, at.Frame)
	}
	kind := t.plan().Nodes[at.Node].Kind
	if len(kinds) > 0 && !slices.Contains(kinds, kind) {
		return n, t.notDue(at, "it is a "+string(kind))
	}
	return n, nil
}

func (t *transition) notDue(at store.Place, why string) error {
	return fmt.Errorf("not due at %s: %s", strconv.Quote(t.plan().Nodes[at.Node].Path), why)
}

// expectAttempt is expect for a step with an attempt in flight.
func (t *transition) expectAttempt(at store.Place, phase Phase) (n node, err error) {
	want := store.StepInvoking
	if phase == Compensate {
		want = store.StepCompensating
	}
	if known := t.seen(at); known != nil {
		n = *known
	}
	p := progress(&n.Node, phase)
	if p.State == want && p.Waits == store.NotWaiting && t.plan().Nodes[at.Node].Kind == plan.StepNode {
		return n, nil
	}
	if n, err = t.expect(at, plan.StepNode); err == nil {
		err = t.notDue(at, string(phase)+" is "+p.State.String()+" "+p.Waits.String()+", not in flight")
	}
	return n, err
}

func clearSuspect(p *store.Progress) { p.Suspect, p.Deaths = false, 0 }
