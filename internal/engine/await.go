package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lockstep-dev/lockstep/internal/machine"
	"github.com/lockstep-dev/lockstep/store"
)

// End is how an execution has ended.
type End struct {
	*store.Identity
	*store.Head

	Failures []store.Failure
	// Errs are those of Failures, by their number, that have not come from a store.
	Errs map[int]error
}

// lookAgain is how often the store is asked for the end of an execution that another
// engine drives, and of which nothing is heard.
const lookAgain = time.Second

// settlesSoon is when it is asked again, at first, for one that has finished and not
// given back all that it has.
const settlesSoon = 5 * time.Millisecond

// waiters are those who wait for executions that other engines drive.
type waiters struct {
	mu    sync.Mutex
	byKey map[store.Key]*news
	// any says that somebody has listened. Who tells has changed the store before, and
	// who listens looks there afterwards: one of them knows of the other.
	any atomic.Bool
}

// news is of an execution: heard is closed when there is some.
type news struct {
	heard     chan struct{}
	listeners int
}

// listen is to be ended with leave.
func (w *waiters) listen(key store.Key) *news {
	w.any.Store(true)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.byKey == nil {
		w.byKey = make(map[store.Key]*news)
	}
	n := w.byKey[key]
	if n == nil {
		n = &news{heard: make(chan struct{})}
		w.byKey[key] = n
	}
	n.listeners++
	return n
}

func (w *waiters) leave(key store.Key, n *news) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n.listeners--; n.listeners == 0 && w.byKey[key] == n {
		delete(w.byKey, key)
	}
}

func (w *waiters) tell(key store.Key) {
	if !w.any.Load() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := w.byKey[key]; n != nil {
		close(n.heard)
		delete(w.byKey, key)
	}
}

// Wait waits for the end of the execution, whoever drives it. An error means that
// there is no end to tell of.
func (r *Run) Wait(ctx context.Context) (End, error) {
	if !r.expected.CompareAndSwap(true, false) {
		r.waiting.Add(1)
	}
	select {
	case <-r.done:
		defer r.waiting.Add(-1)
	case <-ctx.Done():
		if r.waiting.Add(-1) == 0 && r.e.rests() {
			r.share()
			r.post(unattended{})
		}
		return End{}, fmt.Errorf("workflow: wait for %s: %w", r.key, context.Cause(ctx))
	}
	switch {
	case r.first != nil:
		return r.first.Wait(ctx)
	case errors.Is(r.err, store.ErrFenced), errors.Is(r.err, ErrLostLease), errors.Is(r.err, errRests):
		return r.e.AwaitEnd(ctx, r.key) // another run goes on with it
	case r.err != nil:
		return End{}, r.err
	case r.joined:
		return r.e.AwaitEnd(ctx, r.key) // another engine drives it
	}
	return End{Identity: &r.s.Identity, Head: &r.s.Head, Failures: r.s.Failures, Errs: r.errs}, nil
}

// AwaitEnd waits for the end of an execution that may be driven elsewhere: until it has
// given its locks back, as [Run.Wait] does.
func (e *Engine) AwaitEnd(ctx context.Context, key store.Key) (End, error) {
	soon := settlesSoon
	for {
		if end, over, err := e.lookForEnd(ctx, key, &soon); over || err != nil {
			return end, err
		}
	}
}

// lookForEnd looks once, and then waits until it is worth while to look again.
func (e *Engine) lookForEnd(ctx context.Context, key store.Key, soon *time.Duration) (end End, over bool, err error) {
	pause := lookAgain
	if e.Find(key) == nil && e.wanted(key) {
		e.lookForWork()
	}
	n := e.waits.listen(key)
	defer e.waits.leave(key, n)
	x, err := e.cfg.Store.Load(ctx, key)
	switch {
	case err != nil:
		return End{}, false, fmt.Errorf("workflow: wait for %s: %w", key, err)
	case x.State.Finished() && !x.Unsettled:
		end, err = endOf(x)
		return end, true, err
	case e.base.Err() != nil:
		return End{}, false, context.Cause(e.base)
	case x.State.Finished():
		pause, *soon = *soon, min(2**soon, lookAgain)
	}
	again := time.NewTimer(pause)
	defer again.Stop()
	select {
	case <-n.heard:
	case <-again.C:
	case <-e.base.Done():
	case <-ctx.Done():
		return End{}, false, fmt.Errorf("workflow: wait for %s: %w", key, context.Cause(ctx))
	}
	return End{}, false, nil
}

func endOf(x *store.Snapshot) (End, error) {
	end := End{Identity: &x.Identity, Head: &x.Head}
	for _, c := range x.Cells {
		if kind, _, _ := c.ID.Split(); kind == store.FailureKind {
			f, err := store.DecodeFailure(c.Data)
			if err != nil {
				return End{}, fmt.Errorf("workflow: %s: %w", x.Key, err)
			}
			end.Failures = append(end.Failures, f)
		}
	}
	return end, nil
}

// Load returns what is kept of an execution.
func (e *Engine) Load(ctx context.Context, key store.Key) (*machine.State, error) {
	x, err := e.cfg.Store.Load(ctx, key)
	if err != nil {
		return nil, err
	}
	p := e.cfg.Plans[key.Workflow]
	if p == nil || p.Fingerprint != x.Fingerprint {
		return nil, fmt.Errorf("workflow: %s was begun with another definition than this engine has", key)
	}
	return machine.Load(p, x)
}
