package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

// An execution is in doubt when it may be this instance's, and nothing in here drives
// it: nobody knows what became of a call. As long as the instance lives nobody else
// takes it, so the instance claims it by its key.

// inDoubt says whether an execution may still be this instance's whose run has ended
// with the error.
func inDoubt(err error) bool {
	for _, known := range []error{store.ErrFenced, store.ErrNotFound, store.ErrClosed, ErrInterrupted, ErrLostLease} {
		if errors.Is(err, known) {
			return false
		}
	}
	return true
}

// doubt has an execution claimed that may be this instance's.
func (e *Engine) doubt(key store.Key) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.doubts == nil {
		e.doubts = make(map[store.Key]time.Time)
	}
	e.doubts[key] = time.Now()
}

// doubtful returns some of the executions in doubt.
func (e *Engine) doubtful() (keys []store.Key) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for key := range e.doubts {
		_, creating := e.creating[key]
		switch {
		case e.runs[key] != nil:
			delete(e.doubts, key)
		case creating: // its run is on the way
		case len(keys) < claimBatch:
			keys = append(keys, key)
		}
	}
	return keys
}

// doubted forgets those that were asked for, once a call that was sent before has
// surely arrived, or never will.
func (e *Engine) doubted(keys []store.Key) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, key := range keys {
		if e.runs[key] != nil || time.Since(e.doubts[key]) > 2*e.cfg.Lease {
			delete(e.doubts, key)
		}
	}
}

// insert has the store create an execution, and asks again when there is no answer. One
// that may be there, and that nobody was told of, is in doubt.
//
// It asks no more after a time, unless that is zero: others may have been through with the
// execution by then, and have let it go.
func (e *Engine) insert(ctx context.Context, x *store.Snapshot, until time.Time) (existing *store.Snapshot, err error) {
	pause := commitPause
	for attempt := 1; ; attempt++ {
		existing, err = e.cfg.Store.Create(ctx, x)
		switch {
		case err == nil, errors.Is(err, store.ErrClosed):
			return existing, err
		case errors.Is(err, store.ErrInstance): // and never will have one again
			e.loseLease(err)
			return nil, fmt.Errorf("%w: %w", ErrLostLease, err)
		case attempt == commitAttempts, ctx.Err() != nil, e.base.Err() != nil, !until.IsZero() && time.Now().After(until):
			e.doubt(x.Key)
			return nil, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		case <-e.base.Done():
		}
		pause *= 2
	}
}
