package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lockstep-dev/lockstep/internal/machine"
	"github.com/lockstep-dev/lockstep/internal/plan"
	"github.com/lockstep-dev/lockstep/internal/runctx"
	"github.com/lockstep-dev/lockstep/store"
)

// Run is an execution as this engine knows it.
type Run struct {
	e    *Engine
	plan *plan.Plan
	key  store.Key

	cancels chan chan error // requests to cancel
	done    chan struct{}   // closed when the run has ended

	// What follows belongs to the driving goroutine until done is closed.
	x      *store.Execution
	errs   []error // of x.Failures, as they were before they were stored
	err    error   // why the run ended without the execution having finished
	first  *Run    // the run that drives the execution, when this one joined it
	writes uint64
	scope  *runctx.Scope
	// leaving is no scope's any more, and not let go yet.
	leaving departure
	flight  *flight     // the attempt in flight
	wake    *time.Timer // when the next retry is due
}

func newRun(e *Engine, p *plan.Plan, key store.Key) *Run {
	return &Run{e: e, plan: p, key: key, cancels: make(chan chan error), done: make(chan struct{})}
}

// Key identifies the execution.
func (r *Run) Key() store.Key { return r.key }

// Wait waits for the end of the execution, and returns what is kept of it and the
// errors it came to. An error means that there is no end to tell of.
func (r *Run) Wait(ctx context.Context) (*store.Execution, []error, error) {
	select {
	case <-r.done:
	case <-ctx.Done():
		return nil, nil, fmt.Errorf("workflow: wait for %s: %w", r.key, context.Cause(ctx))
	}
	if r.first != nil {
		return r.first.Wait(ctx)
	}
	return r.x, r.errs, r.err
}

// Cancel asks for compensation, and returns when the request is recorded.
func (r *Run) Cancel(ctx context.Context) error {
	if r.first != nil {
		return r.first.Cancel(ctx)
	}
	answer := make(chan error, 1)
	select {
	case r.cancels <- answer:
	case <-r.done:
		return fmt.Errorf("workflow: cancel %s: it has ended", r.key)
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// abandon ends a run that was never driven.
func (r *Run) abandon(err error) { r.end(err) }

// end tells those who wait.
func (r *Run) end(err error) {
	r.err = err
	close(r.done)
	r.e.mu.Lock()
	if r.e.runs[r.key] == r {
		delete(r.e.runs, r.key)
	}
	if errors.Is(err, ErrInterrupted) {
		r.e.interrupted = append(r.e.interrupted, r.key)
	}
	r.e.mu.Unlock()
	r.e.ended.Done()
}

// drive runs the execution to its end.
func (r *Run) drive(commands []machine.Command) {
	r.scope = runctx.NewRoot(r.e.info.ID, r.x.RunUID, r.x.Epoch, r.e.cfg.LockLease)
	r.wake = time.NewTimer(0)
	r.wake.Stop()
	defer r.wake.Stop()
	finished := r.obey(commands)
	for !finished {
		var err error
		finished, err = r.step()
		if err != nil {
			r.leave(err)
			return
		}
	}
	r.end(nil)
}

// step waits for the next thing to happen and acts on it.
func (r *Run) step() (finished bool, err error) {
	results, ended, grace := r.flight.channels()
	select {
	case res := <-results:
		return r.landed(res)
	case <-ended:
		r.flight.awaitGrace(r.e.cfg.CancelGrace)
		return false, nil
	case <-grace:
		return r.landed(r.flight.giveUp())
	case answer := <-r.cancels:
		finished, err := r.happen(machine.CancelRequested{})
		if errors.Is(err, machine.ErrIllegal) {
			answer <- fmt.Errorf("workflow: cancel %s: %w", r.key, err)
			return false, nil
		}
		answer <- err
		return finished, err
	case <-r.wake.C:
		return r.happen(machine.Woken{})
	case <-r.e.base.Done():
		return false, ErrInterrupted
	}
}

// happen lets an event take its course: decide, commit, obey.
func (r *Run) happen(ev machine.Event) (finished bool, err error) {
	change, commands, err := r.decide(ev, time.Now())
	if err != nil {
		return false, err
	}
	r.settleLocks(&change, commands)
	if err := r.commit(change); err != nil {
		return false, err
	}
	if err := r.giveBack(finishes(commands)); err != nil {
		return false, err
	}
	finished = r.obey(commands)
	if !finished && r.e.base.Err() != nil {
		return false, ErrInterrupted
	}
	return finished, nil
}

// decide asks the machine what follows, and evaluates the decisions among it, so
// that they are part of the change. The state in memory is the changed one from
// here on.
func (r *Run) decide(ev machine.Event, now time.Time) (store.Change, []machine.Command, error) {
	var change store.Change
	var commands []machine.Command
	for ev != nil {
		d, err := machine.Decide(r.plan, r.x, ev, now)
		if err != nil {
			return change, nil, err
		}
		r.x.Apply(d.Change)
		change.Merge(d.Change)
		ev = nil
		for _, c := range d.Commands {
			if eval, ok := c.(machine.Evaluate); ok {
				ev = r.evaluate(eval.Node)
				continue
			}
			commands = append(commands, c)
		}
	}
	r.retain(&change)
	return change, commands, nil
}

// retain says how long a finished execution is kept. A failed one stays until it
// is purged.
func (r *Run) retain(change *store.Change) {
	keep := r.e.cfg.Retention.Given
	if r.x.Generated {
		keep = r.e.cfg.Retention.Generated
	}
	if s := change.Head.State; s == store.Done || s == store.Reverted {
		change.Head.ForgetAt = change.Head.FinishedAt.Add(keep)
		r.x.ForgetAt = change.Head.ForgetAt
	}
}

func (r *Run) commit(change store.Change) error {
	r.writes++
	w := store.Write{Key: r.key, Fence: r.x.Fence, ID: r.writes, Change: change}
	if err := r.e.cfg.Store.Commit(context.WithoutCancel(r.e.base), w); err != nil {
		return fmt.Errorf("workflow: record what happened to %s: %w", r.key, err)
	}
	r.x.Revision++
	return nil
}

// obey carries out what may only be done once it is recorded.
func (r *Run) obey(commands []machine.Command) (finished bool) {
	for _, c := range commands {
		switch c := c.(type) {
		case machine.StartAttempt:
			if r.e.base.Err() == nil { // an engine that stops starts nothing more
				r.launch(c)
			}
		case machine.CancelAttempt:
			r.flight.cancel(ErrCancelled)
		case machine.WakeAt:
			r.wake.Reset(time.Until(c.At))
		case machine.Finish:
			finished = true
		}
	}
	return finished
}

func finishes(commands []machine.Command) bool {
	for _, c := range commands {
		if _, ok := c.(machine.Finish); ok {
			return true
		}
	}
	return false
}
