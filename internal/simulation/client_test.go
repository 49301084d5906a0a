package simulation

import (
	"context"
	"errors"
	"time"

	"github.com/lockstep-dev/lockstep/steps"
	"github.com/lockstep-dev/lockstep/store"
	"github.com/lockstep-dev/lockstep/workflow"
)

// client wants one execution, and its result, whatever becomes of the instances that
// it asks.
type client struct {
	w     *world
	n     int
	id    string
	f     fate
	flow  *flow
	input val

	// Under the world's mu.
	created bool // an engine has said so
	ended   bool
	out     val
	err     error // an *workflow.ExecutionError, or nil
	resumes int
}

// outcome is an error to be read. What a dead instance comes to does not matter.
func (in *instance) outcome(err error) string {
	switch {
	case in.dead():
		return "nothing, since the instance is dead"
	case err == nil:
		return "ok"
	}
	return err.Error()
}

// taken says that a call needs not be made again.
func taken(err error) bool {
	return err == nil || errors.Is(err, workflow.ErrUnfit) || errors.Is(err, store.ErrNotFound)
}

func (w *world) complete(ctx context.Context, in *instance, ref steps.Ref, out val, fail bool, f fate) error {
	if !fail {
		return workflow.CompleteStep(ctx, in.engine, ref, out)
	}
	cause := errBody
	if f.is("permanent", 0.3) {
		cause = steps.Permanent(errBody)
	}
	return workflow.FailStep(ctx, in.engine, ref, cause)
}

func (c *client) key() store.Key { return store.Key{Workflow: c.flow.name, ID: c.id} }

func (c *client) logf(format string, args ...any) {
	c.w.mu.Lock()
	c.w.logf("client", format, args...)
	c.w.mu.Unlock()
}

func (c *client) asidef(format string, args ...any) {
	c.w.mu.Lock()
	c.w.asidef("client", format, args...)
	c.w.mu.Unlock()
}

func (c *client) run() {
	w := c.w
	w.pause(c.f.skewed("begins", 0, w.p.spread))
	if c.f.is("rival", 0.3) {
		w.hands.Go(func() {
			w.pause(c.f.skewed("rival", 0, 2*time.Second))
			c.obtain(c.f.of("rival"), c.input)
		})
	}
	if c.f.is("cancels", w.p.cancels) {
		w.hands.Go(c.cancel)
	}
	for n := uint64(0); !w.ended(); n++ {
		c.obtain(c.f.num(n), c.input)
		w.mu.Lock()
		ended, failed := c.ended, c.err
		w.mu.Unlock()
		if !ended {
			continue
		}
		if n == 0 && c.f.is("conflict", 0.3) {
			c.obtain(c.f.of("conflict"), val{X: c.id, N: 1})
		}
		var x *workflow.ExecutionError
		if !errors.As(failed, &x) || x.State != store.Failed || c.resumes >= w.p.resumes {
			return
		}
		c.resume(c.f.num(n))
	}
}

// obtain starts the execution, or joins it, and waits for its end.
func (c *client) obtain(f fate, input val) {
	w := c.w
	for n := uint64(0); !w.ended(); n++ {
		f := f.num(n)
		w.pause(f.skewed("again", time.Millisecond, 2*time.Second))
		in := w.any(f)
		if in == nil {
			continue
		}
		c.logf("asks %s for %s", in.name, c.id)
		ctx, cancel := context.WithCancel(in.life)
		stop := make(chan struct{})
		w.hands.Go(func() {
			select {
			case <-w.over:
				cancel()
			case <-stop:
			}
		})
		h, err := workflow.Start(ctx, in.engine, in.flows[c.flow], input, workflow.WithExecutionID(c.id))
		w.mu.Lock()
		w.started(c, in, input, err)
		w.mu.Unlock()
		var out val
		if err == nil {
			out, err = h.Wait(ctx)
		}
		close(stop)
		cancel()
		w.mu.Lock()
		w.asidef("client", "has from %s for %s: %v %s", in.name, c.id, out, in.outcome(err))
		over := w.answered(c, input, out, err)
		w.mu.Unlock()
		if over {
			return
		}
	}
}

// insist makes a call until an engine has taken it.
func (c *client) insist(f fate, what string, call func(ctx context.Context, in *instance) error) {
	w := c.w
	for n := uint64(0); !w.ended(); n++ {
		f := f.of(what).num(n)
		if in := w.any(f); in != nil {
			c.logf("asks %s to %s %s", in.name, what, c.id)
			ctx, cancel := context.WithTimeout(in.life, 5*time.Second)
			err := call(ctx, in)
			cancel()
			c.asidef("has asked %s to %s %s: %s", in.name, what, c.id, in.outcome(err))
			if taken(err) {
				if err == nil {
					w.tally.note(what)
				}
				return
			}
		}
		w.pause(f.skewed("again", time.Millisecond, time.Second))
	}
}

func (c *client) cancel() {
	c.w.pause(c.f.skewed("cancel", 0, 15*time.Second))
	c.insist(c.f, "cancel", func(ctx context.Context, in *instance) error {
		return in.engine.Cancel(ctx, workflow.Ref{Workflow: c.flow.name, ID: c.id})
	})
}

func (c *client) resume(f fate) {
	c.w.mu.Lock()
	c.resumes++
	c.w.mu.Unlock()
	c.w.pause(f.skewed("resume", time.Millisecond, 4*time.Second))
	c.insist(f, "resume", func(ctx context.Context, in *instance) error {
		return in.engine.Resume(ctx, workflow.Ref{Workflow: c.flow.name, ID: c.id})
	})
}
