package engine

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/lockstep-dev/lockstep/internal/machine"
	"github.com/lockstep-dev/lockstep/internal/plan"
	"github.com/lockstep-dev/lockstep/internal/runctx"
	"github.com/lockstep-dev/lockstep/store"
)

// errExited is the error of a body that ended its goroutine.
var errExited = errors.New("workflow: the step's body called runtime.Goexit")

// errLeftBehind is the error of a body that went on after its context had ended.
var errLeftBehind = errors.New("workflow: the step's body did not return after its context had ended; its outcome is unknown")

// flight is an attempt in flight. Only the driving goroutine touches it.
type flight struct {
	start   machine.StartAttempt
	scope   *runctx.Scope
	ctx     context.Context //nolint:containedctx // the attempt's own
	cancel  context.CancelCauseFunc
	stop    context.CancelFunc // ends the timeout's timer
	results chan plan.Result
	grace   *time.Timer // runs once the context has ended
	landed  bool
}

// launch calls a step's body in a goroutine of its own.
func (r *Run) launch(c machine.StartAttempt) {
	step, phase := r.plan.Nodes[c.Node].Step, runctx.Phase(c.Phase)
	path := r.plan.Nodes[c.Node].Path
	f := &flight{start: c, scope: r.scope.Attempt(path, c.Ordinal), results: make(chan plan.Result, 1)}
	attempt := &runctx.Attempt{
		Workflow: r.key.Workflow, ExecutionID: r.key.ID, Step: path,
		Phase: phase, Number: c.Number,
		IdempotencyKey: idempotencyKey(r.key, path, phase),
		Logger:         r.e.cfg.Logger,
	}
	policy, body := &step.Policy.Invoke, step.Invoke
	input := machine.Inputs(r.plan, r.x, c.Node)[0]
	if phase == runctx.Compensate {
		n := r.x.Nodes[c.Node]
		policy, body, input = &step.Policy.Compensate, step.Compensate, n.Undo
		attempt.Outcome = outcome(&n)
	}
	ctx := runctx.WithScope(runctx.WithAttempt(r.e.base, attempt), f.scope)
	ctx, f.cancel = context.WithCancelCause(ctx)
	f.ctx, f.stop = ctx, func() {}
	if policy.Timeout > 0 {
		f.ctx, f.stop = context.WithTimeoutCause(ctx, policy.Timeout, &runctx.TimeoutError{After: policy.Timeout})
	}
	r.flight = f
	go func() {
		res := plan.Result{Err: errExited}
		defer func() {
			f.scope.Returned()
			f.results <- res
		}()
		res = body(f.ctx, r.e.cfg.Codec, input)
	}()
}

// channels returns what the driver has to listen to; nil channels are silent.
func (f *flight) channels() (results <-chan plan.Result, ended <-chan struct{}, grace <-chan time.Time) {
	if f == nil {
		return nil, nil, nil
	}
	if f.grace != nil {
		return f.results, nil, f.grace.C
	}
	return f.results, f.ctx.Done(), nil
}

// awaitGrace gives the body time to heed the end of its context.
func (f *flight) awaitGrace(d time.Duration) { f.grace = time.NewTimer(d) }

// giveUp leaves the body behind.
func (f *flight) giveUp() plan.Result {
	f.scope.LeaveBehind()
	return plan.Result{Err: errLeftBehind}
}

// landed makes an event of an attempt's result.
func (r *Run) landed(res plan.Result) (finished bool, err error) {
	f := r.flight
	f.landed = true
	cause := context.Cause(f.ctx)
	f.stop()
	f.cancel(context.Canceled)
	if f.grace != nil {
		f.grace.Stop()
	}
	if res.Err != nil && errors.Is(cause, ErrInterrupted) {
		// The body was stopped, it did not fail: whoever goes on tries again.
		f.scope.End()
		r.flight = nil
		return false, ErrInterrupted
	}
	if res.Err == nil {
		return r.happen(machine.Succeeded{
			Node: f.start.Node, Phase: f.start.Phase,
			Output: res.Output, Undo: res.Undo, Skipped: res.Skipped,
		})
	}
	ev := machine.AttemptFailed{
		Node: f.start.Node, Phase: f.start.Phase, Undo: res.Undo,
		Permanent: res.Permanent, RetryAfter: res.RetryAfter,
		Unknown: errors.Is(res.Err, errLeftBehind),
	}
	failure := res.Err
	var timeout *runctx.TimeoutError
	switch {
	case errors.As(cause, &timeout):
		ev.TimedOut = true
		failure = &runctx.TimeoutError{After: timeout.After, Err: res.Err}
	case errors.Is(cause, ErrCancelled):
		failure = errors.Join(ErrCancelled, res.Err)
	}
	ev.Permanent = ev.Permanent || !r.worthRetrying(f.start, failure)
	ev.Failure = failureRecord(r.plan.Nodes[f.start.Node].Path, f.start, failure)
	before := len(r.x.Failures)
	finished, err = r.happen(ev)
	if len(r.x.Failures) > before {
		r.errs = append(r.errs, failure)
	}
	return finished, err
}

// worthRetrying asks the policy's filter, which is user code.
func (r *Run) worthRetrying(c machine.StartAttempt, failure error) (worth bool) {
	policy := &r.plan.Nodes[c.Node].Step.Policy.Invoke
	if c.Phase == machine.Compensate {
		policy = &r.plan.Nodes[c.Node].Step.Policy.Compensate
	}
	if policy.RetryIf == nil {
		return true
	}
	defer func() {
		if v := recover(); v != nil {
			r.e.cfg.Logger.Warn("workflow: a retry filter panicked; the step is not tried again", "execution", r.key.String(), "panic", v)
			worth = false
		}
	}()
	return policy.RetryIf(failure)
}

func outcome(n *store.Node) runctx.Outcome {
	switch {
	case n.Invoke.State == store.StepDone:
		return runctx.Succeeded
	case n.Unknown:
		return runctx.Unknown
	}
	return runctx.Failed
}

var keyEscaper = strings.NewReplacer("%", "%25", ":", "%3A")

// idempotencyKey joins its parts so that no two sets of them run together,
// whatever bytes they hold.
func idempotencyKey(key store.Key, path string, phase runctx.Phase) string {
	return keyEscaper.Replace(key.Workflow) + ":" + keyEscaper.Replace(key.ID) + ":" + keyEscaper.Replace(path) + ":" + string(phase)
}

// leave ends a run that cannot go on: the engine stops, or what happened could
// not be recorded. Where the store outlives the process, the execution's locks,
// also those that were about to be given back, are left to whoever takes it over,
// and lapse otherwise.
func (r *Run) leave(err error) {
	if f := r.flight; f != nil {
		r.flight = nil
		f.stop()
		f.cancel(err)
		grace := time.NewTimer(r.e.cfg.CancelGrace)
		defer grace.Stop()
		select {
		case <-f.results:
		case <-grace.C:
			f.giveUp()
		}
		f.scope.End()
	}
	r.depart(r.scope.Surrender())
	if r.e.info.Durable {
		r.leaving = departure{lapse: append(r.leaving.lapse, r.leaving.free...)}
	}
	r.letGo()
	r.end(err)
}
