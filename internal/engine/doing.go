package engine

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/lockstep-dev/lockstep/internal/machine"
	"github.com/lockstep-dev/lockstep/internal/plan"
	"github.com/lockstep-dev/lockstep/internal/runctx"
	"github.com/lockstep-dev/lockstep/store"
)

// doing is a task that is done here: one attempt of a step of an execution that another
// instance may drive.
type doing struct {
	s     *server
	t     store.Taken
	order store.Order
	step  *plan.Step
	drop  chan struct{} // closed when the task was dropped
	gone  sync.Once
	turn  bool // it has the turn of those that may have killed a process
	ctx   *runctx.AttemptContext
	root  *runctx.Scope
}

// do makes the attempt, and tells what it came to.
func (d *doing) do() {
	if d.t.Unclean { // whoever drives the execution counts, and has it made again (I11)
		d.finish(&store.Event{Kind: store.TaskEnded, Place: d.order.Place, Task: store.TaskResult{Died: true}})
		return
	}
	res := d.call()
	if res.Err == nil || d.s.e.base.Err() == nil { // else it was stopped, it did not fail: others do it
		d.finish(d.event(&res))
	}
	d.freeLocks()
}

// read reads what is to be done.
func (d *doing) read() (err error) {
	if d.order, err = store.DecodeOrder(d.t.Data); err != nil {
		return err
	}
	p := d.s.e.cfg.Plans[d.t.Key.Workflow]
	if at := d.order.Place.Node; at >= len(p.Nodes) || p.Nodes[at].Step == nil {
		return &store.RecordError{Record: "order", Reason: "its node " + strconv.Itoa(at) + " is no step"}
	}
	d.step = p.Nodes[d.order.Place.Node].Step
	return nil
}

// mostTakings is how many takings of an execution's tasks a generation tells apart.
const mostTakings = 1 << 20

// call calls the body, for as long as it may take.
func (d *doing) call() plan.Result {
	e, phase, policy, body := d.s.e, runctx.Invoke, &d.step.Policy.Invoke, d.step.Invoke
	if d.order.Compensate {
		phase, policy, body = runctx.Compensate, &d.step.Policy.Compensate, d.step.Compensate
	}
	d.root = runctx.NewRoot(e.info.ID, d.t.RunUID, d.order.Epoch, e.cfg.LockLease)
	d.ctx = &runctx.AttemptContext{Base: e.base, Attempt: runctx.Attempt{
		Workflow: d.t.Key.Workflow, ExecutionID: d.t.Key.ID, Step: e.cfg.Plans[d.t.Key.Workflow].Nodes[d.order.Place.Node].Path,
		Items: d.order.Items, Phase: phase, Number: d.order.Number, Place: d.order.Key, Outcome: runctx.Outcome(d.order.Outcome), Logger: e.cfg.Logger,
	}}
	d.ctx.Locks.Init(d.root, d.order.Key, d.order.Ordinal*mostTakings+d.t.Attempt%mostTakings)
	select {
	case <-d.drop: // its body is not called
		return plan.Result{Err: ErrCancelled}
	default:
	}
	var late <-chan time.Time
	if policy.Timeout > 0 {
		d.ctx.End = time.Now().Add(policy.Timeout)
		timer := time.NewTimer(policy.Timeout)
		defer timer.Stop()
		late = timer.C
	}
	landed := make(chan plan.Result, 1)
	go d.fly(body, landed)
	select {
	case res := <-landed:
		return res
	case <-late:
		d.ctx.Cancel(&runctx.TimeoutError{After: policy.Timeout})
	case <-d.drop:
		d.ctx.Cancel(ErrCancelled)
	case <-e.base.Done():
	}
	grace := time.NewTimer(e.cfg.CancelGrace)
	defer grace.Stop()
	select {
	case res := <-landed:
		return res
	case <-grace.C:
		d.ctx.Locks.LeaveBehind()
		return plan.Result{Err: errLeftBehind}
	}
}

// fly calls a body that may end its goroutine.
func (d *doing) fly(body func(context.Context, plan.Codec, []byte) plan.Result, landed chan<- plan.Result) {
	res := plan.Result{Err: errExited}
	defer func() {
		d.ctx.Locks.Returned()
		landed <- res
	}()
	res = body(d.ctx, d.s.e.cfg.Codec, d.order.Input)
}

// event is what the attempt tells the execution.
func (d *doing) event(res *plan.Result) *store.Event {
	cause := d.ctx.Finish()
	ev := &store.Event{Kind: store.TaskEnded, Place: d.order.Place, Output: res.Output, Permanent: res.Permanent}
	ev.Task = store.TaskResult{Undo: res.Undo, Skipped: res.Skipped}
	if res.Err == nil {
		return ev
	}
	ev.Task.Failed, ev.Task.Unknown = true, errors.Is(res.Err, errLeftBehind)
	failure := res.Err
	var timeout *runctx.TimeoutError
	switch {
	case errors.As(cause, &timeout):
		ev.Task.TimedOut = true
		failure = &runctx.TimeoutError{After: timeout.After, Err: res.Err}
	case errors.Is(cause, ErrCancelled):
		failure = errors.Join(cause, res.Err)
	}
	policy := &d.step.Policy.Invoke
	if d.order.Compensate {
		policy = &d.step.Policy.Compensate
	}
	ev.Permanent = ev.Permanent || !d.s.e.WorthRetrying(d.t.Key, policy, failure)
	if res.RetryAfter != nil {
		ev.Task.Pauses, ev.Task.RetryAfter = true, max(0, *res.RetryAfter)
	}
	f := failureRecord(d.order.Path, machine.StartAttempt{Phase: machine.Phase(d.ctx.Attempt.Phase), Number: d.order.Number}, failure)
	ev.Failures = []store.Failure{f}
	return ev
}

// finish ends the task with a message to its execution. What came of one that was dropped
// is told all the same: the execution may be waiting for that.
func (d *doing) finish(ev *store.Event) {
	e := d.s.e
	ev.Task.Run, ev.Task.Compensate, ev.Task.Ordinal = d.t.RunUID, d.order.Compensate, d.order.Ordinal
	m := store.Message{ID: "task/" + d.t.ID + "/" + strconv.FormatUint(d.t.Attempt, 10), Data: ev.Encode(nil)}
	pause := commitPause
	for {
		err := d.s.from.Finish(e.past, e.me, d.t.Held(), m)
		if errors.Is(err, store.ErrTaskLost) {
			select {
			case <-d.drop:
			default:
				return // another one does it: what this one came to changes nothing
			}
			err = e.cfg.Store.Deliver(e.past, d.t.Key, m)
			if errors.Is(err, store.ErrNotFound) {
				return
			}
		}
		if err == nil {
			if r := e.Find(d.t.Key); r != nil {
				r.post(lookIntoInbox{})
			}
			return
		}
		if errors.Is(err, store.ErrClosed) || e.life.Err() != nil || e.base.Err() != nil {
			e.cfg.Logger.Warn("workflow: what a task came to could not be told; others do it", "task", d.t.Held().String(), "error", err)
			return
		}
		e.cfg.Logger.Warn("workflow: what a task came to could not be told; trying again", "task", d.t.Held().String(), "error", err)
		select {
		case <-time.After(pause):
		case <-e.base.Done():
		}
		pause = min(2*pause, time.Second)
	}
}

// freeLocks gives back what the body has not released.
func (d *doing) freeLocks() {
	d.ctx.Locks.End()
	var free []runctx.Hold
	for _, h := range d.root.Surrender() {
		if d.root.Occupied(h) {
			h.Abandon() // a body that was left behind believes to have it (I4)
			continue
		}
		free = append(free, h)
	}
	if len(free) > 0 {
		freeHolds(d.s.e.cfg.Logger.With("task", d.t.Held().String()).Warn, free)
	}
}
