package engine

import (
	"context"
	"errors"
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

// flight is an attempt in flight. Whoever has the run touches it, but for what the
// body's goroutine reads.
type flight struct {
	r     *Run
	start machine.StartAttempt
	ctx   *runctx.AttemptContext // the body's, which may be slow to let it go
	input []byte
	body  func(ctx context.Context, c plan.Codec, input []byte) plan.Result
	res   plan.Result // the body's goroutine's, until it is mail

	timeout *time.Timer // ends the context
	grace   *time.Timer // runs once the context has ended
	given   bool        // up: what the body comes to changes nothing
}

// landing is mail: an attempt has come to its end.
type landing flight

// timedOut is mail: an attempt has taken too long.
type timedOut struct {
	f     *flight
	after time.Duration
}

// graceOver is mail: an attempt whose context has ended has not returned.
type graceOver struct{ f *flight }

// launch makes a call of a step's body ready. The first of them is made by the
// goroutine that has the run, once it has nothing else to do.
func (r *Run) launch(c machine.StartAttempt) {
	if r.e.base.Err() != nil {
		return // an engine that stops starts nothing more
	}
	r.enlist()
	step, phase := r.plan.Nodes[c.Place.Node].Step, runctx.Phase(c.Phase)
	key := r.s.PlaceKey(c.Place)
	f := r.flights.fresh()
	*f = flight{r: r, start: c, body: step.Invoke, ctx: r.scopes.context(r)}
	f.ctx.Locks.Init(r.scopes.sequence(r, c.Place.Frame), key, c.Ordinal)
	f.ctx.Attempt = runctx.Attempt{
		Workflow: r.key.Workflow, ExecutionID: r.key.ID, Step: r.plan.Nodes[c.Place.Node].Path,
		Items: r.s.Items(c.Place), Phase: phase, Number: c.Number,
		Place: key, Logger: r.e.cfg.Logger,
	}
	policy := &step.Policy.Invoke
	if phase == runctx.Compensate {
		n, _ := r.s.Node(c.Place)
		policy, f.body, f.input = &step.Policy.Compensate, step.Compensate, n.Undo
		f.ctx.Attempt.Outcome = outcome(&n)
	} else {
		f.input = r.s.StepInput(c.Place)
	}
	if policy.Timeout > 0 {
		r.share()
		f.ctx.End = time.Now().Add(policy.Timeout)
		f.timeout = time.AfterFunc(policy.Timeout, func() { r.post(timedOut{f, policy.Timeout}) })
	}
	if len(r.guards) > 0 && r.lostAround(c.Place) {
		f.ctx.Cancel(ErrGuardLost) // its body is not called
	}
	r.flights.add(f)
	if r.started != nil {
		r.beside(r.started)
	}
	r.started = f
}

// fly calls the body, and returns what became of it. A body whose context has ended
// before is not called.
func (f *flight) fly() (m mail) {
	if cause := f.ctx.Cause(); cause != nil {
		f.ctx.Locks.Returned()
		f.res = plan.Result{Err: cause}
		return (*landing)(f)
	}
	f.res = plan.Result{Err: errExited}
	exited := true
	defer func() {
		f.ctx.Locks.Returned()
		if exited { // by runtime.Goexit: nobody but a deferred function goes on
			f.r.share()
			go f.r.deliver((*landing)(f))
		}
	}()
	f.res = f.body(f.ctx, f.r.e.cfg.Codec, f.input)
	exited = false
	return (*landing)(f)
}

// deliver handles something in this goroutine, unless another one has the run.
func (r *Run) deliver(m mail) {
	if r.take(m) {
		r.work()
	}
}

// cancelFlight ends the context of an attempt, and gives its body time to heed that.
func (r *Run) cancelFlight(f *flight, cause error) {
	if f.grace != nil {
		return
	}
	r.share()
	f.ctx.Cancel(cause)
	f.grace = time.AfterFunc(r.e.cfg.CancelGrace, func() { r.post(graceOver{f}) })
}

func (m timedOut) handle(r *Run) error {
	if !m.f.given {
		r.cancelFlight(m.f, &runctx.TimeoutError{After: m.after})
	}
	return nil
}

func (m graceOver) handle(r *Run) error {
	if m.f.given {
		return nil
	}
	m.f.ctx.Locks.LeaveBehind()
	if len(r.guards) > 0 {
		if err := r.fenceOff(m.f.start.Place); err != nil {
			return err
		}
	}
	return r.landed(m.f, plan.Result{Err: errLeftBehind})
}

func (m *landing) handle(r *Run) error {
	if m.given {
		return nil
	}
	return r.landed((*flight)(m), m.res)
}

// ground ends what belongs to an attempt, and returns why its context had ended before,
// if it had.
func (f *flight) ground() (cause error) {
	f.given = true
	cause = f.ctx.Finish()
	if f.timeout != nil {
		f.timeout.Stop()
	}
	if f.grace != nil {
		f.grace.Stop()
	}
	return cause
}

// landed makes an event of an attempt's result. The flight is over with the next that
// is recorded.
func (r *Run) landed(f *flight, res plan.Result) error {
	start, cause := f.start, f.ground()
	r.landing = append(r.landing, f)
	r.e.turns.over(r, start.Place)
	if res.Err != nil && r.e.base.Err() != nil {
		// The body was stopped, it did not fail: whoever goes on tries again.
		return context.Cause(r.e.base)
	}
	if len(r.guards) > 0 {
		if err := r.checkGuards(start.Place); err != nil {
			return err
		}
	}
	if res.Err == nil {
		r.room.success = machine.Succeeded{
			Place: start.Place, Phase: start.Phase,
			Output: res.Output, Undo: res.Undo, Skipped: res.Skipped,
		}
		return r.happen(&r.room.success)
	}
	ev := machine.AttemptFailed{
		Place: start.Place, Phase: start.Phase, Undo: res.Undo,
		Permanent: res.Permanent, RetryAfter: res.RetryAfter,
		Unknown: errors.Is(res.Err, errLeftBehind),
	}
	failure := res.Err
	var timeout *runctx.TimeoutError
	switch {
	case errors.As(cause, &timeout):
		ev.TimedOut = true
		failure = &runctx.TimeoutError{After: timeout.After, Err: res.Err}
	case errors.Is(cause, ErrCancelled), errors.Is(cause, ErrTurned), errors.Is(cause, ErrDeadline):
		failure = errors.Join(cause, res.Err)
	}
	ev.Quiet = errors.Is(cause, ErrTurned) && (errors.Is(res.Err, context.Canceled) || errors.Is(res.Err, ErrTurned))
	ev.Permanent = ev.Permanent || !r.worthRetrying(start, failure)
	ev.Failure = failureRecord(r.s.Path(start.Place), start, failure)
	r.remember(failure)
	return r.happen(ev)
}

func (r *Run) worthRetrying(c machine.StartAttempt, failure error) bool {
	policy := &r.plan.Nodes[c.Place.Node].Step.Policy.Invoke
	if c.Phase == machine.Compensate {
		policy = &r.plan.Nodes[c.Place.Node].Step.Policy.Compensate
	}
	return r.e.WorthRetrying(r.key, policy, failure)
}

// WorthRetrying asks a policy's filter, which is user code, whether an error of an
// execution's step is worth another attempt.
func (e *Engine) WorthRetrying(key store.Key, policy *plan.Attempts, failure error) (worth bool) {
	if policy.RetryIf == nil {
		return true
	}
	defer func() {
		if v := recover(); v != nil {
			e.cfg.Logger.Warn("workflow: a retry filter panicked; the step is not tried again", "execution", key.String(), "panic", v)
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
