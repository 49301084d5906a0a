package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lockstep-dev/lockstep/store"
)

// openLease takes the engine's lease, and keeps it until the engine has ended.
func (e *Engine) openLease(ctx context.Context) error {
	asked := time.Now()
	if err := e.cfg.Store.Heartbeat(ctx, e.me, e.cfg.Lease); err != nil {
		return fmt.Errorf("workflow: start: take a lease for instance %s: %w", e.me, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.leased = true
	if !e.stopped { // else nobody would wait for them
		e.helpers.Go(e.watch)
		e.helpers.Go(func() { e.keepLease(asked.Add(e.cfg.Lease)) })
	}
	return nil
}

// watchPause is when the store is watched again after an error.
const watchPause = time.Second

// watch has the engine told by the store.
func (e *Engine) watch() {
	for {
		err := e.cfg.Store.Watch(e.life, e.me, e.noticed)
		if e.life.Err() != nil || errors.Is(err, store.ErrClosed) {
			return
		}
		e.cfg.Logger.Warn("workflow: the store tells nothing; it is asked instead until it does again", "error", err)
		select {
		case <-time.After(watchPause):
		case <-e.life.Done():
			return
		}
	}
}

// keepLease renews the lease at a third of its length, and ends everything when it has
// run out on this process's clocks.
func (e *Engine) keepLease(until time.Time) {
	tick := time.NewTicker(e.cfg.Lease / 3)
	defer tick.Stop()
	over := time.NewTimer(time.Until(until))
	defer over.Stop()
	for {
		select {
		case <-e.life.Done():
			return
		case <-over.C:
			e.loseLease(context.DeadlineExceeded)
			return
		case <-tick.C:
		}
		asked := time.Now()
		ctx, cancel := context.WithDeadline(e.life, until)
		err := e.cfg.Store.Heartbeat(ctx, e.me, e.cfg.Lease)
		cancel()
		switch {
		case err == nil:
			until = asked.Add(e.cfg.Lease)
			over.Reset(time.Until(until))
			continue
		case e.life.Err() != nil:
			return
		case !errors.Is(err, store.ErrInstance) && time.Now().Before(until):
			e.cfg.Logger.Warn("workflow: could not renew the engine's lease, trying again until it ends", "instance", e.me.String(), "until", until, "error", err)
			continue
		}
		e.loseLease(err)
		return
	}
}

// loseLease ends everything that the engine runs: others may go on with it. It does so
// once: a heartbeat finds it out, and so does whoever creates an execution.
func (e *Engine) loseLease(cause error) {
	e.mu.Lock()
	before := e.lost
	e.running, e.lost = false, true
	e.mu.Unlock()
	if before {
		return
	}
	e.cfg.Logger.Error("workflow: the engine has lost its lease: what it runs is left to others", "instance", e.me.String(), "error", cause)
	e.interrupt(ErrLostLease)
}

// closeLease gives the lease back, so that others go on at once.
func (e *Engine) closeLease(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveBackTime)
	defer cancel()
	err := e.cfg.Store.End(ctx, e.me)
	if err != nil && !errors.Is(err, store.ErrClosed) && !errors.Is(err, store.ErrInstance) {
		e.cfg.Logger.Warn("workflow: could not give the engine's lease back; it lapses", "instance", e.me.String(), "error", err)
	}
}

// noticed is told by the store.
func (e *Engine) noticed(n store.Notice) {
	if n.Claimable {
		e.lookForWork()
	}
	if n.Message != (store.Key{}) {
		e.unread(n.Message)
	}
	if n.Queue != "" {
		e.rouse(n.Queue)
	}
	if n.Dropped != (store.TaskHeld{}) {
		e.dropped(n.Dropped)
	}
	if n.Missed {
		e.rouseAll()
		e.lookForDropped()
	}
	if n.Finished != (store.Key{}) {
		e.waits.tell(n.Finished)
	}
}
